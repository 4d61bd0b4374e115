package proxy

import (
	"errors"
	"net/http"

	"github.com/stateraft/stateraft/httpapi/inject"
)

// Codes of an Error, beside those of package inject.
const (
	CodeTooLarge    = "value_too_large"
	CodeEncoding    = "unsupported_content_encoding"
	CodeOverloaded  = "overloaded"
	CodeUnreachable = "upstream_unreachable"
	CodeTimeout     = "upstream_timeout"
)

// An Error is an answer of the proxy's own. Nothing of an upstream's answer has
// reached the caller.
type Error struct {
	Status  int
	Code    string
	Message string
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

// asError turns an error of package inject into an Error.
func asError(err error) error {
	if e := (*inject.Error)(nil); errors.As(err, &e) {
		return &Error{http.StatusBadRequest, e.Code, e.Message}
	}
	return err
}
