package stream

import (
	"context"
	"errors"
	"slices"

	"github.com/stateraft/stateraft/fsm"
)

// ErrGone refuses or ends what depends on an entry that is not there.
var ErrGone = errors.New("the entry that this depends on is gone")

// A Lease is an entry that a stream depends on: once the entry is deleted or
// has expired, the stream ends. The zero Lease is none.
type Lease struct{ Namespace, Key string }

func (l Lease) holds(state *fsm.State) bool {
	_, present, _ := state.Get(l.Namespace, l.Key)
	return present
}

// Hold returns a context that ends with ErrGone, too, when the lease ends: for
// answers that last and are no streams of the hub. release must be called.
func (h *Hub) Hold(ctx context.Context, l Lease) (held context.Context, release func(), err error) {
	if l == (Lease{}) {
		return ctx, func() {}, nil
	}
	h.watch()
	ctx, cancel := context.WithCancelCause(ctx)
	c := &call{end: func() { cancel(ErrGone) }}
	h.leases.addCall(l, c)
	release = func() {
		h.leases.removeCall(l, c)
		cancel(nil)
	}
	if !l.holds(h.cfg.Source.State()) {
		release()
		return nil, nil, ErrGone
	}
	return ctx, release, nil
}

// watch sees to it that leases which end from now on are noticed, until Close.
func (h *Hub) watch() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.watching || h.ctx.Err() != nil {
		return
	}
	h.watching = true
	from := h.cfg.Source.State().Point().Revision
	h.wg.Go(func() { h.watchLeases(from) })
}

// hold makes s depend on its lease. A lease that ends while this runs is seen
// here or by watchLeases, which sees changes after they are in the state.
func (h *Hub) hold(s *Subscription) error {
	if s.lease == (Lease{}) {
		return nil
	}
	h.watch()
	h.leases.add(s)
	if !s.lease.holds(h.cfg.Source.State()) {
		return ErrGone
	}
	return nil
}

// watchLeases ends the streams whose leases end after cursor. It does not go
// through the shards' batches, so that streams end in time while these are
// busy.
func (h *Hub) watchLeases(cursor uint64) {
	for h.cfg.Source.WaitChange(h.ctx, cursor) == nil {
		var ended []Lease
		ended, cursor = h.endedLeases(cursor)
		for _, l := range ended {
			h.endLease(l)
		}
	}
}

func (h *Hub) endLease(l Lease) {
	subs, calls := h.leases.of(l)
	for _, c := range calls {
		c.end()
	}
	if len(subs) > 0 {
		h.endAll(subs)
	}
}

// endedLeases returns what may have been leases and ended after a revision,
// and up to which revision that is known.
func (h *Hub) endedLeases(after uint64) (ended []Lease, last uint64) {
	state := h.cfg.Source.State()
	changes, reaches := state.Changes(after, batchChanges)
	if !reaches {
		last = state.Point().Revision
		return slices.DeleteFunc(h.leases.all(), func(l Lease) bool { return l.holds(state) }), last
	}
	for _, c := range changes {
		if last = c.Revision; c.New == nil {
			ended = append(ended, Lease{c.Namespace, c.Key})
		}
	}
	return ended, last
}

// endAll ends the streams of subs.
func (h *Hub) endAll(subs []*Subscription) {
	for _, sh := range h.shards {
		sh.endAmong(subs)
	}
}
