package workload

import (
	"context"
	"fmt"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
	"github.com/stateraft/stateraft/cmd/torture/internal/wire"
)

const (
	onceActors = 3
	onceKeys   = 2
	// onceCopies bounds how often one write is sent.
	onceCopies = 8
)

type once struct {
	env    Env
	stores []wire.Store
}

func newOnce(e Env) Workload {
	w := &once{env: e}
	for i, c := range e.clients() {
		w.stores = append(w.stores, e.Nodes[i], c)
	}
	return w
}

func (w *once) Run(ctx context.Context) { w.env.actors(ctx, onceActors, w.one) }

// one sends a write until it is acknowledged, and in half of the cases once or
// twice more, each time at any node, or through the Go client, which sends it
// again by itself.
func (w *once) one(ctx context.Context, a *actor) {
	id := fmt.Sprintf("%x-%x", a.id, a.rng.Uint64())
	r := wire.Request{Kind: history.Set, Workflow: "once", Key: fmt.Sprint("k", a.rng.IntN(onceKeys)), Value: fmt.Sprintf("%q", id), Idempotency: id}
	copies := max(0, a.rng.IntN(4)-1)
	for range onceCopies {
		if a.do(ctx, w.stores[a.rng.IntN(len(w.stores))], r).Outcome != history.OK {
			continue
		}
		if copies == 0 {
			return
		}
		copies--
	}
}

func (w *once) Finish(context.Context) error { return nil }
