package inject

import (
	"fmt"

	"github.com/stateraft/stateraft/httpapi/internal/jsonscan"
	"github.com/stateraft/stateraft/httpapi/internal/names"
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
	if err := names.Check(text, limit); err != nil {
		return badName("%s %s", what, err)
	}
	return nil
}

func badName(format string, args ...any) error {
	return &Error{CodeInvalidKey, fmt.Sprintf(format, args...)}
}
