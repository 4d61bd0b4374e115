package client

import (
	"context"
	"math/rand/v2"
	"net/http"
	"time"
)

const (
	// defaultStreamRetry is what a node is taken to have said that said no retry.
	defaultStreamRetry = time.Second
	maxStreamRetry     = time.Minute // bounds what nodes may ask for

	// streamSpread keeps the streams of a node that ends from arriving at the
	// next one all at once.
	streamSpread = 100 * time.Millisecond
	// streamPauseMost bounds the pauses that grow, unless nodes ask for longer.
	streamPauseMost = 5 * time.Second
)

// link is a subscription's way to the cluster: one stream after the other. The
// first round of the endpoints is asked with but a little spread. Then, before
// any is asked again, each pause is twice the one before, beginning with what
// the nodes ask for by retry, plus up to half of it by chance.
type link struct {
	c           *Client
	giveUpAfter time.Duration
	stream      *stream // nil: to be opened

	retry     time.Duration // how long nodes ask to be left alone once they have failed
	failures  int           // in a row
	downSince time.Time     // the first of them
}

func (l *link) open(ctx context.Context, r *request) (e *Error) {
	l.stream, e = l.c.openStream(ctx, r)
	return e
}

// fail closes the stream, moves on to the next endpoint and waits until that
// may be asked. It returns an error if there is no point in asking.
func (l *link) fail(ctx context.Context, e *Error) error {
	l.count(e)
	l.stream.close()
	at := l.stream.at
	l.stream = nil
	wait := l.wait(e)
	switch {
	case ctx.Err() != nil:
		return closed(ctx, "the subscription was ended")
	case isFinal(e), l.giveUpAfter > 0 && time.Since(l.downSince)+wait >= l.giveUpAfter:
		return e
	}
	l.c.endpoints.leave(at)
	select {
	case <-ctx.Done():
		return closed(ctx, "the subscription was ended while it looked for a node: "+e.Error())
	case <-time.After(wait):
		return nil
	}
}

// count takes note of a failure. One of a stream that lasted is the first.
func (l *link) count(e *Error) {
	if opened := l.stream.opened; !opened.IsZero() && time.Since(opened) >= l.retry {
		l.failures, l.downSince = 0, time.Now()
	}
	l.failures++
	e.Attempts = l.failures
}

func (l *link) wait(e *Error) time.Duration {
	round := l.failures - len(l.c.endpoints.urls)
	if round < 0 {
		return rand.N(streamSpread)
	}
	asked := max(l.retry, min(e.RetryAfter, maxStreamRetry))
	d := max(asked, min(l.retry<<min(round, 10), streamPauseMost))
	return d + rand.N(d/2+1)
}

// isFinal reports whether asking again would bring no other answer.
func isFinal(e *Error) bool {
	switch {
	case e.Status == 0: // no answer, unless there was no request
		return e.Code == ErrInvalidRequest
	case e.Status >= http.StatusInternalServerError, e.Status == http.StatusTooManyRequests, e.Code == ErrRevisionUnknown:
		return false
	}
	return true
}

// closed is the error of a call that its own side ended.
func closed(ctx context.Context, message string) *Error {
	return &Error{Code: ErrClosed, Outcome: OutcomeNotApplied, Message: message, Err: context.Cause(ctx)}
}
