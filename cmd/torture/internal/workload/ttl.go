package workload

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
	"github.com/stateraft/stateraft/cmd/torture/internal/wire"
)

const (
	ttlActors = 4
	// ttlPatience bounds how long a key is watched beyond its time.
	ttlPatience = 15 * time.Second
	// ttlMargin is how long behind its old end a key is looked at that has none any
	// more, at most.
	ttlMargin = 500 * time.Millisecond
)

var ttls = []time.Duration{300 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second}

type ttl struct {
	env    Env
	stores []wire.Store

	mu      sync.Mutex      // guards the fields below
	lasting map[string]bool // keys that were set without a TTL in the end
}

func newTTL(e Env) Workload {
	w := &ttl{env: e, lasting: map[string]bool{}}
	for i, c := range e.clients() {
		w.stores = append(w.stores, e.Nodes[i], e.Nodes[i], c)
	}
	return w
}

func (w *ttl) Run(ctx context.Context) { w.env.actors(ctx, ttlActors, w.one) }

// one makes a key of its own, renews it up to twice, and watches it until it is
// gone; or it takes its TTL from it, and watches it beyond its time.
func (w *ttl) one(ctx context.Context, a *actor) {
	r := wire.Request{Kind: history.Set, Workflow: "ttl", Key: fmt.Sprintf("%d-%x", a.id, a.rng.Uint64()), TTL: ttls[a.rng.IntN(len(ttls))]}
	token, isSet, allKnown := uint64(0), false, true
	for i := range 1 + a.rng.IntN(3) {
		r.Value = fmt.Sprintf(`"%s-%d"`, r.Key, i)
		op := a.do(ctx, w.store(a), r)
		if op.Outcome == history.OK {
			token, isSet = op.Revision, true
		}
		allKnown = allKnown && op.Outcome != history.Unknown
		a.rest(ctx, 0, r.TTL)
	}
	switch {
	case !isSet:
	case allKnown && a.rng.IntN(3) == 0:
		w.outlive(ctx, a, r, token)
	default:
		w.watch(ctx, a, r, token)
	}
}

// store is any node, or the Go client, which does not tell revisions.
func (w *ttl) store(a *actor) wire.Store { return w.stores[a.rng.IntN(len(w.stores))] }

// outlive sets a key that may have a TTL without one, looks at it behind its old
// end, and deletes it.
func (w *ttl) outlive(ctx context.Context, a *actor, r wire.Request, token uint64) {
	w.mu.Lock()
	w.lasting[r.Key] = true
	w.mu.Unlock()
	old := r.TTL
	r.Value, r.TTL = fmt.Sprintf(`"%s for good"`, r.Key), 0
	token = max(token, a.do(ctx, a.node(), r).Revision)
	a.rest(ctx, old, old+ttlMargin)
	get := wire.Request{Kind: history.Get, Workflow: r.Workflow, Key: r.Key}
	a.do(ctx, a.node(), get)
	if token > 0 {
		get.Stale, get.MinRevision = true, token
		a.do(ctx, a.node(), get)
	}
	a.do(ctx, a.node(), wire.Request{Kind: history.Delete, Workflow: r.Workflow, Key: r.Key})
}

// watch reads a key until it is gone, and stale only with the token of its last set:
// an older state may be one in which it has ended.
func (w *ttl) watch(ctx context.Context, a *actor, r wire.Request, token uint64) {
	for giveUp := time.Now().Add(r.TTL + ttlPatience); time.Now().Before(giveUp) && ctx.Err() == nil; {
		get := wire.Request{Kind: history.Get, Workflow: r.Workflow, Key: r.Key}
		if token > 0 && a.rng.IntN(2) == 0 {
			get.Stale, get.MinRevision = true, token
		}
		if op := a.do(ctx, w.store(a), get); op.Outcome == history.OK && !op.Found && !op.Stale {
			return
		}
		a.rest(ctx, 10*time.Millisecond, 60*time.Millisecond)
	}
}

// Finish deletes the keys that were left and have no end, and waits until the
// others are gone, which nobody hinders.
func (w *ttl) Finish(ctx context.Context) error {
	limit := (slices.Max(ttls) + ttlPatience) * time.Duration(w.env.Slack)
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	a := &actor{env: w.env, id: w.env.Record.NewClient()}
	for {
		left, err := w.env.Nodes[0].List(ctx, history.Place{Workflow: w.env.in("ttl")})
		switch {
		case err == nil && len(left) == 0:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("keys are left %v after the last set", limit)
		}
		for _, e := range left {
			if w.lasting[e.Key] {
				a.do(ctx, w.env.Nodes[0], wire.Request{Kind: history.Delete, Workflow: "ttl", Key: e.Key})
			}
		}
		sleep(ctx, 50*time.Millisecond)
	}
}
