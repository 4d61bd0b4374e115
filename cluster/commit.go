package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/proto"

	"github.com/stateraft/stateraft/fsm"
	"github.com/stateraft/stateraft/fsm/fsmpb"
)

// Limits of one log entry. A larger batch travels alone.
const (
	maxEntryBytes    = 1 << 20
	maxEntriesAtOnce = 1    // entries of ours in Raft's hands: with more, entries get smaller and cost more than they hide
	maxCommitWaiting = 1024 // proposals that wait for an entry
)

// errNotLeader: this node does not lead; nothing was proposed.
var errNotLeader = errors.New("not the leader")

// A committer puts entries into Raft's log while this node leads. It is the
// only place that proposes entries. Batches that wait while earlier
// entries are in flight leave together as one entry.
type committer struct {
	raft  consensus
	clock *clusterClock
	stats *metrics
	down  chan struct{} // closed when Raft has shut down

	mu       sync.Mutex
	leading  bool        // proposals are accepted
	held     bool        // and wait: the term has not begun, or is being handed over
	waiting  []*proposal // oldest first
	inFlight int         // entries given to Raft
	seen     commitFigures
	changed  signal // after each entry
}

// A proposal is one thing to put into the log, alone or with others.
type proposal struct {
	entry *fsmpb.Entry // of one batch, or of something that travels alone
	size  int
	done  chan proposed // receives once
}

type proposed struct {
	outcome
	batch int   // position of the batch in the entry
	err   error // errNotLeader or ErrOutcomeUnknown (wrapped)
}

func newCommitter(r consensus, c *clusterClock, m *metrics) *committer {
	return &committer{raft: r, clock: c, stats: m, down: make(chan struct{}), changed: make(signal, 1)}
}

// commit proposes e, an entry without a stamp, and returns what it did once it
// is applied here. Errors: errNotLeader and ErrOverloaded, the entry is not in
// the log and will not be; ErrOutcomeUnknown, wrapped: nobody knows.
func (c *committer) commit(ctx context.Context, e *fsmpb.Entry) (proposed, error) {
	p := &proposal{entry: e, size: proto.Size(e), done: make(chan proposed, 1)}
	if err := c.enqueue(p); err != nil {
		return proposed{}, err
	}
	select {
	case res := <-p.done:
		return res, res.err
	case <-ctx.Done():
		if c.withdraw(p) {
			return proposed{}, errNotLeader
		}
		return proposed{}, fmt.Errorf("%w: %w", ErrOutcomeUnknown, context.Cause(ctx))
	}
}

// withdraw takes back a proposal that still waits, so that those whose callers
// have gone do not pile up behind a leadership that commits nothing.
func (c *committer) withdraw(p *proposal) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.Index(c.waiting, p)
	if i >= 0 {
		c.waiting = slices.Delete(c.waiting, i, i+1)
	}
	return i >= 0
}

func (c *committer) enqueue(p *proposal) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.leading {
		return errNotLeader
	}
	if len(c.waiting) >= maxCommitWaiting {
		return ErrOverloaded
	}
	c.waiting = append(c.waiting, p)
	c.sendLocked()
	return nil
}

// first proposes the entry that begins a term, past those who wait.
func (c *committer) first(e *fsmpb.Entry) proposed {
	p := &proposal{entry: e, done: make(chan proposed, 1)}
	c.mu.Lock()
	c.inFlight++
	c.mu.Unlock()
	c.send([]*proposal{p})
	return <-p.done
}

// lead accepts proposals and holds them until resume; follow refuses those
// that wait and all that come.
func (c *committer) lead() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leading, c.held = true, true
}

func (c *committer) follow() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leading = false
	for _, p := range c.waiting {
		p.done <- proposed{err: errNotLeader}
	}
	c.waiting = nil
}

// hold keeps proposals back, for a hand-over, and returns when none is in
// Raft's hands. release ends it. Both act only in the term that they are for,
// which has begun and goes on while still says so: the next one holds proposals
// back for reasons of its own. It begins under the lock.
func (c *committer) hold(ctx context.Context, still func() bool) error {
	for {
		c.mu.Lock()
		goesOn, idle := still(), c.inFlight == 0
		if goesOn {
			c.held = true
		}
		c.mu.Unlock()
		switch {
		case !goesOn:
			return errNotLeader
		case idle:
			return nil
		}
		select {
		case <-c.changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (c *committer) release(still func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if still() {
		c.held = false
		c.sendLocked()
	}
}

// resume admits what lead has held back.
func (c *committer) resume() { c.release(func() bool { return true }) }

// queued returns how many proposals wait for an entry.
func (c *committer) queued() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.waiting)
}

// sendLocked gives Raft as many entries as may be in flight. c.mu is held.
func (c *committer) sendLocked() {
	for !c.held && c.inFlight < maxEntriesAtOnce && len(c.waiting) > 0 {
		n := c.fit()
		group := c.waiting[:n:n]
		if c.waiting = c.waiting[n:]; len(c.waiting) == 0 {
			c.waiting = nil
		}
		c.inFlight++
		go c.send(group)
	}
}

// fit returns how many of the waiting proposals go into the next entry: one
// that travels alone, or batches while they fit.
func (c *committer) fit() int {
	size := 0
	for i, p := range c.waiting {
		size += p.size
		if i > 0 && (size > maxEntryBytes || len(p.entry.Batches) == 0) {
			return i
		}
		if len(p.entry.Batches) == 0 {
			return 1
		}
	}
	return len(c.waiting)
}

// send gives Raft one entry made of group and tells everybody in it the
// outcome.
func (c *committer) send(group []*proposal) {
	e := merge(group)
	e.Stamp, _ = c.clock.now()
	res := c.apply(e)

	c.mu.Lock()
	c.inFlight--
	c.sendLocked()
	c.mu.Unlock()
	c.changed.signal()
	for i, p := range group {
		res.batch = i
		p.done <- res
	}
}

// await returns the future's error once Raft has one. Futures that wait for the
// state machine while Raft shuts down never get any, nor do some when the log
// fails: see logstore.ForRaft.
func (c *committer) await(f raft.Future) error {
	answered := make(chan error, 1)
	go func() { answered <- f.Error() }()
	select {
	case err := <-answered:
		return err
	case <-c.down:
		return raft.ErrRaftShutdown
	}
}

// merge returns one entry with everything in group.
func merge(group []*proposal) *fsmpb.Entry {
	if len(group) == 1 {
		return group[0].entry
	}
	e := new(fsmpb.Entry)
	for _, p := range group {
		e.Batches = append(e.Batches, p.entry.Batches...)
	}
	return e
}

// apply proposes e and waits until it is applied here.
func (c *committer) apply(e *fsmpb.Entry) proposed {
	data, err := fsm.Encode(e)
	if err != nil {
		return proposed{err: fmt.Errorf("%w: %w", errNotLeader, err)}
	}
	start := time.Now()
	f := c.raft.Apply(data, 0)
	err = c.await(f)
	c.note(err)
	switch {
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return proposed{err: errNotLeader}
	case err != nil: // leadership lost, shutdown, a store error: it may yet be committed
		return proposed{err: fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)}
	}
	res := f.Response().(outcome)
	if res.err != nil {
		return proposed{err: fmt.Errorf("%w: %w", ErrOutcomeUnknown, res.err)}
	}
	c.stats.committed(time.Since(start), len(data), e)
	return proposed{outcome: res}
}
