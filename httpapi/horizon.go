package httpapi

import (
	"context"
	"sync/atomic"
	"time"
)

// A horizon knows an instant such that the local state covers everything that
// was acknowledged, anywhere, before it. Those who need a later one take turns:
// one asks the leader, and most of the others find that this was enough for
// them too.
type horizon struct {
	readIndex func(context.Context) error
	turn      chan struct{}             // of one: sent by who asks, received when that is over
	at        atomic.Pointer[time.Time] // when the latest question that was answered began; nil: none was
}

func newHorizon(readIndex func(context.Context) error) *horizon {
	return &horizon{readIndex: readIndex, turn: make(chan struct{}, 1)}
}

// covers reports whether the state is known to cover what was acknowledged up
// to and including t.
func (h *horizon) covers(t time.Time) bool {
	at := h.at.Load()
	return at != nil && at.After(t)
}

// reach returns nil once the state covers what was acknowledged up to t, which
// must not be in the future.
func (h *horizon) reach(ctx context.Context, t time.Time) error {
	if h.covers(t) {
		return nil
	}
	select {
	case h.turn <- struct{}{}:
		defer func() { <-h.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if h.covers(t) {
		return nil
	}
	start := time.Now()
	if err := h.readIndex(ctx); err != nil {
		return err
	}
	h.at.Store(&start)
	return nil
}
