package cluster

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/stateraft/stateraft/fsm/fsmpb"
)

// A leadTerm is a term that this node leads, once its first entry is applied.
type leadTerm struct {
	number  uint64
	first   uint64 // index of its first entry of ours
	applied signal // after every batch of entries
}

// A signal wakes one goroutine; signals that come together are one.
type signal chan struct{}

func (s signal) signal() {
	select {
	case s <- struct{}{}:
	default:
	}
}

// leadership drains Raft's notifications, which block Raft while unread, and
// keeps the newest and their number.
type leadership struct {
	notify  chan bool
	changed signal

	mu      sync.Mutex
	leading bool
	turns   int
}

func newLeadership() *leadership {
	return &leadership{notify: make(chan bool, 16), changed: make(signal, 1)}
}

func (l *leadership) drain(ctx context.Context) {
	for {
		select {
		case leading := <-l.notify:
			l.mu.Lock()
			l.leading, l.turns = leading, l.turns+1
			l.mu.Unlock()
			l.changed.signal()
		case <-ctx.Done():
			return
		}
	}
}

func (l *leadership) get() (leading bool, turns int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.leading, l.turns
}

// runLeadership leads whenever Raft says so. Everything that a leader does
// lives in lead, under a context that ends with the leadership.
func (n *Node) runLeadership(ctx context.Context) {
	var wg sync.WaitGroup
	end, turn := func() {}, 0
	for {
		if leading, turns := n.leadership.get(); turns != turn {
			turn = turns
			end()
			wg.Wait()
			if leading {
				var term context.Context
				term, end = context.WithCancel(ctx)
				wg.Go(func() { n.lead(term) })
			}
		}
		select {
		case <-n.leadership.changed:
		case <-ctx.Done():
			end()
			wg.Wait()
			return
		}
	}
}

// lead is one leadership of this node: it agrees on the time, puts its first
// entry into the log, and then admits writes, confirms reads, ends what is due
// and looks after the members, until ctx ends.
func (n *Node) lead(ctx context.Context) {
	n.committer.lead()
	defer n.committer.follow()
	var duties sync.WaitGroup
	defer duties.Wait()
	duties.Go(func() { n.watchWrites(ctx) })
	term := n.raft.CurrentTerm()
	if n.raft.State() != raft.Leader || n.raft.CurrentTerm() != term {
		return // and it was another term
	}
	duties.Go(func() { n.watchFollowers(ctx, term) }) // who may keep even the first entry from being committed
	n.observeLog()
	_, asked := n.clock.restsOn()
	base, err := n.agreeOnTime(ctx)
	if err != nil {
		return
	}
	n.clock.lead(base, asked, term)
	defer n.clock.follow()
	t := n.beginTerm(ctx)
	if t == nil {
		return
	}
	n.committer.resume() // before anybody can have it held for a hand-over of this term
	n.term.Store(t)
	defer n.term.Store(nil)
	n.cfg.Logger.Info("leading", "term", t.number)
	defer n.cfg.Logger.Info("no longer leading", "term", t.number)

	duties.Go(func() { n.driveExpiry(ctx, t) })
	duties.Go(func() { n.correctOffset(ctx) })
	duties.Go(func() { n.reconcile(ctx) })
	duties.Go(func() { n.watchDisks(ctx) })
	duties.Go(func() { n.watchStaging(ctx) })
	duties.Go(func() { n.handOverIfDraining(ctx) })
	<-ctx.Done()
	duties.Wait() // before the term's clock ends
}

// beginTerm puts the first entry of the term into the log; nil if ctx ends
// before it is applied. Its term is taken from the entry itself: by the time
// Raft is asked, it may be in another.
func (n *Node) beginTerm(ctx context.Context) *leadTerm {
	for ctx.Err() == nil {
		res := n.committer.first(&fsmpb.Entry{LeaderStart: n.leaderStart()})
		if res.err == nil {
			return &leadTerm{number: res.term, first: res.index, applied: make(signal, 1)}
		}
		sleep(ctx, firstPause)
	}
	return nil
}

func (n *Node) leaderStart() *fsmpb.LeaderStart {
	return &fsmpb.LeaderStart{
		WallOffset: n.clock.wallOffset().Microseconds(),
		Settings:   n.settings(),
	}
}

// wallTolerance is how far the instants shown to users may be from the
// leader's wall clock before the offset is corrected.
const wallTolerance = 500 * time.Millisecond

// correctOffset keeps shown instants close to the leader's wall clock.
func (n *Node) correctOffset(ctx context.Context) {
	for {
		sleep(ctx, time.Second)
		if ctx.Err() != nil {
			return
		}
		if d := n.clock.wallOffset() - n.state.WallOffset(); d.Abs() >= wallTolerance {
			n.cfg.Logger.Warn("wall clock moved against cluster time", "by", d)
			_, _ = n.committer.commit(ctx, &fsmpb.Entry{LeaderStart: n.leaderStart()}) // looked at again in a second
		}
	}
}
