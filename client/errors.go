package client

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Code names what went wrong. It is an error itself, so that
//
//	errors.Is(err, client.ErrVersionConflict)
//
// asks whether a call failed for that reason.
type Code string

func (c Code) Error() string { return string(c) }

// Codes of the wire contract.
const (
	ErrNotFound            Code = "NOT_FOUND"
	ErrMethodNotAllowed    Code = "METHOD_NOT_ALLOWED"
	ErrVersionConflict     Code = "VERSION_CONFLICT"
	ErrInvalidKey          Code = "INVALID_KEY"
	ErrInvalidTTL          Code = "INVALID_TTL"
	ErrValueRequired       Code = "VALUE_REQUIRED"
	ErrInvalidRequest      Code = "INVALID_REQUEST"
	ErrTooLarge            Code = "TOO_LARGE"
	ErrIdempotencyMismatch Code = "IDEMPOTENCY_MISMATCH" // the key was used for another request
	ErrUnauthorized        Code = "UNAUTHORIZED"
	ErrForbidden           Code = "FORBIDDEN"
	ErrRefused             Code = "REFUSED" // an administrative request; the message says why
	ErrNotReady            Code = "NOT_READY"
	ErrNoLeader            Code = "NO_LEADER"
	ErrBehind              Code = "BEHIND"           // the node lacks the revision asked for
	ErrRevisionUnknown     Code = "REVISION_UNKNOWN" // so does the cluster: it was restored from before it
	ErrOverloaded          Code = "OVERLOADED"
	ErrDiskFull            Code = "DISK_FULL"
	ErrInternal            Code = "INTERNAL"

	// ErrOutcomeUnknown matches every error whose Outcome is unknown, whatever
	// its code.
	ErrOutcomeUnknown Code = "OUTCOME_UNKNOWN"
)

// Codes that the client gives itself.
const (
	ErrUnreachable Code = "UNREACHABLE"  // no connection; the request was not sent
	ErrNoAnswer    Code = "NO_ANSWER"    // sent, and the connection broke or time ran out
	ErrBadResponse Code = "BAD_RESPONSE" // an answer that is not in the contract
	ErrClosed      Code = "CLOSED"       // a subscription that its context or Close ended
)

// Outcome says what became of a write that failed.
type Outcome string

const (
	OutcomeNotApplied Outcome = "not_applied" // it had, and will have, no effect
	OutcomeUnknown    Outcome = "unknown"     // it may have had its effect, or may yet
)

// Error is why a call failed. Every error of a call is one.
type Error struct {
	Code    Code
	Message string  // for people; it may change
	Outcome Outcome // of all attempts together; a read's is OutcomeNotApplied

	Status   int    // of the last response; 0: there was none
	Endpoint string // asked last; empty: nothing was sent
	Attempts int

	// With VERSION_CONFLICT. A version of 0 stands for an absent key.
	ExpectedVersion uint64
	CurrentVersion  uint64
	CurrentValue    json.RawMessage // only if ReturnCurrent was given
	Op              int             // index of Atomic's operation that failed

	// With OVERLOADED, if a limit of the node is why.
	Current, Limit uint64

	RetryAfter time.Duration // how long the node asks to be left alone; 0: not said
	Err        error         // what the connection failed with, or the context
}

func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", e.Code, e.Message)
	if e.Endpoint != "" && e.Status == 0 {
		fmt.Fprintf(&b, " (%s)", e.Endpoint)
	}
	if e.Outcome == OutcomeUnknown {
		b.WriteString("; the outcome of the write is unknown")
	}
	return b.String()
}

// Unwrap gives access to the error of the connection or the context.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is the code of e, or ErrOutcomeUnknown and so is
// e's outcome.
func (e *Error) Is(target error) bool {
	code, ok := target.(Code)
	return ok && (code == e.Code || code == ErrOutcomeUnknown && e.Outcome == OutcomeUnknown)
}

// refuse is an error found before anything was sent.
func refuse(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...), Outcome: OutcomeNotApplied}
}

// errorBody is the contract's error. Agent State's has no code beside its error,
// and its members are in snake case.
type errorBody struct {
	Code            Code            `json:"code"`
	Error           string          `json:"error"`
	Message         string          `json:"message"`
	Outcome         Outcome         `json:"outcome"`
	ExpectedVersion uint64          `json:"expectedVersion"`
	AgentExpected   uint64          `json:"expected_version"`
	CurrentVersion  uint64          `json:"currentVersion"`
	AgentCurrent    uint64          `json:"current_version"`
	CurrentValue    json.RawMessage `json:"currentValue"`
	Op              int             `json:"op"`
	Current         uint64          `json:"current"`
	Limit           uint64          `json:"limit"`
}

// agentCodes are the codes of Agent State that are not those of the State Store
// in lower case.
var agentCodes = map[string]Code{
	"invalid_json_body":    ErrInvalidRequest,
	"missing_subject_id":   ErrInvalidRequest,
	"invalid_ttl_seconds":  ErrInvalidTTL,
	"value_too_large":      ErrTooLarge,
	"usage_limit_exceeded": ErrOverloaded,
}

// code is that of the State Store, whichever part of the API the error is of.
func (b errorBody) code() Code {
	if b.Code != "" {
		return b.Code
	}
	if code, ok := agentCodes[b.Error]; ok {
		return code
	}
	return Code(strings.ToUpper(b.Error))
}

// responseError makes an error of a response that is not a success. It need not
// come from a node: a proxy's page has no code.
func responseError(endpoint string, res *http.Response, body []byte) *Error {
	status := res.StatusCode
	e := &Error{Status: status, Endpoint: endpoint, RetryAfter: retryAfter(res.Header)}
	var b errorBody
	if json.Unmarshal(body, &b) != nil || b.Code == "" && b.Error == "" {
		e.Code, e.Outcome = ErrBadResponse, outcomeOf(status)
		e.Message = fmt.Sprintf("status %d without an error of the contract", status)
		return e
	}
	e.Code, e.Message, e.Outcome = b.code(), b.Message, b.Outcome
	e.ExpectedVersion, e.CurrentVersion = b.ExpectedVersion+b.AgentExpected, b.CurrentVersion+b.AgentCurrent // one is 0
	e.CurrentValue, e.Op, e.Current, e.Limit = b.CurrentValue, b.Op, b.Current, b.Limit
	if e.Outcome == "" {
		e.Outcome = outcomeOf(status)
	}
	return e
}

// outcomeOf is what a status says of a write where the body is silent.
func outcomeOf(status int) Outcome {
	if status < http.StatusInternalServerError {
		return OutcomeNotApplied
	}
	return OutcomeUnknown
}

func retryAfter(h http.Header) time.Duration {
	seconds, err := strconv.ParseUint(h.Get("Retry-After"), 10, 16)
	if err != nil {
		return 0
	}
	return time.Duration(seconds) * time.Second
}
