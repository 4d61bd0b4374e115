package workload

import (
	"context"
	"fmt"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
	"github.com/stateraft/stateraft/cmd/torture/internal/wire"
)

const (
	atomicActors = 3
	atomicSteps  = 4 // of a write, at most
)

// atomicKeys have two prefixes, "a" and "b".
var atomicKeys = []string{"a1", "a2", "a3", "b1", "b2", "b3"}

type atomicWrites struct {
	env    Env
	follow *followers
}

func newAtomic(e Env) Workload { return &atomicWrites{e, newFollowers(e)} }

func (w *atomicWrites) Run(ctx context.Context) {
	w.follow.readers(2, wire.Feed{Workflow: "atomic"})
	w.env.actors(ctx, atomicActors, w.one)
}

// one writes several keys, on conditions of what a list showed, or reads.
func (w *atomicWrites) one(ctx context.Context, a *actor) {
	switch p := a.rng.IntN(8); {
	case p == 0:
		a.do(ctx, a.node(), wire.Request{Kind: history.Get, Workflow: "atomic", Key: atomicKeys[a.rng.IntN(len(atomicKeys))]})
	case p < 3:
		a.do(ctx, a.node(), wire.Request{Kind: history.List, Workflow: "atomic", Stale: p == 1, Query: history.Query{Prefix: "ab"[:a.rng.IntN(2)]}})
	default:
		seen := a.do(ctx, a.node(), wire.Request{Kind: history.List, Workflow: "atomic", Stale: p == 3})
		if seen.Outcome == history.OK {
			a.do(ctx, a.node(), wire.Request{Kind: history.Atomic, Workflow: "atomic", Steps: w.steps(a, seen.Entries)})
		}
	}
}

// steps draws a write: mostly one set at least, which tells the write by its value,
// then sets, deletes and checks of other keys, most on no condition and some on
// that of the version that was seen. Some have checks alone.
func (w *atomicWrites) steps(a *actor, seen []history.Entry) []history.Step {
	versions := map[string]uint64{}
	for _, e := range seen {
		versions[e.Key] = e.Version
	}
	var steps []history.Step
	kinds, checksOnly := []history.Kind{history.Set, history.Delete, history.Get}, a.rng.IntN(8) == 0
	for i, k := range a.rng.Perm(len(atomicKeys))[:1+a.rng.IntN(atomicSteps)] {
		s := history.Step{Key: atomicKeys[k], Kind: history.Set}
		switch {
		case checksOnly:
			s.Kind = history.Get
		case i > 0:
			s.Kind = kinds[a.rng.IntN(len(kinds))]
		}
		if s.Kind == history.Set {
			s.Value = fmt.Sprintf(`"%d-%x"`, a.id, a.rng.Uint64())
		}
		if version := versions[s.Key]; s.Kind == history.Get || a.rng.IntN(3) == 0 {
			s.Expected = &version
		}
		steps = append(steps, s)
	}
	a.rng.Shuffle(len(steps), func(i, j int) { steps[i], steps[j] = steps[j], steps[i] })
	return steps
}

func (w *atomicWrites) Finish(ctx context.Context) error { return w.follow.finish(ctx) }
