package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"unicode"

	"github.com/stateraft/stateraft/cluster"
	"github.com/stateraft/stateraft/httpapi/auth"
	"github.com/stateraft/stateraft/httpapi/proxy"
	"github.com/stateraft/stateraft/httpapi/stream"
)

// A code is what clients act on; messages may change. docs/api.md lists them.
type code struct {
	name   string // as the State Store has it
	agent  string // as Agent State has it
	status int
}

var (
	codeInvalidRequest     = code{"INVALID_REQUEST", "invalid_request", http.StatusBadRequest}
	codeInvalidBody        = code{"INVALID_REQUEST", "invalid_json_body", http.StatusBadRequest}
	codeMissingSubject     = code{"INVALID_REQUEST", "missing_subject_id", http.StatusBadRequest}
	codeInvalidKey         = code{"INVALID_KEY", "invalid_key", http.StatusBadRequest}
	codeInvalidTTL         = code{"INVALID_TTL", "invalid_ttl_seconds", http.StatusBadRequest}
	codeValueRequired      = code{"VALUE_REQUIRED", "value_required", http.StatusBadRequest}
	codeUnauthorized       = code{"UNAUTHORIZED", "unauthorized", http.StatusUnauthorized}
	codeForbidden          = code{"FORBIDDEN", "forbidden", http.StatusForbidden}
	codeNotFound           = code{"NOT_FOUND", "not_found", http.StatusNotFound}
	codeMethodNotAllowed   = code{"METHOD_NOT_ALLOWED", "method_not_allowed", http.StatusMethodNotAllowed}
	codeVersionConflict    = code{"VERSION_CONFLICT", "version_conflict", http.StatusConflict}
	codePreconditionFailed = code{"VERSION_CONFLICT", "version_conflict", http.StatusPreconditionFailed}
	codeRefused            = code{"REFUSED", "refused", http.StatusConflict}
	codeRevisionUnknown    = code{"REVISION_UNKNOWN", "revision_unknown", http.StatusPreconditionFailed}
	codeTooLarge           = code{"TOO_LARGE", "value_too_large", http.StatusRequestEntityTooLarge}
	codeDiskFull           = code{"DISK_FULL", "disk_full", http.StatusInsufficientStorage}
	codeMismatch           = code{"IDEMPOTENCY_MISMATCH", "idempotency_mismatch", http.StatusUnprocessableEntity}
	codeOverloaded         = code{"OVERLOADED", "overloaded", http.StatusTooManyRequests}
	codeLimit              = code{"OVERLOADED", "usage_limit_exceeded", http.StatusTooManyRequests}
	codeInternal           = code{"INTERNAL", "internal", http.StatusInternalServerError}
	codeNoLeader           = code{"NO_LEADER", "no_leader", http.StatusServiceUnavailable}
	codeBehind             = code{"BEHIND", "behind", http.StatusServiceUnavailable}
	codeNotReady           = code{"NOT_READY", "not_ready", http.StatusServiceUnavailable}
	codeOutcomeUnknown     = code{"OUTCOME_UNKNOWN", "outcome_unknown", http.StatusGatewayTimeout}
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
	{cluster.ErrDamaged, codeInvalidRequest, false},
	{cluster.ErrNotFound, codeNotFound, false},
	{cluster.ErrRefused, codeRefused, false},
	{auth.ErrMissing, codeUnauthorized, false},
	{auth.ErrMalformed, codeUnauthorized, false},
	{auth.ErrUnknown, codeUnauthorized, false},
	{stream.ErrFull, codeLimit, false},
	{context.DeadlineExceeded, codeOutcomeUnknown, true},
	{context.Canceled, codeOutcomeUnknown, true},
}

// A problem is an error as the client sees it.
type problem struct {
	code    code
	message string
	members []member // of the case
	unknown bool     // a write that met it may have happened
}

// A member of an error's body tells something of the case.
type member struct {
	name  string // as the State Store has it; Agent State has it in snake_case
	value []byte // JSON
}

func number(name string, n uint64) member {
	return member{name, strconv.AppendUint(nil, n, 10)}
}

// A form is how a part of the API writes its errors.
type form uint8

const (
	stateForm form = iota // {"error":"CODE","code":"CODE","message":…,"outcome":…}
	agentForm             // {"error":"code","message":…,"outcome":…}
)

func (p *problem) Error() string { return p.code.name + ": " + p.message }

// refuse returns a problem: the request did nothing, and the message says why.
func refuse(c code, format string, args ...any) error {
	return &problem{code: c, message: fmt.Sprintf(format, args...)}
}

// overLimit refuses what would be more than a number of things may be.
func overLimit(current, limit uint64, format string, args ...any) error {
	return &problem{
		code: codeLimit, message: fmt.Sprintf(format, args...),
		members: []member{number("current", current), number("limit", limit)},
	}
}

// problemOf translates err. An error in no row is ours and not the client's,
// so its text stays in the log.
func problemOf(err error, write bool) *problem {
	if p := (*problem)(nil); errors.As(err, &p) {
		return p
	}
	if e := (*proxy.Error)(nil); errors.As(err, &e) {
		return &problem{code: code{agent: e.Code, status: e.Status}, message: e.Message}
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
	p := problemOf(err, rt.writes(r))
	if p.code == codeInternal {
		s.log.ErrorContext(r.Context(), "request failed", "method", r.Method, "route", rt.pattern, "err", err)
	}
	if errors.Is(err, cluster.ErrOverloaded) {
		s.refusals.wait(r.Context())
	}
	s.writeProblem(w, r, rt, p)
}

func (s *Server) writeProblem(w http.ResponseWriter, r *http.Request, rt *route, p *problem) {
	switch p.code.status {
	case http.StatusTooManyRequests:
		w.Header().Set("Retry-After", "1")
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	outcome := ""
	if !rt.proxied { // what came of that is the upstream's to say
		outcome = p.outcome(rt.writes(r))
	}
	if p.code.status != http.StatusTooManyRequests { // which is to cost nothing
		discardBody(r)
	}
	writeJSON(w, p.code.status, p.append(nil, rt.form, outcome))
}

func (p *problem) append(b []byte, f form, outcome string) []byte {
	b = append(b, `{"error":`...)
	if f == agentForm {
		b = appendString(b, p.code.agent)
	} else {
		b = appendString(b, p.code.name)
		b = append(b, `,"code":`...)
		b = appendString(b, p.code.name)
	}
	b = append(b, `,"message":`...)
	b = appendString(b, p.message)
	if outcome != "" {
		b = append(b, `,"outcome":`...)
		b = appendString(b, outcome)
	}
	for _, m := range p.members {
		b = m.append(b, f)
	}
	return append(b, '}')
}

func (m member) append(b []byte, f form) []byte {
	name := m.name
	if f == agentForm {
		name = snakeCase(name)
	}
	b = append(b, ',')
	b = appendString(b, name)
	b = append(b, ':')
	return append(b, m.value...)
}

// snakeCase turns currentVersion into current_version.
func snakeCase(name string) string {
	var b strings.Builder
	for _, c := range name {
		if unicode.IsUpper(c) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(c))
	}
	return b.String()
}

func (p *problem) outcome(write bool) string {
	if write && p.unknown {
		return "unknown"
	}
	return "not_applied"
}

// quoted shows what a client sent in a message, at a bounded length.
func quoted(s string) string {
	const limit = 80
	if len(s) > limit {
		return strconv.Quote(s[:limit]) + "…"
	}
	return strconv.Quote(s)
}
