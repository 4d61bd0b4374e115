package cluster

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/stateraft/stateraft/cluster/clusterpb"
	"github.com/stateraft/stateraft/fsm"
)

// A configuration is a Raft that carries out every change of it at once.
type configuration struct {
	consensus
	t    *testing.T
	node *Node

	mu       sync.Mutex
	servers  []raft.Server
	together sync.WaitGroup // of those who read it at first: each waits for the others
	readers  int            // how many of these are still to come
}

// configured returns a leader, n1, of these servers.
func configured(t *testing.T, others ...raft.Server) (*Node, *configuration) {
	c := &configuration{t: t, servers: append([]raft.Server{{ID: "n1", Address: "h1:1"}}, others...)}
	n := &Node{
		id: &identity{record: identityRecord{NodeID: "n1"}}, cfg: Config{Logger: discard}, raft: c, state: fsm.New(),
		gossip: &gossip{alive: map[string]*clusterpb.GossipMeta{}}, committer: newCommitter(c, nil, nil), changing: make(chan struct{}, 1),
	}
	for _, s := range others {
		n.gossip.alive[string(s.ID)] = &clusterpb.GossipMeta{NodeId: string(s.ID), Name: string(s.ID), Raft: string(s.Address)}
	}
	n.term.Store(&leadTerm{})
	c.node = n
	return n, c
}

func (c *configuration) CommitIndex() uint64 { return 0 }

func (c *configuration) GetConfiguration() raft.ConfigurationFuture {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := &simFuture{done: simClosed, servers: raft.Configuration{Servers: slices.Clone(c.servers)}}
	if c.readers > 0 {
		c.readers--
		c.mu.Unlock()
		c.together.Done()
		c.together.Wait()
		c.mu.Lock()
	}
	return f
}

func (c *configuration) set(id raft.ServerID, s ...raft.Server) raft.IndexFuture {
	if len(c.node.changing) == 0 {
		c.t.Error("another change could be made beside this one")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.servers = append(slices.DeleteFunc(c.servers, func(s raft.Server) bool { return s.ID == id }), s...)
	return change(func() error { return nil })
}

func (c *configuration) AddVoter(id raft.ServerID, addr raft.ServerAddress, _ uint64, _ time.Duration) raft.IndexFuture {
	return c.set(id, raft.Server{ID: id, Address: addr})
}

func (c *configuration) AddNonvoter(id raft.ServerID, addr raft.ServerAddress, _ uint64, _ time.Duration) raft.IndexFuture {
	return c.set(id, raft.Server{Suffrage: raft.Nonvoter, ID: id, Address: addr})
}

func (c *configuration) RemoveServer(id raft.ServerID, _ uint64, _ time.Duration) raft.IndexFuture {
	return c.set(id)
}

// Ensure a learner that is removed just before it is promoted does not come back.
func TestRemovedIsNotPromoted(t *testing.T) {
	n, c := configured(t, raft.Server{Suffrage: raft.Nonvoter, ID: "n2", Address: "h2:1"})
	n.cfg.Tuning.MaxVersion = n.state.Version()
	n.call = func(ctx context.Context, _ string, _ *clusterpb.Request) (*clusterpb.Response, error) {
		if err := n.removeAsLeader(ctx, "n2"); err != nil {
			t.Errorf("the removal: %v", err)
		}
		return &clusterpb.Response{Status: &clusterpb.NodeStatus{Id: "n2"}}, nil
	}
	err := n.reconcileOnce(t.Context(), map[raft.ServerID]time.Time{"n2": time.Now().Add(-time.Hour)})
	if !errors.Is(err, errOutdated) {
		t.Errorf("the round: %v, want %v", err, errOutdated)
	}
	if len(c.servers) != 1 {
		t.Errorf("the configuration is %v", c.servers)
	}
}

// Ensure of two nodes of one name that join at once only one is admitted.
func TestTwoJoinAsOne(t *testing.T) {
	n, c := configured(t)
	c.readers = 2
	c.together.Add(c.readers)
	errs := make(chan error, c.readers)
	for _, id := range []string{"a", "b"} {
		go func() {
			_, err := n.admit(t.Context(), &clusterpb.Join{NodeId: id, Name: "n2", Raft: "h2:1", MaxVersion: 1})
			errs <- err
		}()
	}
	one, other := <-errs, <-errs
	if (one == nil) == (other == nil) {
		t.Errorf("the outcomes are %v and %v, want one refused", one, other)
	}
	if err := errorOf(responseOf(errors.Join(one, other))); !isCertain(err) {
		t.Errorf("the other is told %v, want that it may ask again", err)
	}
	if len(c.servers) != 2 {
		t.Errorf("the configuration is %v", c.servers)
	}
}

// A raisable is a configuration's Raft that also carries out entries at once.
type raisable struct{ *configuration }

func (r raisable) Apply(data []byte, _ time.Duration) raft.ApplyFuture {
	res, err := r.node.state.Apply(r.node.state.Point().Index+1, data)
	return &simFuture{done: simClosed, response: outcome{Applied: res}, err: err}
}

// Ensure a node of an older build that asks to be admitted while the version rises
// keeps it from rising or is not admitted.
func TestVersionRisesBesideAdmission(t *testing.T) {
	old := &clusterpb.Join{NodeId: "old", Name: "old", Raft: "h3:1", MinVersion: 1, MaxVersion: 1}
	for _, tt := range []struct {
		name string
		on   func(*clusterpb.Request) bool // the other server is asked this while the node asks to be admitted
		want uint32                        // version
	}{
		{"before all have said that they support it", func(req *clusterpb.Request) bool { return req.Status != nil }, 1},
		{"after", func(req *clusterpb.Request) bool { return req.PrepareVersion != nil }, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, c := configured(t, raft.Server{ID: "n2", Address: "h2:1"})
				n.id.dir, n.cfg.Tuning.MaxVersion = t.TempDir(), 2
				n.committer = newCommitter(raisable{c}, newClock(time.Now, newMonotonic()), newMetrics(prometheus.NewRegistry(), &Node{}))
				n.committer.leading = true
				admitted := make(chan error, 1)
				n.call = func(_ context.Context, _ string, req *clusterpb.Request) (*clusterpb.Response, error) {
					if tt.on(req) {
						go func() {
							_, err := n.admit(t.Context(), old)
							admitted <- err
						}()
						synctest.Wait() // it is admitted, or waits for its turn
					}
					return &clusterpb.Response{Status: &clusterpb.NodeStatus{MaxVersion: 2}}, nil
				}
				raised := n.raiseVersion(t.Context())
				err := <-admitted
				if got := n.state.Version(); got != tt.want {
					t.Errorf("the version is %d (%v), want %d", got, raised, tt.want)
				}
				if n.state.Version() > old.MaxVersion && n.hasServer(old.NodeId) {
					t.Errorf("the cluster speaks version %d and has a server that does not", n.state.Version())
				}
				if err != nil && !errors.Is(err, ErrRefused) {
					t.Errorf("the node is told %v", err)
				}
			})
		})
	}
}
