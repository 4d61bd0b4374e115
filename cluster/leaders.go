package cluster

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// leaders follows who leads, as far as this node knows.
type leaders struct {
	raft     consensus
	observer *raft.Observer
	events   chan raft.Observation
	done     chan struct{}

	mu  sync.Mutex
	now leader
	end context.CancelFunc // of now
}

// A leader is a leadership as this node sees it.
type leader struct {
	id   string // Raft id; empty: none is known
	addr string
	ctx  context.Context // ends when this node learns of another, or of none
}

// at is where the leader answers.
func (l leader) at() string { return at(l.id, l.addr) }

func newLeaders(r consensus) *leaders {
	l := &leaders{raft: r, events: make(chan raft.Observation, 8), done: make(chan struct{})}
	l.observer = raft.NewObserver(l.events, false, func(o *raft.Observation) bool {
		_, ok := o.Data.(raft.LeaderObservation)
		return ok
	})
	r.RegisterObserver(l.observer)
	l.refresh() // only after, or a leader heard of in between would stay unknown
	go l.run()
	return l
}

// run takes each event as a hint to look again: events may be dropped, and
// the last look comes after the last event.
func (l *leaders) run() {
	defer close(l.done)
	for range l.events {
		l.refresh()
	}
}

func (l *leaders) refresh() {
	addr, id := l.raft.LeaderWithID()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.now.ctx != nil && l.now.id == string(id) && l.now.addr == string(addr) {
		return
	}
	if l.end != nil {
		l.end()
	}
	l.now = leader{id: string(id), addr: string(addr)}
	l.now.ctx, l.end = context.WithCancel(context.Background())
}

// current returns the leader as this node knows it.
func (l *leaders) current() leader {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now
}

// wait returns a known leader, or ctx's cause.
func (l *leaders) wait(ctx context.Context) (leader, error) {
	for {
		now := l.current()
		if now.id != "" {
			return now, nil
		}
		select {
		case <-now.ctx.Done():
		case <-ctx.Done():
			return leader{}, context.Cause(ctx)
		}
	}
}

// pause waits for d, or until another leader is known or ctx ends.
func (l *leaders) pause(ctx context.Context, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	select {
	case <-l.current().ctx.Done():
	case <-ctx.Done():
	}
}

// close ends the watch. Raft must have been shut down, so that no event comes.
func (l *leaders) close() {
	l.raft.DeregisterObserver(l.observer)
	close(l.events)
	<-l.done
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end()
}
