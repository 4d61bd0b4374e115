package workload

import (
	"context"
	"fmt"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
	"github.com/stateraft/stateraft/cmd/torture/internal/wire"
)

const addsActors = 2

type adds struct{ env Env }

func newAdds(e Env) Workload { return &adds{e} }

func (w *adds) Run(ctx context.Context) { w.env.actors(ctx, addsActors, w.one) }

func (w *adds) one(ctx context.Context, a *actor) {
	id := fmt.Sprintf("%d-%x", a.id, a.rng.Uint64())
	a.do(ctx, a.node(), wire.Request{Kind: history.Set, Workflow: "adds", Key: id, Value: fmt.Sprintf("%q", id)})
}

func (w *adds) Finish(context.Context) error { return nil }
