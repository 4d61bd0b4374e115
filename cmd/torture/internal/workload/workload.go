// Package workload is what clients do while a cluster is being hurt. Each
// workload records all that it does; whether that was right is for the checkers.
package workload

import (
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
	"github.com/stateraft/stateraft/cmd/torture/internal/wire"
)

// Workload is one kind of work.
type Workload interface {
	// Run works until ctx ends, and returns when all that was under way has
	// come to its end.
	Run(ctx context.Context)
	// Finish is called after Run, when the cluster has been whole again for a
	// moment. An error is a promise that was not kept, and says which.
	Finish(ctx context.Context) error
}

// Spec describes a workload that can be made.
type Spec struct {
	Name, About string
	New         func(Env) Workload
	Keys        bool // nodes must ask for API keys
}

// All are the workloads. Their names stand in the operations they record.
var All = []Spec{
	{"register", "set, versioned set, delete and linearizable get of a few keys", newRegister, false},
	{"counter", "increments on condition of the version, through the Go client", newCounter, false},
	{"once", "sets, versioned sets, deletes and atomic writes with an idempotency key, sent again at other nodes", newOnce, false},
	{"adds", "keys that are each written once", newAdds, false},
	{"session", "stale reads with the token of the last answer, from node to node", newSession, false},
	{"ttl", "keys with a TTL, renewed, and watched until they end, also through the Go client", newTTL, false},
	{"stream", "subscribers that resume at other nodes, and streams that begin anywhere in the history", newStream, false},
	{"atomic", "atomic writes of several keys with conditions, lists by prefix, gets", newAtomic, false},
	{"pages", "lists page by page while keys come and go", newPages, false},
	{"lock", "a lock with a TTL, whose holders write with its version as a fencing token", newLock, false},
	{"agent", "Agent State: put, get, delete, list and stream of two subjects", newAgent, false},
	{"isolation", "API keys of two projects, of prefixes and scopes, made and revoked", newIsolation, true},
	{"backup", "backups, restored into another cluster", newBackup, false},
}

// Env is what a workload works with.
type Env struct {
	Name   string
	Nodes  []*wire.Node
	Record *history.Recorder
	Seed   uint64
	Slack  int // how many times longer than is promised things may take
	// Space is added to the name of every workflow, so that what one run of the
	// workloads does is apart from what another on the same cluster does.
	Space string
	// Spare starts a cluster of one node, apart from the one that is tested, and
	// stops it. Nil: there is none.
	Spare func(context.Context) (node *wire.Node, stop func(), err error)
}

// in returns the name that a workflow has in the environment's space.
func (e Env) in(workflow string) string { return workflow + e.Space }

// actor is one client that does one operation at a time.
type actor struct {
	env Env
	id  int
	rng *rand.Rand

	key apiKey // zero: the root token
}

// apiKey is one that an actor uses.
type apiKey struct{ project, id, token string }

// actors runs clients until ctx ends, and waits for the last operation of each.
func (e Env) actors(ctx context.Context, n int, do func(context.Context, *actor)) {
	var wg sync.WaitGroup
	for i := range n {
		a := &actor{env: e, id: e.Record.NewClient(), rng: e.rng(fmt.Sprint(i))}
		wg.Go(func() {
			for ctx.Err() == nil {
				do(ctx, a)
				a.rest(ctx, 10*time.Millisecond, 40*time.Millisecond)
			}
		})
	}
	wg.Wait()
}

// rng returns a source of chance that the seed and the name determine.
func (e Env) rng(name string) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(e.Name + "/" + name))
	return rand.New(rand.NewPCG(e.Seed, h.Sum64()))
}

// clients returns a Go client for each node, which asks that one first.
func (e Env) clients() []*wire.Client {
	var all []*wire.Client
	for i := range e.Nodes {
		var urls []string
		for j := range e.Nodes {
			urls = append(urls, e.Nodes[(i+j)%len(e.Nodes)].URL())
		}
		c, err := wire.NewClient(urls, e.Nodes[0].Token())
		if err != nil {
			panic(err) // the URLs are those of nodes that run
		}
		all = append(all, c)
	}
	return all
}

// node returns any node.
func (a *actor) node() *wire.Node { return a.env.Nodes[a.rng.IntN(len(a.env.Nodes))] }

// rest waits for a time between two bounds, or until ctx ends.
func (a *actor) rest(ctx context.Context, least, most time.Duration) {
	sleep(ctx, least+time.Duration(a.rng.Int64N(int64(most-least))))
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// do makes a request and records it. The workflow is one of the environment's
// space.
func (a *actor) do(ctx context.Context, s wire.Store, r wire.Request) history.Op {
	r.Workflow = a.env.in(r.Workflow)
	return a.send(ctx, s, r)
}

// readLimit is how long a node that nobody hurts may take to answer a read.
const readLimit = 10 * time.Second

// readEverywhere makes a read at every node, each until it is answered, and
// records it. An error is a node that does not answer.
func (a *actor) readEverywhere(ctx context.Context, r wire.Request) error {
	for _, n := range a.env.Nodes {
		if ctx.Err() != nil {
			return fmt.Errorf("there was no time to read %s at %s", r.Workflow, n.Name())
		}
		store := wire.Insistent{Store: n, Limit: readLimit * time.Duration(a.env.Slack)}
		if op := a.do(ctx, store, r); op.Outcome != history.OK {
			return fmt.Errorf("%s cannot be read at %s within %v: %s", r.Workflow, n.Name(), store.Limit, op.Error)
		}
	}
	return nil
}

// send makes a request and records it. The end of ctx does not cut it short: an
// operation that is under way comes to its own end.
func (a *actor) send(ctx context.Context, s wire.Store, r wire.Request) history.Op {
	op := history.Op{
		Workload: a.env.Name, Client: a.id, Node: s.Name(), Kind: r.Kind, Workflow: r.Workflow, Key: r.Key,
		Project: a.key.project, Token: a.key.id, Agent: r.Agent, If: r.If, Current: r.Current, Query: r.Query,
		Value: r.Value, Expected: r.Expected, TTL: r.TTL, Idempotency: r.Idempotency, Stale: r.Stale, MinRevision: r.MinRevision,
		Call: a.env.Record.Now(),
	}
	r.Token = a.key.token
	answer := s.Do(context.WithoutCancel(ctx), r)
	op.Return = a.env.Record.Now()
	op.Outcome, op.Error, op.Found, op.Conflict = answer.Outcome, answer.Error, answer.Found, answer.Conflict
	op.Version, op.Revision = answer.Version, answer.Revision
	if r.Kind == history.Get {
		op.Value = answer.Value
	}
	if op.Steps = answer.Steps; op.Steps == nil {
		op.Steps = r.Steps
	}
	op.Failed, op.Present, op.Entries, op.Next = answer.Failed, answer.Present, answer.Entries, answer.Next
	a.env.Record.Op(op)
	return op
}
