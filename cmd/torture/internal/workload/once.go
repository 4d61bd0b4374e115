package workload

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
	"github.com/stateraft/stateraft/cmd/torture/internal/wire"
)

const (
	onceActors    = 3
	onceKeys      = 2
	onceRegisters = 2
	// onceCopies bounds how often one write is sent.
	onceCopies = 8
	// onceKept is how many writes are sent again in the end, and onceOthers with how
	// many of their idempotency keys another write is sent.
	onceKept   = 50
	onceOthers = 10
	// onceAge is how old such a write may be: nodes remember the answer for 10
	// minutes.
	onceAge = 9 * time.Minute
)

// once is keys that are only ever set, so that their versions count the writes,
// and registers, each alone in a workflow, that are also deleted: see
// registerAge.
type once struct {
	env    Env
	stores []wire.Store
	last   sync.Map // write of a register, by client
	kept   sample
}

// sample is some of the writes, each with the same chance.
type sample struct {
	mu   sync.Mutex // guards the fields below
	kept []sent
	of   int
}

// sent is a write and the time before which it was not sent.
type sent struct {
	wire.Request
	at time.Duration
}

// add lets a write be one of the sample, which stays small.
func (s *sample) add(w sent, rng *rand.Rand) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.of++
	if len(s.kept) < onceKept {
		s.kept = append(s.kept, w)
	} else if i := rng.IntN(s.of); i < onceKept {
		s.kept[i] = w
	}
}

func newOnce(e Env) Workload {
	w := &once{env: e}
	for i, c := range e.clients() {
		w.stores = append(w.stores, e.Nodes[i], c)
	}
	return w
}

func (w *once) Run(ctx context.Context) { w.env.actors(ctx, onceActors, w.one) }

func (w *once) one(ctx context.Context, a *actor) {
	id := fmt.Sprintf("%x-%x", a.id, a.rng.Uint64())
	r := wire.Request{Kind: history.Set, Workflow: "once", Key: fmt.Sprint("k", a.rng.IntN(onceKeys)), Value: fmt.Sprintf("%q", id), Idempotency: id}
	switch p := a.rng.IntN(8); {
	case p < 2:
		w.send(ctx, a, r)
	case p < 3:
		w.send(ctx, a, w.several(ctx, a, r))
	default:
		w.register(ctx, a, r)
	}
}

// several makes of a set one of all keys, in some cases on condition that the
// first is at the version that is read.
func (w *once) several(ctx context.Context, a *actor, r wire.Request) wire.Request {
	for i := range onceKeys {
		r.Steps = append(r.Steps, history.Step{Kind: history.Set, Key: fmt.Sprint("k", i), Value: r.Value})
	}
	r.Kind, r.Key, r.Value = history.Atomic, "", ""
	if a.rng.IntN(3) > 0 {
		return r
	}
	seen := a.do(ctx, a.node(), wire.Request{Kind: history.Get, Workflow: r.Workflow, Key: r.Steps[0].Key})
	if seen.Outcome == history.OK {
		r.Steps[0].Expected = &seen.Version
	}
	return r
}

// register reads a register and writes it, and in some cases sends the client's
// write before that once more, which must not have its effect again.
func (w *once) register(ctx context.Context, a *actor, r wire.Request) {
	r.Workflow, r.Key = fmt.Sprintf("once r%d-%d", a.rng.IntN(onceRegisters), w.env.Record.Now()/registerAge), "k"
	get := wire.Request{Kind: history.Get, Workflow: r.Workflow, Key: r.Key}
	seen := a.do(ctx, a.node(), get)
	if seen.Outcome != history.OK {
		return
	}
	r = w.change(a, r, seen.Version)
	w.send(ctx, a, r)
	if before, known := w.last.Swap(a.id, r); known && a.rng.IntN(2) == 0 {
		w.copy(ctx, a, before.(wire.Request))
		a.do(ctx, a.node(), get)
	}
}

// change draws what is done to a register at a version: it is set or deleted, by
// itself or as the one step of an atomic write, in half of the cases only at that
// version.
func (w *once) change(a *actor, r wire.Request, version uint64) wire.Request {
	conditional := a.rng.IntN(2) == 0
	if a.rng.IntN(3) == 0 && version > 0 {
		r.Kind, r.Value = history.Delete, ""
	}
	switch {
	case a.rng.IntN(3) == 0:
		step := history.Step{Kind: r.Kind, Key: r.Key, Value: r.Value}
		if conditional {
			step.Expected = &version
		}
		r.Kind, r.Key, r.Value, r.Steps = history.Atomic, "", "", []history.Step{step}
	case conditional && r.Kind == history.Delete:
		r.If, r.Expected = history.IfVersion, version
	case conditional:
		r.Kind, r.Expected = history.SetAt, version
	}
	return r
}

// send sends a write until it is answered, and in half of the cases once or
// twice more.
func (w *once) send(ctx context.Context, a *actor, r wire.Request) {
	w.kept.add(sent{r, w.env.Record.Now()}, a.rng)
	copies := max(0, a.rng.IntN(4)-1)
	for range onceCopies {
		if w.copy(ctx, a, r).Outcome != history.OK {
			continue
		}
		if copies == 0 {
			return
		}
		copies--
	}
}

// copy sends a write to any node, or through the Go client, which sends it again
// by itself and knows no atomic writes here.
func (w *once) copy(ctx context.Context, a *actor, r wire.Request) history.Op {
	if r.Kind == history.Atomic {
		return a.do(ctx, a.node(), r)
	}
	return a.do(ctx, w.stores[a.rng.IntN(len(w.stores))], r)
}

// Finish sends writes of the whole time again, which must get their first answers
// and have no second effect, and other writes with their idempotency keys.
func (w *once) Finish(ctx context.Context) error {
	a := &actor{env: w.env, id: w.env.Record.NewClient(), rng: w.env.rng("again")}
	var errs []error
	others := onceOthers
	for _, r := range w.kept.kept {
		if w.env.Record.Now()-r.at > onceAge || ctx.Err() != nil {
			continue
		}
		again := a.do(ctx, w.insistent(a), r.Request)
		if isSet := r.Kind == history.Set || r.Kind == history.SetAt; isSet && again.Outcome == history.OK && others > 0 {
			others--
			errs = append(errs, w.other(ctx, a, r.Request))
		}
	}
	return errors.Join(errs...)
}

// insistent is any node, which is asked until it gives an answer that stays.
func (w *once) insistent(a *actor) wire.Store {
	return wire.Insistent{Store: a.node(), Limit: readLimit * time.Duration(w.env.Slack)}
}

// other sends another write with the idempotency key of a set that was answered,
// which must be refused for that. It is not recorded, as all that is recorded is a
// right request; an effect would show in what the key is then.
func (w *once) other(ctx context.Context, a *actor, r wire.Request) error {
	r.Value = fmt.Sprintf(`"not %s"`, r.Idempotency)
	at := r
	at.Workflow = w.env.in(r.Workflow)
	node := w.insistent(a)
	answer := node.Do(context.WithoutCancel(ctx), at)
	if r.Workflow != "once" { // of its register
		a.do(ctx, w.insistent(a), wire.Request{Kind: history.Get, Workflow: r.Workflow, Key: r.Key})
	}
	isRefused := answer.Error == "IDEMPOTENCY_MISMATCH" && answer.Outcome == history.Refused
	if isRefused || answer.Passes() || answer.Error == "DISK_FULL" {
		return nil
	}
	return fmt.Errorf("another write of %s/%s with the idempotency key %s was answered by %s with %s %s, version %d", at.Workflow, r.Key, r.Idempotency, node.Name(), answer.Outcome, answer.Error, answer.Version)
}
