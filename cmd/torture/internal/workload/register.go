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
	registerActors = 6
	registerSlots  = 3
	// registerAge is how long a register is used: the search for an order of its
	// operations gets harder with each of unknown outcome.
	registerAge = 4 * time.Second
)

type register struct {
	env    Env
	stores []wire.Store
	values atomic.Uint64 // the last one written: each is written once
}

func newRegister(e Env) Workload {
	w := &register{env: e}
	for i, c := range e.clients() {
		w.stores = append(w.stores, e.Nodes[i], e.Nodes[i], c)
	}
	return w
}

func (w *register) Run(ctx context.Context) {
	w.env.actors(ctx, registerActors, w.one)
}

// one does an operation at any node, on one of the registers of the moment.
func (w *register) one(ctx context.Context, a *actor) {
	age := int(w.env.Record.Now() / registerAge)
	name := fmt.Sprintf("r%d-%d", a.rng.IntN(registerSlots), age)
	r := wire.Request{Workflow: name, Key: "k"}
	store := w.stores[a.rng.IntN(len(w.stores))]
	switch p := a.rng.IntN(24); {
	case p < 8:
		r.Kind = history.Get
	case p < 12:
		r.Kind, r.Value = history.Set, w.value()
	case p < 14:
		r.Kind = history.Delete
	case p < 17:
		r = w.whether(a, r)
	default:
		w.atVersion(ctx, a, store, r)
		return
	}
	w.do(ctx, a, store, r)
}

// whether draws a write on condition that the key exists, or that it does not.
func (w *register) whether(a *actor, r wire.Request) wire.Request {
	r.Kind, r.Value, r.Current = history.Set, w.value(), a.rng.IntN(2) == 0
	r.If = []history.Condition{history.IfExists, history.IfAbsent}[a.rng.IntN(2)]
	if a.rng.IntN(3) == 0 {
		r.Kind, r.Value = history.Delete, ""
	}
	return r
}

// atVersion reads the register at one node, and at another writes it, or reads
// it again, on condition of the version.
func (w *register) atVersion(ctx context.Context, a *actor, store wire.Store, r wire.Request) {
	r.Kind = history.Get
	seen := w.do(ctx, a, w.stores[a.rng.IntN(len(w.stores))], r)
	if seen.Outcome != history.OK {
		return
	}
	r.Kind, r.Value, r.Expected, r.Current = history.SetAt, w.value(), seen.Version, a.rng.IntN(3) == 0
	switch p := a.rng.IntN(6); {
	case p == 0:
		r.Kind, r.If = history.Set, history.IfVersion
	case p == 1:
		r.Kind, r.If, r.Value = history.Delete, history.IfVersion, ""
	case p == 2 && seen.Found:
		store = a.node() // the Go client has no such read
		r = wire.Request{Kind: history.Get, Workflow: r.Workflow, Key: r.Key, If: history.IfChanged, Expected: seen.Version}
	}
	w.do(ctx, a, store, r)
}

// do leaves the client of an operation of unknown outcome in it for ever.
func (w *register) do(ctx context.Context, a *actor, store wire.Store, r wire.Request) history.Op {
	op := a.do(ctx, store, r)
	if op.Outcome == history.Unknown {
		a.id = w.env.Record.NewClient()
	}
	return op
}

func (w *register) value() string { return fmt.Sprint(w.values.Add(1)) }

// Finish reads all registers once more, on every node.
func (w *register) Finish(ctx context.Context) error {
	a := &actor{env: w.env, id: w.env.Record.NewClient()}
	for age := range int(w.env.Record.Now()/registerAge) + 1 {
		for slot := range registerSlots {
			r := wire.Request{Kind: history.Get, Workflow: fmt.Sprintf("r%d-%d", slot, age), Key: "k"}
			if err := a.readEverywhere(ctx, r); err != nil {
				return err
			}
		}
	}
	return nil
}
