package inject

import "fmt"

// Codes of an Error.
const (
	CodeInvalidJSON    = "invalid_json_body"
	CodeInvalidRequest = "invalid_request"
	CodeInvalidKey     = "invalid_key"
)

// An Error says what is wrong with a request. It is the caller's to mend.
type Error struct {
	Code    string
	Message string // names the member and the rule
}

func (e *Error) Error() string { return e.Message }

func invalid(format string, args ...any) error {
	return &Error{CodeInvalidRequest, fmt.Sprintf(format, args...)}
}
