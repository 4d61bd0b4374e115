package workload

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
	"github.com/stateraft/stateraft/cmd/torture/internal/wire"
)

const (
	isolationActors = 2 // of each project
	// isolationAge is how long workflows are used: see registerAge.
	isolationAge = 4 * time.Second
	// isolationPrefix is what workflows begin with that a narrow key is for.
	isolationPrefix = "wf "
	// lastingUse is how long a revoked key is tried, endLimit how long its
	// revocation may take, and streamLimit its streams to end from then on, also on
	// nodes that are cut off.
	lastingUse  = time.Second
	endLimit    = 10 * time.Second
	streamLimit = 26 * time.Second
)

var projects = []string{"red", "blue"}

// isolation is two projects that use the same names of workflows, subjects,
// keys and idempotency keys, and API keys that may do little, or end.
type isolation struct {
	env    Env
	values atomic.Uint64 // the last one written: each is written once
	copies [2]atomic.Uint64

	mu    sync.Mutex // guards the fields below
	wide  []apiKey   // that may do everything, of each project
	given []apiKey   // that are to be taken back in the end
}

func newIsolation(e Env) Workload { return &isolation{env: e} }

func (w *isolation) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for i, project := range projects {
		wg.Go(func() { w.project(ctx, i, project) })
	}
	wg.Go(func() {
		a := &actor{env: w.env, id: w.env.Record.NewClient(), rng: w.env.rng("revoke")}
		for ctx.Err() == nil {
			w.revoke(ctx, a, projects[a.rng.IntN(len(projects))])
			a.rest(ctx, 100*time.Millisecond, time.Second)
		}
	})
	wg.Wait()
}

// project works with a key that may do everything in the project, and tries
// keys that may not.
func (w *isolation) project(ctx context.Context, i int, project string) {
	root := &actor{env: w.env, id: w.env.Record.NewClient(), rng: w.env.rng(project)}
	wide := w.grant(ctx, root, project, "", "state:read", "state:write")
	narrow := w.grant(ctx, root, project, isolationPrefix, "state:read", "state:write")
	reader := w.grant(ctx, root, project, "", "state:read")
	if wide.token == "" || narrow.token == "" || reader.token == "" {
		return // the end of ctx
	}
	w.mu.Lock()
	w.wide, w.given = append(w.wide, wide), append(w.given, wide, narrow, reader)
	w.mu.Unlock()
	w.env.actors(ctx, isolationActors, func(ctx context.Context, a *actor) {
		a.key = wide
		switch a.rng.IntN(12) {
		case 0:
			a.key = narrow
			w.forbidden(ctx, a, "other "+isolationPrefix, a.rng.IntN(5))
		case 1:
			a.key = reader
			w.forbidden(ctx, a, w.workflow(), 2+a.rng.IntN(3))
		default:
			w.one(ctx, i, a)
		}
	})
}

// grant makes a key, at any node, until one does or ctx ends.
func (w *isolation) grant(ctx context.Context, a *actor, project, prefix string, scopes ...string) apiKey {
	key := wire.NewKey{Project: project, Scopes: scopes}
	if prefix != "" {
		key.Prefixes = []string{prefix}
	}
	for {
		n := a.node()
		op := history.Op{
			Workload: w.env.Name, Client: a.id, Node: n.Name(), Kind: history.Grant, Call: w.env.Record.Now(),
			Workflow: project, Query: history.Query{Prefix: prefix}, Value: fmt.Sprint(scopes),
		}
		id, token, answer := n.Grant(context.WithoutCancel(ctx), key)
		op.Key = id
		if id == "" {
			op.Key = "none"
		}
		w.record(op, answer)
		if answer.Outcome == history.OK {
			return apiKey{project, id, token}
		}
		if ctx.Err() != nil {
			return apiKey{}
		}
		a.rest(ctx, 50*time.Millisecond, 150*time.Millisecond)
	}
}

func (w *isolation) record(op history.Op, a wire.Answer) history.Op {
	op.Return, op.Outcome, op.Error, op.Revision = w.env.Record.Now(), a.Outcome, a.Error, a.Revision
	w.env.Record.Op(op)
	return op
}

func (w *isolation) workflow() string {
	return fmt.Sprint(isolationPrefix, int(w.env.Record.Now()/isolationAge))
}

// one works on the one key of a workflow or subject that both projects name
// alike. Its values tell the project.
func (w *isolation) one(ctx context.Context, i int, a *actor) {
	r := wire.Request{Workflow: w.workflow(), Key: "k", Agent: a.rng.IntN(3) == 0}
	switch p := a.rng.IntN(10); {
	case p < 3:
		r.Kind = history.Get
	case p < 4:
		r.Kind, r.Key = history.List, ""
	case p < 5:
		r.Kind = history.Delete
	case p < 7:
		r.Kind, r.Value, r.If, r.Current = history.Set, w.value(a), history.IfAbsent, !r.Agent
	default:
		r.Kind, r.Value = history.Set, w.value(a)
		r.Idempotency = fmt.Sprint("copy-", w.copies[i].Add(1)) // of the other project, too
	}
	w.send(ctx, a, a.node(), r)
}

func (w *isolation) value(a *actor) string {
	return fmt.Sprintf(`"%s %d"`, a.key.project, w.values.Add(1))
}

// send leaves the client of an operation of unknown outcome in it for ever.
func (w *isolation) send(ctx context.Context, a *actor, n *wire.Node, r wire.Request) {
	if a.do(ctx, n, r).Outcome == history.Unknown {
		a.id = w.env.Record.NewClient()
	}
}

// forbidden does what the actor's key may not.
func (w *isolation) forbidden(ctx context.Context, a *actor, workflow string, what int) {
	r := wire.Request{Workflow: workflow, Key: "k", Value: w.value(a), Agent: what < 4 && a.rng.IntN(2) == 0}
	r.Kind = []history.Kind{history.Get, history.List, history.Set, history.Delete, history.Atomic}[what]
	if r.Kind == history.Atomic {
		r.Steps = []history.Step{{Kind: history.Set, Key: "k", Value: r.Value}}
	}
	if !r.Kind.IsWrite() || r.Kind == history.Delete {
		r.Value = ""
	}
	w.send(ctx, a, a.node(), r)
}

// revoke makes a key, uses it, has streams opened with it at every node, ends
// it, and goes on using it.
func (w *isolation) revoke(ctx context.Context, root *actor, project string) {
	key := w.grant(ctx, root, project, "", "state:read", "state:write")
	if key.token == "" {
		return
	}
	streaming, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	var wg sync.WaitGroup
	for _, n := range w.env.Nodes {
		wg.Go(func() { w.stream(streaming, n, key) })
	}
	user := &actor{env: w.env, id: w.env.Record.NewClient(), rng: rand.New(rand.NewPCG(root.rng.Uint64(), 0)), key: key}
	for range 2 {
		w.send(ctx, user, user.node(), wire.Request{Kind: history.Get, Workflow: w.workflow(), Key: "k"})
	}
	stay := time.Duration(0)
	if w.end(ctx, root, key) {
		stay = streamLimit * time.Duration(w.env.Slack)
	}
	defer time.AfterFunc(stay, end).Stop()
	for late := time.Now().Add(lastingUse); time.Now().Before(late); user.rest(ctx, 20*time.Millisecond, 80*time.Millisecond) {
		r := wire.Request{Kind: history.Get, Workflow: w.workflow(), Key: "k", Stale: user.rng.IntN(4) == 0}
		if user.rng.IntN(3) == 0 {
			r = wire.Request{Kind: history.Set, Workflow: w.workflow(), Key: "k", Value: w.value(user)}
		}
		w.send(ctx, user, user.node(), r)
	}
	wg.Wait()
}

// end revokes a key, at any node, until one has done it or the time for it is
// over.
func (w *isolation) end(ctx context.Context, root *actor, key apiKey) bool {
	for late := time.Now().Add(endLimit); time.Now().Before(late); {
		n := root.node()
		op := history.Op{Workload: w.env.Name, Client: root.id, Node: n.Name(), Kind: history.Revoke, Workflow: key.project, Key: key.id, Call: w.env.Record.Now()}
		if w.record(op, n.Revoke(context.WithoutCancel(ctx), key.id)).Outcome == history.OK {
			return true
		}
		sleep(context.WithoutCancel(ctx), 50*time.Millisecond)
	}
	return false
}

// stream follows a workflow with a key until the node ends it.
func (w *isolation) stream(ctx context.Context, n *wire.Node, key apiKey) {
	workflow := w.env.in(w.workflow())
	op := history.Op{Workload: w.env.Name, Node: n.Name(), Kind: history.Open, Project: key.project, Token: key.id, Workflow: workflow, Key: "all", Call: w.env.Record.Now()}
	name := w.env.in(fmt.Sprintf("%s at %s", key.id, n.Name()))
	w.env.Record.Subscriber(name, history.Subscriber{Workload: w.env.Name, Workflow: workflow, Project: key.project, Token: key.id})
	answer, cursor := wire.Answer{Outcome: history.Refused}, uint64(0)
	feed := wire.Feed{Workflow: workflow, Token: key.token, Fresh: true, Opened: func() { answer.Outcome = history.OK }}
	err := n.Follow(ctx, feed, &cursor, func(e history.Event) {
		e.Subscriber, e.Workflow, e.At = name, workflow, w.env.Record.Now()
		w.env.Record.Event(e)
	})
	var refused *wire.RefusedError
	switch {
	case ctx.Err() != nil:
		answer.Error = history.StillOpen
	case errors.As(err, &refused):
		answer.Outcome, answer.Error = history.Refused, refused.Why
	case answer.Outcome == history.Refused:
		answer.Error = "no answer"
	}
	w.record(op, answer)
}

// Finish reads all that the projects hold once more, on every node, deletes it,
// and takes the API keys back, so that a long run leaves little. Nobody uses them
// any more.
func (w *isolation) Finish(ctx context.Context) error {
	err := w.clear(ctx)
	for _, key := range w.given {
		w.env.Nodes[0].Revoke(ctx, key.id) // one that stays harms nobody
	}
	return err
}

// clear reads each key at every node, and deletes it.
func (w *isolation) clear(ctx context.Context) error {
	for _, key := range w.wide {
		a := &actor{env: w.env, id: w.env.Record.NewClient(), key: key}
		for age := range int(w.env.Record.Now()/isolationAge) + 1 {
			r := wire.Request{Kind: history.Get, Workflow: fmt.Sprint(isolationPrefix, age), Key: "k"}
			for _, r.Agent = range []bool{false, true} {
				if err := a.readEverywhere(ctx, r); err != nil {
					return err
				}
				a.do(ctx, w.env.Nodes[0], wire.Request{Kind: history.Delete, Workflow: r.Workflow, Key: r.Key, Agent: r.Agent})
			}
		}
	}
	return nil
}
