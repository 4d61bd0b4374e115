package workload

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/stateraft/stateraft/client"
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
	// Bounds of a reader's stay at one node.
	longestStay = 3 * time.Second
	mostEvents  = 20
	// streamEnd is the key that is written last in each workflow.
	streamEnd = "end"
	// catchUp is how long after the faults a subscriber may take to the end.
	catchUp = 10 * time.Second
)

// stream is two writers, and for each of their workflows one subscriber that is
// the Go client and one for each node that reads raw bytes and moves on.
type stream struct {
	env    Env
	cancel context.CancelFunc // ends the subscribers
	wg     sync.WaitGroup     // for subscribers

	mu   sync.Mutex               // guards left
	left map[string]chan struct{} // by subscriber; closed when it has been told of the end
}

func newStream(e Env) Workload { return &stream{env: e, left: map[string]chan struct{}{}} }

func streamName(i int) string { return fmt.Sprint("s", i) }

func (w *stream) Run(ctx context.Context) {
	following, cancel := context.WithCancel(context.WithoutCancel(ctx))
	w.cancel = cancel
	clients := w.env.clients()
	for i := range streamWorkflows {
		workflow := streamName(i)
		w.subscriber("client of "+workflow, workflow, func(take func(history.Event)) {
			follow(following, clients[i%len(clients)], workflow, take)
		})
		for j := range w.env.Nodes {
			name := fmt.Sprintf("reader %d of %s", j+1, workflow)
			w.subscriber(name, workflow, func(take func(history.Event)) {
				w.hop(following, j, &actor{env: w.env, rng: w.env.rng(name)}, workflow, take)
			})
		}
	}
	w.env.actors(ctx, 2*streamWorkflows, w.one)
}

// subscriber records what one subscriber is told, until it is told of the end.
func (w *stream) subscriber(name, workflow string, read func(take func(history.Event))) {
	ended := make(chan struct{})
	var once sync.Once
	w.mu.Lock()
	w.left[name] = ended
	w.mu.Unlock()
	w.env.Record.Subscriber(name, workflow)
	w.wg.Go(func() {
		read(func(e history.Event) {
			e.Subscriber, e.Workflow, e.At = name, workflow, w.env.Record.Now()
			w.env.Record.Event(e)
			if e.Key == streamEnd {
				once.Do(func() { close(ended) })
			}
		})
	})
}

// follow reads a workflow's changes from the first through the Go client.
func follow(ctx context.Context, c *wire.Client, workflow string, take func(history.Event)) {
	sub, err := c.State().SubscribeWorkflow(ctx, workflow, client.FromRevision(0))
	if err != nil {
		return
	}
	defer sub.Close()
	for e, err := range sub.Events() {
		if err != nil {
			return
		}
		take(history.Event{Type: string(e.Type), Key: e.Key, Old: string(e.OldValue), New: string(e.NewValue), Version: e.Version, Revision: e.Revision})
	}
}

// hop reads a workflow's changes from the first, at one node after the other. It
// leaves each after a while or after some events, also where more have arrived.
func (w *stream) hop(ctx context.Context, at int, a *actor, workflow string, take func(history.Event)) {
	cursor := uint64(0)
	for ; ctx.Err() == nil; at++ {
		stay, leave := context.WithTimeout(ctx, time.Duration(a.rng.Int64N(int64(longestStay))))
		left := 1 + a.rng.IntN(mostEvents)
		w.env.Nodes[at%len(w.env.Nodes)].Follow(stay, workflow, &cursor, func(e history.Event) { // it ends in an error, always
			take(e)
			if left--; left == 0 {
				leave()
			}
		})
		leave()
		a.rest(ctx, 0, 100*time.Millisecond)
	}
}

// one changes a key, or sets several keys of a workflow at the same moment.
func (w *stream) one(ctx context.Context, a *actor) {
	node, workflow := a.node(), streamName(a.rng.IntN(streamWorkflows))
	changes := []wire.Request{w.change(a, workflow)}
	if a.rng.IntN(4) == 0 {
		for range streamBurst - 1 {
			changes = append(changes, w.change(a, workflow))
		}
	}
	var wg sync.WaitGroup
	for _, r := range changes {
		wg.Go(func() { a.do(ctx, node, r) })
	}
	wg.Wait()
}

// change draws a change of a key: mostly it is set, sometimes for a short time,
// sometimes it is deleted.
func (w *stream) change(a *actor, workflow string) wire.Request {
	r := wire.Request{Kind: history.Set, Workflow: workflow, Key: fmt.Sprint("k", a.rng.IntN(streamKeys))}
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

// Finish writes the end of each workflow, when all keys with a TTL are gone, and
// waits until all subscribers have been told of it.
func (w *stream) Finish(ctx context.Context) error {
	defer w.wg.Wait()
	defer w.cancel()
	sleep(ctx, 5*streamTTL)
	ctx, cancel := context.WithTimeout(ctx, catchUp)
	defer cancel()
	a := &actor{env: w.env, id: w.env.Record.NewClient()}
	for i := range streamWorkflows {
		r := wire.Request{Kind: history.Set, Workflow: streamName(i), Key: streamEnd, Value: fmt.Sprintf(`"end of %s"`, streamName(i))}
		if op := a.do(ctx, w.env.Nodes[0], r); op.Outcome != history.OK {
			return fmt.Errorf("the end of %s cannot be written: %s", streamName(i), op.Error)
		}
	}
	var errs []error
	for name, ended := range w.left {
		select {
		case <-ended:
		case <-ctx.Done():
			errs = append(errs, fmt.Errorf("%s has not caught up within %v", name, catchUp))
		}
	}
	return errors.Join(errs...)
}
