package cluster

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/stateraft/stateraft/cluster/clusterpb"
)

// A reader makes reads linearizable without writing to the log, in rounds.
// Reads that wait join the next round; none joins a round that has begun,
// because the index that it brings may be older than the read.
//
// A round asks the leader for an index that covers every write acknowledged
// before the question (see [Node.readIndex]); each of its reads then waits
// until this node has applied that index.
type reader struct {
	ask     func(context.Context) (uint64, error) // one round's question
	pause   func(context.Context, time.Duration)  // ends early when another leader is known
	applied *watermark
	ctx     context.Context

	mu      sync.Mutex
	next    *round // not begun; nil: nobody waits
	running bool
}

type round struct {
	known chan struct{} // closed when index or err is set
	index uint64
	err   error
}

func newReader(ctx context.Context, ask func(context.Context) (uint64, error), pause func(context.Context, time.Duration), applied *watermark) *reader {
	return &reader{ask: ask, pause: pause, applied: applied, ctx: ctx}
}

// read returns nil once this node has applied everything acknowledged before
// the call.
func (r *reader) read(ctx context.Context) error {
	for {
		index, err := r.join().wait(ctx)
		if err == nil && r.applied.wait(ctx, index) == nil {
			return nil
		}
		if ctx.Err() != nil || r.ctx.Err() != nil {
			return ErrNoLeader
		}
	}
}

func (r *round) wait(ctx context.Context) (uint64, error) {
	select {
	case <-r.known:
		return r.index, r.err
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

// join returns the round that has not begun, and sees that it will.
func (r *reader) join() *round {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.next == nil {
		r.next = &round{known: make(chan struct{})}
	}
	if !r.running {
		r.running = true
		go r.run()
	}
	return r.next
}

// run does rounds, one after the other, while somebody waits. It pauses after
// one that failed, so that its reads do not come back at once.
func (r *reader) run() {
	for pause := firstPause; ; {
		r.mu.Lock()
		now := r.next
		r.next = nil
		if now == nil {
			r.running = false
			r.mu.Unlock()
			return
		}
		r.mu.Unlock()
		if now.index, now.err = r.ask(r.ctx); now.err != nil {
			r.pause(r.ctx, pause)
			pause = min(2*pause, maxPause)
		} else {
			pause = firstPause
		}
		close(now.known)
	}
}

// roundTimeout bounds one round; its reads then join another.
const roundTimeout = 2 * time.Second

var errNotConfirmed = errors.New("the leader could not confirm that it still leads")

// readIndex asks the leader, which may be this node, for an index that covers
// every write acknowledged before the call.
//
// The proof rests on terms alone, not on clocks. This node reads its own term
// after the round closed, that is after all its reads arrived. The leader
// notes its commit index, which must have reached its first entry of this
// term, then reads its own term; if both terms are the same, and with more
// than three voters those of enough others too, a majority was in that term
// after the round closed. A leader of a later term would have needed the votes
// of a majority, each of which raises its term before it votes; so none had
// been elected, and nothing it could acknowledge is missing from the index.
func (n *Node) readIndex(ctx context.Context) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	to, err := n.leaders.wait(ctx)
	if err != nil {
		return 0, err
	}
	defer context.AfterFunc(to.ctx, cancel)()
	q := &clusterpb.ReadIndex{Term: n.raft.CurrentTerm(), NodeId: n.id.nodeID()}
	if to.id == q.NodeId {
		return n.confirmIndex(ctx, q)
	}
	resp, err := n.call(ctx, to.at(), &clusterpb.Request{ReadIndex: q})
	if err != nil {
		return 0, err
	}
	return resp.Index, errorOf(resp)
}

// confirmIndex answers q as the leader.
func (n *Node) confirmIndex(ctx context.Context, q *clusterpb.ReadIndex) (uint64, error) {
	t := n.term.Load()
	if t == nil {
		return 0, errNotLeader
	}
	index, voters := n.raft.CommitIndex(), n.voters() // before the term is looked at
	if index < t.first || n.raft.CurrentTerm() != t.number || q.Term != t.number {
		return 0, errNotLeader
	}
	shown := func(id string) bool { return id == n.id.nodeID() || id == q.NodeId }
	missing := len(voters)/2 + 1
	others := slices.DeleteFunc(voters, func(s raft.Server) bool {
		if shown(string(s.ID)) {
			missing--
			return true
		}
		return false
	})
	if missing > 0 && !n.showTerm(ctx, others, t.number, missing) {
		return 0, errNotConfirmed
	}
	return index, nil
}

// hedge is how long a voter may take to tell its term before one more is
// asked.
const hedge = 5 * time.Millisecond

// showTerm reports whether at least need of the voters are in this term. It
// asks as few as it can: one more for each that fails or takes long.
func (n *Node) showTerm(ctx context.Context, voters []raft.Server, term uint64, need int) bool {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan bool, len(voters))
	asked, failed := 0, 0
	askOne := func() {
		if asked == len(voters) {
			return
		}
		voter := voters[asked]
		asked++
		go func() {
			resp, err := n.call(ctx, n.gossip.locate(voter.ID, voter.Address), &clusterpb.Request{Term: &clusterpb.Term{}})
			results <- err == nil && resp.Code == clusterpb.Response_OK && resp.Term == term
		}()
	}
	for range need {
		askOne()
	}
	timer := time.NewTicker(hedge)
	defer timer.Stop()
	for need > 0 {
		select {
		case ok := <-results:
			if ok {
				need--
				continue
			}
			if failed++; len(voters)-failed < need {
				return false
			}
			askOne()
		case <-timer.C:
			askOne()
		case <-ctx.Done():
			return false
		}
	}
	return true
}
