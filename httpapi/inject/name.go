package inject

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/stateraft/stateraft/httpapi/internal/jsonscan"
)

// Limits of names, in bytes.
const (
	maxSubjectBytes = 256
	maxKeyBytes     = 512
)

// name returns the text of a string that names what.
func name(raw []byte, what string, limit int) (string, error) {
	switch {
	case raw[0] != '"':
		return "", invalid("%s must be a string, not %s", what, jsonscan.Kind(raw))
	case jsonscan.LoneSurrogate(raw):
		return "", badName("%s must be valid Unicode: it has half of a surrogate pair", what)
	}
	text := jsonscan.Text(raw)
	return text, checkName(text, what, limit)
}

func checkName(text, what string, limit int) error {
	switch {
	case text == "":
		return badName("%s must not be empty", what)
	case text == "." || text == "..":
		return badName("%s must not be %q", what, text)
	case len(text) > limit:
		return badName("%s must be at most %d bytes, not %d", what, limit, len(text))
	case !utf8.ValidString(text):
		return badName("%s must be valid UTF-8", what)
	case strings.ContainsFunc(text, unicode.IsControl):
		return badName("%s must not hold control characters", what)
	}
	return nil
}

func badName(format string, args ...any) error {
	return &Error{CodeInvalidKey, fmt.Sprintf(format, args...)}
}
