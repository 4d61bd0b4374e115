package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"time"
)

// kind says what would come of sending a call twice.
type kind int

const (
	read      kind = 1 << iota
	write          // it could happen twice, or undo what came between
	versioned      // a write on condition of one version: versions never come back, so it happens once at most
	keyed          // a write with an Idempotency-Key: the second time, it gets the first answer
	probe          // a question to one node, asked once
	local          // a change of the node at the first endpoint: for no other, sent once
)

// failure is what an attempt that failed has proven.
type failure int

const (
	answered    failure = iota // an answer for good: 3xx, 4xx, 500, 507, or an unreadable one
	unreachable                // no connection was made, so nothing was sent
	unavailable                // 503: the node said that it did nothing
	overloaded                 // 429: likewise; its queues are full
	lost                       // sent, then no answer, half of one, OUTCOME_UNKNOWN, or a proxy's 502, 503, 504
)

// retries is the one place that decides what is sent again. `next` says that
// the client goes to the next endpoint, for this call and those after it.
//
//	              read   write   versioned   keyed   next
//	answered       –       –        –          –      –
//	unreachable    yes     yes      yes        yes    yes
//	unavailable    yes     yes      yes        yes    yes
//	overloaded     yes     yes      yes        yes    –
//	lost           yes     –        yes        yes    yes
//
// A plain write that was lost is never sent again: the error says that its
// outcome is unknown. All are bounded by Config.MaxAttempts, Config.Timeout and
// the context. The first round of the endpoints is without a pause; then each
// pause is twice the one before, from 50 ms to 2 s, less up to half of it by
// chance, and not shorter than a Retry-After, plus up to half of that by chance.
// A pause that would outlast the call ends it at once.
var retries = [...]struct {
	again kind
	next  bool
}{
	answered:    {},
	unreachable: {again: read | write | versioned | keyed, next: true},
	unavailable: {again: read | write | versioned | keyed, next: true},
	overloaded:  {again: read | write | versioned | keyed},
	lost:        {again: read | versioned | keyed, next: true},
}

func classify(e *Error) failure {
	switch {
	case e.Code == ErrUnreachable:
		return unreachable
	case e.Code == ErrNoAnswer:
		return lost
	case e.Status == http.StatusTooManyRequests && e.Outcome == OutcomeNotApplied:
		return overloaded
	case e.Status == http.StatusServiceUnavailable && e.Outcome == OutcomeNotApplied:
		return unavailable
	case e.Status == http.StatusBadGateway, e.Status == http.StatusServiceUnavailable, e.Status == http.StatusGatewayTimeout:
		return lost
	default:
		return answered
	}
}

const (
	backoffFirst = 50 * time.Millisecond
	backoffMost  = 2 * time.Second
)

// do makes the call: attempts until one is answered for good, decoded into out.
func (c *Client) do(ctx context.Context, r *request, out any) error {
	ctx, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return &Error{Code: ErrUnreachable, Message: err.Error(), Outcome: OutcomeNotApplied, Err: err}
	}
	uncertain := false // an earlier attempt may have had its effect
	for n := 1; ; n++ {
		endpoint, at := c.endpoints.choose(r.kind)
		e := c.attempt(ctx, endpoint, at, r, out)
		if e == nil {
			return nil
		}
		e.Attempts = n
		f := classify(e)
		c.afterFailure(ctx, f, at, r, e)
		if n == c.config.MaxAttempts || retries[f].again&r.kind == 0 || !pause(ctx, c.delay(n, f, e)) {
			return r.kind.settle(e, uncertain)
		}
		uncertain = uncertain || e.Outcome == OutcomeUnknown
	}
}

// afterFailure draws the consequences for the calls to come. A caller that gave
// up has proven nothing against the endpoint.
func (c *Client) afterFailure(ctx context.Context, f failure, at int64, r *request, e *Error) {
	if retries[f].next && !errors.Is(ctx.Err(), context.Canceled) {
		c.endpoints.leave(at)
	}
	if e.Code == ErrRevisionUnknown {
		c.revision.forget(r.minRevision)
	}
}

// settle gives e the outcome of all attempts together. An earlier one that is
// uncertain stays so, unless e is the answer kept under an idempotency key. A
// conflict proves nothing then: it may be with that very attempt.
func (k kind) settle(e *Error, uncertain bool) *Error {
	switch {
	case k == read || k == probe:
		e.Outcome = OutcomeNotApplied
	case !uncertain || k == keyed && e.Code == ErrVersionConflict:
	case e.Code == ErrVersionConflict:
		e.Code, e.Outcome = ErrOutcomeUnknown, OutcomeUnknown
		e.Message = "an attempt was lost, and the next one met another version: " + e.Message
	default:
		e.Outcome = OutcomeUnknown
	}
	return e
}

// delay is the pause after attempt n.
func (c *Client) delay(n int, f failure, e *Error) time.Duration {
	round := n - len(c.endpoints.urls) // attempts beyond one for each endpoint
	if f == overloaded {
		round = n - 1
	}
	if round < 0 {
		return 0
	}
	return max(backoff(round), e.RetryAfter+rand.N(e.RetryAfter/2+1)) // or those refused together come back together
}

func backoff(round int) time.Duration {
	d := min(backoffFirst<<min(round, 10), backoffMost)
	return d - rand.N(d/2)
}

// pause waits. It reports false at once if the context would end before.
func pause(ctx context.Context, d time.Duration) bool {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= d {
		return false
	}
	if d == 0 {
		return ctx.Err() == nil
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
