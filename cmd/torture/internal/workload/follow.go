package workload

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/stateraft/stateraft/client"
	"github.com/stateraft/stateraft/cmd/torture/internal/history"
	"github.com/stateraft/stateraft/cmd/torture/internal/wire"
)

const (
	// Bounds of a reader's stay at one node.
	longestStay = 3 * time.Second
	mostEvents  = 20
	// theEnd is the key that is written last in each workflow that is followed, but
	// where one key alone is.
	theEnd = "end"
	// catchUp is how long a subscriber may take to the end once that is written.
	catchUp = 10 * time.Second
	// againPause is how long after the end of a stream the same node is asked for
	// another.
	againPause = 50 * time.Millisecond
)

// followers are subscribers that go on beside a workload until it has finished.
type followers struct {
	env  Env
	ctx  context.Context
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu    sync.Mutex // guards the fields below
	left  map[string]chan struct{}
	feeds []wire.Feed // the first of each workflow, to which its end is told
}

func newFollowers(env Env) *followers {
	ctx, stop := context.WithCancel(context.Background())
	return &followers{env: env, ctx: ctx, stop: stop, left: map[string]chan struct{}{}}
}

// reading hands over what a stream tells.
type reading func(ctx context.Context, take func(history.Event))

// add records what one subscriber is told, who may stop anywhere.
func (f *followers) add(name string, feed wire.Feed, from uint64, read reading) {
	f.record(name, history.Subscriber{Workflow: feed.Workflow, Agent: feed.Agent, From: from}, read)
}

// toTheEnd records what one subscriber is told, who follows a feed to its end.
func (f *followers) toTheEnd(name string, feed wire.Feed, from uint64, read reading) {
	ended := make(chan struct{})
	f.mu.Lock()
	f.left[f.env.in(name)] = ended
	if !slices.ContainsFunc(f.feeds, func(o wire.Feed) bool { return o.Workflow == feed.Workflow }) {
		feed.Opened = nil
		f.feeds = append(f.feeds, feed)
	}
	f.mu.Unlock()
	end := sync.OnceFunc(func() { close(ended) })
	s := history.Subscriber{Workflow: feed.Workflow, Agent: feed.Agent, From: from, Follows: true}
	f.record(name, s, func(ctx context.Context, take func(history.Event)) {
		read(ctx, func(e history.Event) {
			take(e)
			if e.New == endOf(feed) {
				end()
			}
		})
	})
}

func (f *followers) record(name string, s history.Subscriber, read reading) {
	s.Workload = f.env.Name
	name = f.env.in(name)
	f.env.Record.Subscriber(name, s)
	f.wg.Go(func() {
		read(f.ctx, func(e history.Event) {
			e.Subscriber, e.Workflow, e.At = name, s.Workflow, f.env.Record.Now()
			f.env.Record.Event(e)
		})
	})
}

// endOf is the last value that a feed tells.
func endOf(feed wire.Feed) string { return fmt.Sprintf(`"end of %s"`, feed.Workflow) }

// client follows a workflow, or a key, through the Go client.
func (f *followers) client(c *wire.Client, feed wire.Feed) {
	feed.Workflow = f.env.in(feed.Workflow)
	f.toTheEnd("client of "+describe(feed), feed, 0, func(ctx context.Context, take func(history.Event)) {
		follow(ctx, c, feed, take)
	})
}

// readers follow a feed raw, each beginning at another node.
func (f *followers) readers(n int, feed wire.Feed) {
	feed.Workflow = f.env.in(feed.Workflow)
	for i := range n {
		name := fmt.Sprintf("reader %d of %s", i+1, describe(feed))
		f.toTheEnd(name, feed, 0, func(ctx context.Context, take func(history.Event)) {
			hop(ctx, i, &actor{env: f.env, rng: f.env.rng(name)}, feed, take)
		})
	}
}

func describe(feed wire.Feed) string {
	switch {
	case feed.Key != "":
		return feed.Workflow + "/" + feed.Key
	case feed.Prefix != "":
		return feed.Workflow + "/" + feed.Prefix + "…"
	}
	return feed.Workflow
}

// staying follows a feed from behind a revision at one node, however often its
// streams end.
func (f *followers) staying(n *wire.Node, feed wire.Feed, from uint64) {
	f.mu.Lock()
	name := fmt.Sprintf("stream %d, of %s at %s from revision %d,", len(f.left)+1, describe(feed), n.Name(), from)
	f.mu.Unlock()
	f.toTheEnd(name, feed, from, func(ctx context.Context, take func(history.Event)) {
		for cursor := from; ctx.Err() == nil; sleep(ctx, againPause) {
			f.env.listen(ctx, n, feed, &cursor, take)
		}
	})
}

// finish writes the end of each workflow, waits until all who follow one have been
// told of it, and stops them.
func (f *followers) finish(ctx context.Context) error {
	defer f.wg.Wait()
	defer f.stop()
	limit := catchUp * time.Duration(f.env.Slack)
	a := &actor{env: f.env, id: f.env.Record.NewClient()}
	for _, feed := range f.feeds {
		if err := f.end(ctx, a, feed, limit); err != nil {
			return err
		}
	}
	return f.wait(ctx, limit)
}

// end writes the end of a workflow. Every node is asked for two streams of it: one
// before, which is told of the end as it happens, and one from right before the
// end, which is told of what has happened.
func (f *followers) end(ctx context.Context, a *actor, feed wire.Feed, limit time.Duration) error {
	node := wire.Insistent{Store: f.env.Nodes[0], Limit: limit}
	r := wire.Request{Kind: history.Get, Agent: feed.Agent, Workflow: feed.Workflow, Key: cmp.Or(feed.Key, theEnd)}
	now := a.send(ctx, node, r)
	if now.Outcome != history.OK {
		return fmt.Errorf("%s cannot be read before its end is written: %s", feed.Workflow, now.Error)
	}
	f.live(ctx, feed, now.Revision, limit)
	r.Kind, r.Value, r.Idempotency = history.Set, endOf(feed), theEnd
	op := a.send(ctx, node, r)
	if op.Outcome != history.OK {
		return fmt.Errorf("the end of %s cannot be written: %s", feed.Workflow, op.Error)
	}
	for _, n := range f.env.Nodes {
		f.staying(n, feed, max(op.Revision, 1)-1)
	}
	return nil
}

// live follows a feed at every node from behind a revision that has been, and
// returns when all streams have begun. It waits no longer than the limit: who has
// not caught up in the end is told anyway.
func (f *followers) live(ctx context.Context, feed wire.Feed, from uint64, limit time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var begun []chan struct{}
	for _, n := range f.env.Nodes {
		opened := make(chan struct{})
		feed.Opened = sync.OnceFunc(func() { close(opened) })
		f.staying(n, feed, from)
		begun = append(begun, opened)
	}
	for _, opened := range begun {
		select {
		case <-opened:
		case <-ctx.Done():
		}
	}
}

// wait waits until all who follow have been told of the end.
func (f *followers) wait(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var errs []error
	for name, ended := range f.left {
		select {
		case <-ended:
			continue
		case <-ctx.Done():
		}
		select {
		case <-ended: // while another was waited for
		default:
			errs = append(errs, fmt.Errorf("%s has not caught up within %v", name, limit))
		}
	}
	return errors.Join(errs...)
}

// follow reads the changes of a workflow, or of a key, from the first through the
// Go client.
func follow(ctx context.Context, c *wire.Client, feed wire.Feed, take func(history.Event)) {
	var sub *client.Subscription
	var err error
	if feed.Key == "" {
		sub, err = c.State().SubscribeWorkflow(ctx, feed.Workflow, client.FromRevision(0))
	} else {
		sub, err = c.State().Subscribe(ctx, feed.Workflow, feed.Key, client.FromRevision(0))
	}
	if err != nil {
		return
	}
	defer sub.Close()
	for e, err := range sub.Events() {
		if err != nil {
			return
		}
		take(history.Event{
			Type: string(e.Type), Key: e.Key, Old: string(e.OldValue), New: string(e.NewValue), Version: e.Version, Revision: e.Revision,
			First: e.Tx.First, Last: e.Tx.Last, Scope: e.Workflow,
		})
	}
}

// listen reads a stream until it ends or ctx does, and records why a node gave
// none. That a connection broke says nothing.
func (e Env) listen(ctx context.Context, n *wire.Node, feed wire.Feed, cursor *uint64, take func(history.Event)) {
	op := history.Op{Workload: e.Name, Node: n.Name(), Kind: history.Open, Workflow: feed.Workflow, Agent: feed.Agent, Key: "all", Call: e.Record.Now()}
	var refused *wire.RefusedError
	if errors.As(n.Follow(ctx, feed, cursor, take), &refused) {
		op.Return, op.Outcome, op.Error = e.Record.Now(), history.Refused, refused.Why
		e.Record.Op(op)
	}
}

// hop reads changes from the first, at one node after the other. It leaves each
// after a while or after some events, also where more have arrived.
func hop(ctx context.Context, at int, a *actor, feed wire.Feed, take func(history.Event)) {
	cursor := uint64(0)
	for ; ctx.Err() == nil; at++ {
		stay, leave := context.WithTimeout(ctx, time.Duration(a.rng.Int64N(int64(longestStay))))
		left := 1 + a.rng.IntN(mostEvents)
		a.env.listen(stay, a.env.Nodes[at%len(a.env.Nodes)], feed, &cursor, func(e history.Event) {
			take(e)
			if e.Type == "resync" || e.Type == "snapshot" {
				return // whoever leaves before synced is told all of it again
			}
			if left--; left == 0 {
				leave()
			}
		})
		leave()
		a.rest(ctx, 0, 100*time.Millisecond)
	}
}
