// Package stream delivers the changes of a node's state to subscribers, as
// server-sent events. It knows connections and the state's history, but not
// routes, headers or what the data of an event looks like.
//
// A subscriber is a cursor into the history and a connection. While it is
// level with the state it sits in a shard, whose goroutine writes to it without
// waiting: it has no queue and, on plain TCP, no goroutine of its own. When its
// connection is full it leaves the shard, and a goroutine of its own sends it
// what it lacks, from the history, until it is level again. A subscriber that
// the history no longer reaches is told the present keys instead.
package stream

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stateraft/stateraft/fsm"
)

var (
	// ErrFull refuses a stream because there are as many as there may be.
	ErrFull = errors.New("too many streams are open on this node")

	// ErrEnded refuses a stream, or ends it, because the node's streams have
	// been ended.
	ErrEnded = errors.New("the node is draining and serves no streams")
)

const (
	// DefaultKeepAlive is how often a subscriber hears from its stream.
	DefaultKeepAlive = 15 * time.Second

	// DefaultStall is how long a subscriber may read nothing of what is sent
	// to it before its stream ends.
	DefaultStall = 30 * time.Second

	// maxShards bounds the goroutines that write to subscribers.
	maxShards = 8

	// maxSnapshots is how many sequences of snapshot events of more than one
	// key are sent at once: each holds a list of all the keys it tells.
	maxSnapshots = 4
)

// Source is what a hub needs of a node.
type Source interface {
	State() *fsm.State

	// WaitChange returns once the local state holds a change after revision,
	// or ctx's cause.
	WaitChange(ctx context.Context, revision uint64) error
}

// Config configures a Hub. Source and the two encodings are required; what
// these return must be one line of JSON, in pieces that nobody modifies.
type Config struct {
	Source     Source
	Change     func(*fsm.Change) [][]byte // the data of a change's event
	Entry      func(*fsm.Entry) [][]byte  // the data of a present key's event
	MaxStreams int
	KeepAlive  time.Duration           // 0: DefaultKeepAlive
	Stall      time.Duration           // 0: DefaultStall
	Delivered  func(lag time.Duration) // called for each batch of each shard that wrote; may be nil
}

// Hub delivers changes to subscriptions. It runs goroutines from the first
// Subscribe to Close.
type Hub struct {
	cfg       Config
	ctx       context.Context
	cancel    context.CancelCauseFunc
	started   sync.Once
	wg        sync.WaitGroup
	shards    []*shard
	snapshots chan struct{} // holds one token for each being sent
	waiting   atomic.Int64  // for room in snapshots

	leases leases

	events, resyncs atomic.Uint64
	behind          atomic.Int64

	mu       sync.Mutex // guards the fields below; taken after a shard's, but for start
	subs     map[*Subscription]struct{}
	next     int // shard of the next subscription
	ended    bool
	watching bool // for the ends of leases
}

// New returns a Hub without subscriptions.
func New(c Config) *Hub {
	c.KeepAlive = cmp.Or(c.KeepAlive, DefaultKeepAlive)
	c.Stall = cmp.Or(c.Stall, DefaultStall)
	if c.Delivered == nil {
		c.Delivered = func(time.Duration) {}
	}
	h := &Hub{cfg: c, snapshots: make(chan struct{}, maxSnapshots), subs: map[*Subscription]struct{}{}}
	h.ctx, h.cancel = context.WithCancelCause(context.Background())
	for range min(runtime.GOMAXPROCS(0), maxShards) {
		h.shards = append(h.shards, newShard(h))
	}
	return h
}

// start begins to deliver what changes from now on. It takes the shards' locks
// with h.mu held, against the order: nobody waits for h.mu with one of theirs
// before there are subscriptions.
func (h *Hub) start() {
	from := h.cfg.Source.State().Point().Revision
	for _, sh := range h.shards {
		sh.mu.Lock()
		sh.cursor = from
		sh.mu.Unlock()
		h.wg.Go(sh.run)
	}
	h.wg.Go(func() { h.pump(from) })
}

// Stats are figures of a hub; those that only grow began with it.
type Stats struct {
	Streams  int    // open
	Behind   int    // of those, being sent what they lack by a goroutine of their own
	Revision uint64 // up to which all others have what they want
	Events   uint64 // delivered, a change to a subscriber each
	Resyncs  uint64 // times that the history did not reach a subscriber
}

// Stats returns the present figures.
func (h *Hub) Stats() Stats {
	stats := Stats{
		Behind: int(h.behind.Load()), Revision: h.delivered(),
		Events: h.events.Load(), Resyncs: h.resyncs.Load(),
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	stats.Streams = len(h.subs)
	return stats
}

// delivered returns the cursor of the shard that is the furthest behind.
func (h *Hub) delivered() uint64 {
	revision := uint64(math.MaxUint64)
	for _, sh := range h.shards {
		sh.mu.Lock()
		revision = min(revision, sh.cursor)
		sh.mu.Unlock()
	}
	return revision
}

// Subscribe reserves a stream. Exactly one of the subscription's methods
// Attach, Serve and Abandon must be called.
func (h *Hub) Subscribe(t Topic, from Start) (*Subscription, error) {
	s, err := h.reserve(t, from)
	if err != nil {
		return nil, err
	}
	if err := h.hold(s); err != nil {
		h.forget(s)
		return nil, err
	}
	return s, nil
}

func (h *Hub) reserve(t Topic, from Start) (*Subscription, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended {
		return nil, ErrEnded
	}
	if len(h.subs) >= h.cfg.MaxStreams {
		return nil, ErrFull
	}
	h.started.Do(h.start)
	h.next = (h.next + 1) % len(h.shards)
	s := &Subscription{
		shard: h.shards[h.next], group: &group{topic: t.clone()},
		cursor: from.After, told: from.After, whole: from.whole(h.cfg.Source.State()),
		lease: from.While,
	}
	h.subs[s] = struct{}{}
	return s, nil
}

// forget lets go of a subscription whose stream is over.
func (h *Hub) forget(s *Subscription) {
	h.leases.remove(s)
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.subs, s)
}

// End ends all streams and refuses new ones, so that their clients go on at
// another node. It may be called again.
func (h *Hub) End() {
	h.mu.Lock()
	h.ended = true
	h.mu.Unlock()
	h.EndPresent()
}

// EndPresent ends the streams that there are. New ones may come.
func (h *Hub) EndPresent() {
	h.mu.Lock()
	subs := slices.Collect(maps.Keys(h.subs))
	h.mu.Unlock()
	h.endAll(subs)
}

// Close ends all streams and waits for the hub's goroutines. Serve may still
// be about to return. It may be called again.
func (h *Hub) Close() {
	h.End()
	h.mu.Lock()
	h.cancel(ErrEnded) // no goroutine begins after this
	h.mu.Unlock()
	h.wg.Wait()
}
