package cluster

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/stateraft/stateraft/cluster/clusterpb"
	"github.com/stateraft/stateraft/cluster/logstore"
	"github.com/stateraft/stateraft/fsm"
	"github.com/stateraft/stateraft/fsm/fsmpb"
)

// A slowRaft takes so long to commit each entry.
type slowRaft struct {
	consensus
	takes time.Duration
	state *fsm.State

	mu    sync.Mutex
	index uint64
}

func (r *slowRaft) Apply(data []byte, _ time.Duration) raft.ApplyFuture {
	f := &simFuture{done: make(chan struct{})}
	go func() {
		defer close(f.done)
		time.Sleep(r.takes)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.index++
		res, err := r.state.Apply(r.index, data)
		f.response, f.err = outcome{Applied: res, index: r.index}, err
	}()
	return f
}

// newSlowLeader returns a leader over such a Raft, in a test of virtual time, and
// one that follows it. stop ends both.
func newSlowLeader(t *testing.T, store *logstore.Store, takes time.Duration) (leading, following *Node, stop func()) {
	state := fsm.New()
	raise, err := fsm.Encode(&fsmpb.Entry{RaiseVersion: &fsmpb.RaiseVersion{Version: fsm.RestoreVersion}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := state.Apply(1, raise); err != nil {
		t.Fatal(err)
	}
	metrics := newMetrics(prometheus.NewRegistry(), &Node{})
	ctx, cancel := context.WithCancelCause(context.Background())
	node := func(id string) *Node {
		n := &Node{
			id: &identity{record: identityRecord{NodeID: id}}, cfg: Config{Logger: discard}, ctx: ctx, state: state,
			store: store, metrics: metrics, gossip: &gossip{}, leaders: &leaders{now: leader{id: "n1", ctx: ctx}},
		}
		n.proposer = &proposer{
			deliver: n.deliver, open: n.openSession, pause: n.leaders.pause, full: func() bool { return false },
			stats: metrics, ctx: ctx, inFlight: map[uint64]*flight{},
		}
		return n
	}
	leading, following = node("n1"), node("n2")
	clock := newClock(time.Now, newMonotonic())
	leading.committer = newCommitter(&slowRaft{takes: takes, state: state, index: 1}, clock, metrics)
	leading.committer.leading = true
	following.call = func(ctx context.Context, _ string, req *clusterpb.Request) (*clusterpb.Response, error) {
		resp := answerOf(leading.commit(ctx, req.Propose))
		if ctx.Err() != nil {
			return nil, errBroken
		}
		return resp, nil
	}
	return leading, following, func() {
		cancel(ErrClosed)
		leading.proposer.close()
		following.proposer.close()
		synctest.Wait()
		time.Sleep(2 * takes) // for the last entry
	}
}

// Ensure who waits for an entry that takes longer to commit than an attempt may
// hears of it, whatever it is, and that it has happened once.
func TestSlowCommit(t *testing.T) {
	const patience = 15 * time.Second // a request's
	store := newSimulator(t).store    // has room
	for _, takes := range []time.Duration{time.Second, attemptTimeout + time.Second/2, patience/3 - time.Second/4} {
		for _, forwarded := range []bool{false, true} {
			t.Run(fmt.Sprint(takes, ", forwarded: ", forwarded), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					n, follower, stop := newSlowLeader(t, store, takes)
					defer stop()
					if forwarded {
						n = follower
					}
					ctx, cancel := context.WithTimeout(t.Context(), patience)
					defer cancel()
					session, err := n.openSession(ctx)
					if err != nil {
						t.Fatalf("a session: %v", err)
					}
					n.proposer.session = session

					ctx, cancel = context.WithTimeout(t.Context(), patience)
					defer cancel()
					a, err := n.proposer.propose(ctx, &fsmpb.Command{Namespace: "w", Ops: []*fsmpb.Op{{Kind: fsmpb.Op_SET, Key: "k", Value: []byte("1")}}})
					if err != nil {
						t.Fatalf("a write: %v", err)
					}
					if a.Revision != 1 || n.state.Point().Revision != 1 {
						t.Errorf("the write's revision is %d and the state's %d, want that it happened once", a.Revision, n.state.Point().Revision)
					}

					r := &restoring{node: n, submit: n.submit, how: Restore{Patience: patience}, id: []byte("this one restore")}
					if _, err := r.step(t.Context(), &fsmpb.Restore{Step: fsmpb.Restore_BEGIN, Force: true}); err != nil {
						t.Errorf("a restore's step: %v", err)
					}
				})
			})
		}
	}
}

// Ensure a leader that may hang is given up as soon as ever at first, that only an
// attempt that has used up its time makes the next one longer, and that none
// outlasts those who wait.
func TestAttemptTimeouts(t *testing.T) {
	const first = attemptTimeout
	for _, tt := range []struct {
		name     string
		patience time.Duration // 0: without end
		attempt  func(timeout time.Duration) error
		want     []time.Duration // of the first attempts
	}{
		{"it hangs", 20 * time.Second, func(timeout time.Duration) error { time.Sleep(timeout); return errBroken },
			[]time.Duration{first, 2 * first, 20*time.Second - 3*first}},
		{"it hangs, and somebody waits for ever", 0, func(timeout time.Duration) error { time.Sleep(timeout); return errBroken },
			[]time.Duration{first, 2 * first, 4 * first, 8 * first, 8 * first}},
		{"nobody waits as long as one attempt", time.Second, func(timeout time.Duration) error { time.Sleep(timeout); return errBroken },
			[]time.Duration{first}},
		{"it ends", 20 * time.Second, func(time.Duration) error { time.Sleep(first / 2); return errBroken },
			[]time.Duration{first, first, first}},
		{"it refuses, if late", 20 * time.Second, func(timeout time.Duration) error { time.Sleep(timeout); return errNotLeader },
			[]time.Duration{first, first, first}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newStuckProposer(t)
				attempts := make(chan time.Duration, 100)
				p.deliver = func(_ context.Context, _ *fsmpb.Batch, timeout time.Duration) (*fsmpb.BatchAnswer, error) {
					attempts <- timeout
					return nil, tt.attempt(timeout)
				}
				ctx, cancel := context.WithCancel(t.Context())
				if tt.patience > 0 {
					ctx, cancel = context.WithTimeout(t.Context(), tt.patience)
				}
				go func() {
					_, _ = p.propose(ctx, &fsmpb.Command{Namespace: "w", Ops: []*fsmpb.Op{{Kind: fsmpb.Op_DELETE, Key: "k"}}})
				}()
				for i, want := range tt.want {
					if got := <-attempts; got != want {
						t.Errorf("attempt %d has %v, want %v", i+1, got, want)
					}
				}
				cancel()
			})
		})
	}
}
