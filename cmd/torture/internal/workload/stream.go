package workload

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
	"github.com/stateraft/stateraft/cmd/torture/internal/wire"
)

const (
	streamWorkflows = 2
	streamKeys      = 4
	streamTTL       = 200 * time.Millisecond
	// streamBurst is how many keys are set at the same moment, so that changes
	// of one workflow take revisions that follow each other.
	streamBurst = 3
)

// oneKey is a workflow that has one key and is followed by that key, and by the
// beginning of its name: what it tells is what a stream of the workflow would.
var oneKey = wire.Feed{Workflow: "s key", Key: "k0"}

// stream is two writers, and for each of their workflows one subscriber that is
// the Go client, one for each node that reads raw bytes and moves on, and many
// that begin anywhere in the history, at its end, and beyond; besides, subscribers
// of one key.
type stream struct {
	env    Env
	follow *followers
	starts *starts
}

func newStream(e Env) Workload {
	follow := newFollowers(e)
	return &stream{env: e, follow: follow, starts: &starts{env: e, follow: follow}}
}

func streamName(i int) string { return fmt.Sprint("s", i) }

func (w *stream) Run(ctx context.Context) {
	clients := w.env.clients()
	for i := range streamWorkflows {
		feed := wire.Feed{Workflow: streamName(i)}
		w.follow.client(clients[i%len(clients)], feed)
		w.follow.readers(len(w.env.Nodes), feed)
	}
	w.follow.readers(1, oneKey)
	w.follow.client(clients[0], oneKey)
	w.follow.readers(1, wire.Feed{Workflow: oneKey.Workflow, Prefix: oneKey.Key[:1]})
	var wg sync.WaitGroup
	wg.Go(func() { w.starts.run(ctx) })
	w.env.actors(ctx, 2*streamWorkflows, w.one)
	wg.Wait()
}

// one changes a key, or sets several keys of a workflow at the same moment.
func (w *stream) one(ctx context.Context, a *actor) {
	node, workflow := a.node(), streamName(a.rng.IntN(streamWorkflows))
	if a.rng.IntN(6) == 0 {
		workflow = oneKey.Workflow
	}
	changes := []wire.Request{w.change(a, workflow)}
	if a.rng.IntN(4) == 0 {
		for range streamBurst - 1 {
			changes = append(changes, w.change(a, workflow))
		}
	}
	var wg sync.WaitGroup
	for _, r := range changes {
		wg.Go(func() {
			w.starts.saw(a.do(ctx, node, r))
		})
	}
	wg.Wait()
}

// change draws a change of a key: mostly it is set, sometimes for a short time,
// sometimes it is deleted.
func (w *stream) change(a *actor, workflow string) wire.Request {
	r := wire.Request{Kind: history.Set, Workflow: workflow, Key: fmt.Sprint("k", a.rng.IntN(streamKeys))}
	if workflow == oneKey.Workflow {
		r.Key = oneKey.Key
	}
	switch a.rng.IntN(8) {
	case 0:
		r.Kind = history.Delete
		return r
	case 1:
		r.TTL = streamTTL
	}
	r.Value = fmt.Sprintf(`"%d-%x"`, a.id, a.rng.Uint64())
	return r
}

// Finish writes the end of each workflow, when all keys with a TTL are gone.
func (w *stream) Finish(ctx context.Context) error {
	sleep(ctx, 5*streamTTL*time.Duration(max(w.env.Slack, 1)))
	w.starts.again()
	return w.follow.finish(ctx)
}
