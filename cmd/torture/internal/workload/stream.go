package workload

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
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
	// startPause is about how long passes until another stream begins somewhere
	// in the history.
	startPause = 150 * time.Millisecond
	// startSpread is how far from the oldest change such a stream may begin: others
	// move it meanwhile.
	startSpread = 100
	// startStay bounds how long such a stream is read, startEvents how much.
	startStay   = 400 * time.Millisecond
	startEvents = 30
	// silentStarts is how many of those that told nothing are begun again in the
	// end, and must tell all from there.
	silentStarts = 10
)

// oneKey is a workflow that has one key and is followed by that key, and by the
// beginning of its name: what it tells is what a stream of the workflow would.
var oneKey = wire.Feed{Workflow: "s key", Key: "k0"}

// stream is two writers, and for each of their workflows one subscriber that is
// the Go client, one for each node that reads raw bytes and moves on, and many
// that begin anywhere in the history, at its end, and beyond; besides, subscribers
// of one key.
type stream struct {
	env      Env
	follow   *followers
	revision atomic.Uint64 // of the last answer
	silent   []start       // streams that told nothing; Finish reads it when nobody writes any more
}

// start is where a stream began.
type start struct {
	node *wire.Node
	feed wire.Feed
	from uint64
}

func newStream(e Env) Workload { return &stream{env: e, follow: newFollowers(e)} }

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
	wg.Go(func() { w.begin(ctx) })
	w.env.actors(ctx, 2*streamWorkflows, w.one)
	wg.Wait()
}

// begin opens streams, one after the other, until ctx ends.
func (w *stream) begin(ctx context.Context) {
	a := &actor{env: w.env, rng: w.env.rng("start")}
	for i := 0; ctx.Err() == nil; i++ {
		workflow := w.env.in(streamName(a.rng.IntN(streamWorkflows)))
		from := w.from(a)
		node, told := a.node(), 0
		ended := make(chan struct{})
		w.follow.add(fmt.Sprintf("start %d of %s", i, workflow), wire.Feed{Workflow: workflow}, from, func(ctx context.Context, take func(history.Event)) {
			defer close(ended)
			told = w.read(ctx, node, workflow, from, take)
		})
		<-ended
		if told == 0 && len(w.silent) < silentStarts && from <= w.revision.Load() {
			w.silent = append(w.silent, start{node, wire.Feed{Workflow: workflow}, from})
		}
		a.rest(ctx, 0, 2*startPause)
	}
}

// from draws where a stream begins: anywhere, at the oldest change that nodes
// must remember or a little before or behind it, at the newest, or in the future.
func (w *stream) from(a *actor) uint64 {
	newest := w.revision.Load()
	oldest := newest - min(newest, w.env.Record.Remembered())
	switch a.rng.IntN(6) {
	case 0:
		return oldest + a.rng.Uint64N(newest-oldest+1)
	case 1:
		return newest
	case 2:
		return newest + 1_000_000
	}
	return max(oldest+a.rng.Uint64N(2*startSpread), startSpread) - startSpread
}

// read reads some of a stream, and returns how many events it told.
func (w *stream) read(ctx context.Context, n *wire.Node, workflow string, cursor uint64, take func(history.Event)) (told int) {
	ctx, leave := context.WithTimeout(ctx, startStay)
	defer leave()
	w.env.listen(ctx, n, wire.Feed{Workflow: workflow}, &cursor, func(e history.Event) {
		take(e)
		if told++; told == startEvents {
			leave()
		}
	})
	return told
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
			if op := a.do(ctx, node, r); op.Revision > 0 {
				w.revision.Store(op.Revision)
			}
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
	for _, s := range w.silent {
		w.follow.staying(s.node, s.feed, s.from)
	}
	return w.follow.finish(ctx)
}
