package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/stateraft/stateraft/cluster"
	"github.com/stateraft/stateraft/httpapi/stream"
)

// A code is what clients act on; messages may change. docs/api.md lists them.
type code struct {
	name   string
	status int
}

var (
	codeInvalidRequest     = code{"INVALID_REQUEST", http.StatusBadRequest}
	codeInvalidKey         = code{"INVALID_KEY", http.StatusBadRequest}
	codeInvalidTTL         = code{"INVALID_TTL", http.StatusBadRequest}
	codeValueRequired      = code{"VALUE_REQUIRED", http.StatusBadRequest}
	codeForbidden          = code{"FORBIDDEN", http.StatusForbidden}
	codeNotFound           = code{"NOT_FOUND", http.StatusNotFound}
	codeMethodNotAllowed   = code{"METHOD_NOT_ALLOWED", http.StatusMethodNotAllowed}
	codeVersionConflict    = code{"VERSION_CONFLICT", http.StatusConflict}
	codePreconditionFailed = code{"VERSION_CONFLICT", http.StatusPreconditionFailed}
	codeRefused            = code{"REFUSED", http.StatusConflict}
	codeRevisionUnknown    = code{"REVISION_UNKNOWN", http.StatusPreconditionFailed}
	codeTooLarge           = code{"TOO_LARGE", http.StatusRequestEntityTooLarge}
	codeDiskFull           = code{"DISK_FULL", http.StatusInsufficientStorage}
	codeMismatch           = code{"IDEMPOTENCY_MISMATCH", http.StatusUnprocessableEntity}
	codeOverloaded         = code{"OVERLOADED", http.StatusTooManyRequests}
	codeInternal           = code{"INTERNAL", http.StatusInternalServerError}
	codeNoLeader           = code{"NO_LEADER", http.StatusServiceUnavailable}
	codeBehind             = code{"BEHIND", http.StatusServiceUnavailable}
	codeNotReady           = code{"NOT_READY", http.StatusServiceUnavailable}
	codeOutcomeUnknown     = code{"OUTCOME_UNKNOWN", http.StatusGatewayTimeout}
)

// causes says how the cluster's errors look to a client. The first row that
// matches wins. unknown: a write that met it may have happened.
var causes = []struct {
	err     error
	code    code
	unknown bool
}{
	{cluster.ErrOutcomeUnknown, codeOutcomeUnknown, true},
	{cluster.ErrNoLeader, codeNoLeader, false},
	{cluster.ErrClosed, codeNoLeader, false},
	{cluster.ErrOverloaded, codeOverloaded, false},
	{cluster.ErrDiskFull, codeDiskFull, false},
	{cluster.ErrTooLarge, codeTooLarge, false},
	{cluster.ErrBehind, codeBehind, false},
	{cluster.ErrRevisionUnknown, codeRevisionUnknown, false},
	{cluster.ErrNotFound, codeNotFound, false},
	{cluster.ErrRefused, codeRefused, false},
	{stream.ErrFull, codeOverloaded, false},
	{stream.ErrEnded, codeNotReady, false},
	{context.DeadlineExceeded, codeOutcomeUnknown, true},
	{context.Canceled, codeOutcomeUnknown, true},
}

// A problem is an error as the client sees it.
type problem struct {
	code    code
	message string
	members []byte // encoded members of the case, each with a comma before it
	unknown bool   // a write that met it may have happened
}

func (p *problem) Error() string { return p.code.name + ": " + p.message }

// refuse returns a problem: the request did nothing, and the message says why.
func refuse(c code, format string, args ...any) error {
	return &problem{code: c, message: fmt.Sprintf(format, args...)}
}

// problemOf translates err. An error in no row is ours and not the client's,
// so its text stays in the log.
func problemOf(err error, write bool) *problem {
	if p := (*problem)(nil); errors.As(err, &p) {
		return p
	}
	for _, row := range causes {
		if !errors.Is(err, row.err) {
			continue
		}
		if row.unknown && !write {
			return &problem{code: codeNoLeader, message: "no leader confirmed the read in time"}
		}
		return &problem{code: row.code, message: err.Error(), unknown: row.unknown}
	}
	return &problem{code: codeInternal, message: "internal error", unknown: true}
}

// writeError is the one place where an error becomes a response.
func (s *Server) writeError(w http.ResponseWriter, r *http.Request, rt *route, err error) {
	p := problemOf(err, isWrite(r))
	if p.code == codeInternal {
		s.log.ErrorContext(r.Context(), "request failed", "method", r.Method, "route", rt.pattern, "err", err)
	}
	s.writeProblem(w, r, p)
}

func (s *Server) writeProblem(w http.ResponseWriter, r *http.Request, p *problem) {
	if p.code == codeOverloaded {
		w.Header().Set("Retry-After", "1")
	}
	writeJSON(w, p.code.status, p.append(nil, isWrite(r)))
}

func (p *problem) append(b []byte, write bool) []byte {
	b = append(b, `{"error":"`...)
	b = append(b, p.code.name...)
	b = append(b, `","code":"`...)
	b = append(b, p.code.name...)
	b = append(b, `","message":`...)
	b = appendString(b, p.message)
	if write {
		b = append(b, `,"outcome":`...)
		b = appendString(b, p.outcome())
	}
	b = append(b, p.members...)
	return append(b, '}')
}

func (p *problem) outcome() string {
	if p.unknown {
		return "unknown"
	}
	return "not_applied"
}

// isWrite reports whether the request asks for a change, so that an error must
// say what became of it.
func isWrite(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return false
	}
	return true
}

// quoted shows what a client sent in a message, at a bounded length.
func quoted(s string) string {
	const limit = 80
	if len(s) > limit {
		return strconv.Quote(s[:limit]) + "…"
	}
	return strconv.Quote(s)
}
