package stream

import (
	"maps"
	"slices"
	"sync"
)

// leases says who depends on which entry.
type leases struct {
	mu    sync.Mutex // guards the fields below; nothing is locked after it
	subs  tenants[*Subscription]
	calls tenants[*call]
}

// A call is something other than a stream of the hub that depends on a lease.
type call struct{ end func() }

// tenants are those of one kind that depend on leases.
type tenants[T comparable] map[Lease]map[T]struct{}

func (ts *tenants[T]) add(l Lease, t T) {
	if *ts == nil {
		*ts = tenants[T]{}
	}
	if (*ts)[l] == nil {
		(*ts)[l] = map[T]struct{}{}
	}
	(*ts)[l][t] = struct{}{}
}

func (ts tenants[T]) remove(l Lease, t T) {
	delete(ts[l], t)
	if len(ts[l]) == 0 {
		delete(ts, l)
	}
}

func (ls *leases) add(s *Subscription) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.subs.add(s.lease, s)
}

func (ls *leases) remove(s *Subscription) {
	if s.lease == (Lease{}) {
		return
	}
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.subs.remove(s.lease, s)
}

func (ls *leases) addCall(l Lease, c *call) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.calls.add(l, c)
}

func (ls *leases) removeCall(l Lease, c *call) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.calls.remove(l, c)
}

// all returns the leases that anybody depends on; one may come twice.
func (ls *leases) all() []Lease {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return slices.AppendSeq(slices.Collect(maps.Keys(ls.subs)), maps.Keys(ls.calls))
}

// of returns who depends on l.
func (ls *leases) of(l Lease) ([]*Subscription, []*call) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return slices.Collect(maps.Keys(ls.subs[l])), slices.Collect(maps.Keys(ls.calls[l]))
}
