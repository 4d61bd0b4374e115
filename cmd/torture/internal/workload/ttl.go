package workload

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
	"github.com/stateraft/stateraft/cmd/torture/internal/wire"
)

const (
	ttlActors = 4
	// ttlPatience bounds how long a key is watched beyond its time.
	ttlPatience = 15 * time.Second
)

var ttls = []time.Duration{300 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second}

type ttl struct{ env Env }

func newTTL(e Env) Workload { return &ttl{e} }

func (w *ttl) Run(ctx context.Context) { w.env.actors(ctx, ttlActors, w.one) }

// one makes a key of its own, renews it up to twice, and watches it until it is
// gone.
func (w *ttl) one(ctx context.Context, a *actor) {
	r := wire.Request{Kind: history.Set, Workflow: "ttl", Key: fmt.Sprintf("%d-%x", a.id, a.rng.Uint64()), TTL: ttls[a.rng.IntN(len(ttls))]}
	token := uint64(0)
	for i := range 1 + a.rng.IntN(3) {
		r.Value = fmt.Sprintf(`"%s-%d"`, r.Key, i)
		if op := a.do(ctx, a.node(), r); op.Outcome == history.OK {
			token = op.Revision
		}
		a.rest(ctx, 0, r.TTL)
	}
	if token > 0 {
		w.watch(ctx, a, r, token)
	}
}

func (w *ttl) watch(ctx context.Context, a *actor, r wire.Request, token uint64) {
	for giveUp := time.Now().Add(r.TTL + ttlPatience); time.Now().Before(giveUp) && ctx.Err() == nil; {
		get := wire.Request{Kind: history.Get, Workflow: r.Workflow, Key: r.Key}
		if a.rng.IntN(2) == 0 {
			get.Stale, get.MinRevision = true, token
		}
		if op := a.do(ctx, a.node(), get); op.Outcome == history.OK && !op.Found && !op.Stale {
			return
		}
		a.rest(ctx, 10*time.Millisecond, 60*time.Millisecond)
	}
}

// Finish waits until the keys that were left are gone, which nobody hinders.
func (w *ttl) Finish(ctx context.Context) error {
	limit := (slices.Max(ttls) + ttlPatience) * time.Duration(w.env.Slack)
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		left, err := w.env.Nodes[0].List(ctx, history.Place{Workflow: w.env.in("ttl")})
		switch {
		case err == nil && len(left) == 0:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("keys are left %v after the last set", limit)
		}
		sleep(ctx, 50*time.Millisecond)
	}
}
