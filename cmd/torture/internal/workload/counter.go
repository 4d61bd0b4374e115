package workload

import (
	"context"
	"fmt"
	"strconv"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
	"github.com/stateraft/stateraft/cmd/torture/internal/wire"
)

const (
	counterActors = 4
	counterKeys   = 3
)

type counter struct {
	env     Env
	clients []*wire.Client
}

func newCounter(e Env) Workload { return &counter{e, e.clients()} }

func (w *counter) Run(ctx context.Context) { w.env.actors(ctx, counterActors, w.one) }

// one raises a counter by one, once.
func (w *counter) one(ctx context.Context, a *actor) {
	c := w.clients[a.rng.IntN(len(w.clients))]
	r := wire.Request{Kind: history.Get, Workflow: "counter", Key: fmt.Sprint("c", a.rng.IntN(counterKeys))}
	seen := a.do(ctx, c, r)
	if seen.Outcome != history.OK {
		return
	}
	n, _ := strconv.Atoi(seen.Value) // absent: 0
	r.Kind, r.Value, r.Expected = history.SetAt, strconv.Itoa(n+1), seen.Version
	a.do(ctx, c, r)
}

func (w *counter) Finish(context.Context) error { return nil }
