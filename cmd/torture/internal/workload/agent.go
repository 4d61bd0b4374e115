package workload

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
	"github.com/stateraft/stateraft/cmd/torture/internal/wire"
)

const (
	agentActors   = 3
	agentSubjects = 2
	// agentAge is how long keys are used: see registerAge.
	agentAge = 4 * time.Second
)

// agentOneKey is a subject that has one key, and is followed by that.
var agentOneKey = wire.Feed{Workflow: "subject of one", Agent: true, Key: "task/0"}

// agentState is two subjects of Agent State whose keys have the same names, and
// that are listed and followed; and subjects with one key each, of which one is
// followed.
type agentState struct {
	env    Env
	follow *followers
	values atomic.Uint64 // the last one written: each is written once
}

func newAgent(e Env) Workload { return &agentState{env: e, follow: newFollowers(e)} }

func (w *agentState) Run(ctx context.Context) {
	for i := range agentSubjects {
		w.follow.readers(1, wire.Feed{Workflow: w.subject(i), Agent: true})
	}
	w.follow.readers(1, agentOneKey)
	w.env.actors(ctx, agentActors, w.one)
}

func (w *agentState) subject(i int) string { return fmt.Sprint("subject ", i) }

func (w *agentState) one(ctx context.Context, a *actor) {
	i := a.rng.IntN(agentSubjects)
	r := wire.Request{Agent: true, Workflow: w.subject(i), Key: fmt.Sprintf("task/%d", a.rng.IntN(2))}
	switch p := a.rng.IntN(6); {
	case p == 0:
		r.Workflow, r.Key = agentOneKey.Workflow, agentOneKey.Key
	case p < 4:
		r.Workflow, r.Key = fmt.Sprintf("register %d-%d", i, w.env.Record.Now()/agentAge), "k"
	}
	switch p := a.rng.IntN(10); {
	case p < 3:
		r.Kind = history.Get
	case p < 6:
		r.Kind, r.Value = history.Set, w.value()
	case p < 7:
		r.Kind = history.Delete
	case p < 8:
		r.Kind, r.Key = history.List, ""
	default:
		w.atVersion(ctx, a, r)
		return
	}
	w.send(ctx, a, r)
}

// atVersion writes a key on condition of the version that was read.
func (w *agentState) atVersion(ctx context.Context, a *actor, r wire.Request) {
	r.Kind = history.Get
	seen := w.send(ctx, a, r)
	if seen.Outcome != history.OK {
		return
	}
	r.Kind, r.Value, r.If, r.Expected = history.Set, w.value(), history.IfVersion, seen.Version
	if !seen.Found {
		r.If = history.IfAbsent
	} else if a.rng.IntN(3) == 0 {
		r.Kind, r.Value = history.Delete, ""
	}
	w.send(ctx, a, r)
}

func (w *agentState) value() string { return fmt.Sprint(w.values.Add(1)) }

// send leaves the client of an operation of unknown outcome in it for ever.
func (w *agentState) send(ctx context.Context, a *actor, r wire.Request) history.Op {
	op := a.do(ctx, a.node(), r)
	if op.Outcome == history.Unknown {
		a.id = w.env.Record.NewClient()
	}
	return op
}

func (w *agentState) Finish(ctx context.Context) error { return w.follow.finish(ctx) }
