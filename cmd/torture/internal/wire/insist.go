package wire

import (
	"context"
	"slices"
	"time"
)

// insistPause is how long an answer that will not stay is apart from the next
// question.
const insistPause = 50 * time.Millisecond

// passing are the errors of a cluster that was not heard or could not decide in
// time: they say nothing of what it would answer a moment later.
var passing = []string{"no answer", "unreachable", "NO_LEADER", "NOT_READY", "OVERLOADED", "OUTCOME_UNKNOWN", busy}

// Passes reports whether somebody who asks again may get another answer although
// nobody has changed anything.
func (a Answer) Passes() bool { return slices.Contains(passing, a.Error) }

// Insist asks again and again, until the answer is one that stays or ctx ends,
// and returns the last. What is asked must do no harm when it is done twice.
func Insist(ctx context.Context, ask func() Answer) Answer {
	for {
		a := ask()
		if !a.Passes() {
			return a
		}
		select {
		case <-ctx.Done():
			return a
		case <-time.After(insistPause):
		}
	}
}

// Insistent is a store that is asked until it gives an answer that stays. A
// write needs an idempotency key, if it may not be done twice.
type Insistent struct {
	Store
	Limit time.Duration // for one request with all its attempts
}

// Do makes the request again and again.
func (s Insistent) Do(ctx context.Context, r Request) Answer {
	ctx, cancel := context.WithTimeout(ctx, s.Limit)
	defer cancel()
	return Insist(ctx, func() Answer { return s.Store.Do(ctx, r) })
}
