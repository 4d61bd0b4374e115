// Package names holds the rules that names of keys, workflows and subjects
// keep, wherever in a request they stand. Its errors are ends of sentences: who
// reports one says before it what is named.
package names

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits, in bytes.
const (
	MaxKeyBytes      = 512
	MaxWorkflowBytes = 256
	MaxSubjectBytes  = 256
)

// Check says which rule a name of at most limit bytes breaks. "." and ".." are
// refused because clients and proxies remove such segments from a path.
func Check(name string, limit int) error {
	switch {
	case name == "":
		return errors.New("must not be empty")
	case name == "." || name == "..":
		return fmt.Errorf("must not be %q", name)
	case len(name) > limit:
		return fmt.Errorf("must be at most %d bytes, not %d", limit, len(name))
	}
	return CheckText(name)
}

// CheckText says which rule a text breaks that users gave, be it a name or not.
func CheckText(text string) error {
	switch {
	case !utf8.ValidString(text):
		return errors.New("must be valid UTF-8")
	case strings.ContainsFunc(text, unicode.IsControl):
		return errors.New("must not hold control characters")
	}
	return nil
}
