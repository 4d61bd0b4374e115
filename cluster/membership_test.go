package cluster

import (
	"context"
	"errors"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/stateraft/stateraft/cluster/clusterpb"
	"github.com/stateraft/stateraft/cluster/logstore"
)

// promiser is a node that can only be asked to promise.
func promiser(t *testing.T, expect int) *Node {
	t.Helper()
	return &Node{
		id: openTestIdentity(t, t.TempDir()), cfg: Config{BootstrapExpect: expect}, transport: new(transport),
	}
}

// Ensure a node promises to found a cluster only if it may found that one.
func TestAskedToPromise(t *testing.T) {
	join := func(cluster []byte) func(*testing.T, *Node) {
		return func(t *testing.T, n *Node) { wantError(t, n.id.setClusterID(cluster), "") }
	}
	for _, tt := range []struct {
		name    string
		founder string // the node's own id in the question; empty: what it is
		expect  int
		before  func(*testing.T, *Node)
		wantErr string
	}{
		{name: "new", expect: 2},
		{name: "does not name it", founder: "another", expect: 2, wantErr: "the set of founders does not name this node"},
		{name: "expects more", expect: 3, wantErr: "it expects 3 founders, not 2"},
		{name: "only joins", expect: 0, wantErr: "it expects 0 founders, not 2"},
		{name: "has promised this", expect: 0, before: func(t *testing.T, n *Node) {
			_, err := n.id.promise(foundersWith(n.id.nodeID()))
			wantError(t, err, "")
		}},
		{name: "has promised another", expect: 2, before: func(t *testing.T, n *Node) {
			_, err := n.id.promise([]founder{{n.id.nodeID(), "h:1"}})
			wantError(t, err, "")
		}, wantErr: "it has promised to found another cluster"},
		{name: "has joined another", expect: 2, before: join([]byte{1}), wantErr: "it belongs to cluster 01 already"},
		{name: "has promised this and joined another", expect: 2, before: func(t *testing.T, n *Node) {
			_, err := n.id.promise(foundersWith(n.id.nodeID()))
			wantError(t, err, "")
			join([]byte{1})(t, n)
		}, wantErr: "it belongs to cluster 01 already"},
		{name: "has founded this", expect: 2, before: func(t *testing.T, n *Node) {
			set := foundersWith(n.id.nodeID())
			_, err := n.id.promise(set)
			wantError(t, err, "")
			join(clusterIDOf(set))(t, n)
		}},
		{name: "is to join its cluster again", expect: 2, before: func(t *testing.T, n *Node) {
			join([]byte{1})(t, n)
			wantError(t, n.id.renew(), "")
		}, wantErr: "it expects 0 founders, not 2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := promiser(t, tt.expect)
			if tt.before != nil {
				tt.before(t, n)
			}
			if tt.founder == "" {
				tt.founder = n.id.nodeID()
			}
			var asked []*clusterpb.Founder
			for _, f := range foundersWith(tt.founder) {
				asked = append(asked, &clusterpb.Founder{NodeId: f.NodeID, Raft: f.Raft})
			}
			err := n.promise(asked)
			wantError(t, err, tt.wantErr)
			if err != nil && !errors.Is(err, ErrRefused) {
				t.Errorf("got %v, want it refused", err)
			}
		})
	}
}

// foundersWith is a set of two, in the order of their ids.
func foundersWith(id string) []founder { return []founder{{id, "h1:1"}, {"z", "h2:1"}} }

// Ensure nobody counts on a node that only joins to found a cluster.
func TestExpectIsTold(t *testing.T) {
	n := promiser(t, 3)
	if got := n.gossipMeta().Expect; got != 3 {
		t.Errorf("a new node tells that it expects %d, want 3", got)
	}
	wantError(t, n.id.setClusterID([]byte{1}), "")
	wantError(t, n.id.renew(), "")
	if got := n.gossipMeta().Expect; got != 0 {
		t.Errorf("a node that is to join its cluster again tells that it expects %d, want 0", got)
	}
}

// Ensure founders promise in one order, so that who is refused by one before it
// stays free for another set.
func TestPromisesInOrder(t *testing.T) {
	for _, tt := range []struct {
		other string // the second founder, which refuses
		bound bool
	}{{"0", false}, {"z", true}} {
		n := promiser(t, 2)
		n.call = func(context.Context, string, *clusterpb.Request) (*clusterpb.Response, error) {
			return responseOf(ErrRefused), nil
		}
		set := foundersOf([]*clusterpb.GossipMeta{{NodeId: n.id.nodeID(), Raft: "h1:1"}, {NodeId: tt.other, Raft: "h2:1"}})
		if err := n.askFounders(t.Context(), set, promiseOf(set)); !errors.Is(err, ErrRefused) {
			t.Errorf("beside %s: %v, want it refused", tt.other, err)
		}
		if got := n.id.promised() != nil; got != tt.bound {
			t.Errorf("beside %s: bound %t, want %t", tt.other, got, tt.bound)
		}
	}
}

// Ensure a node of no cluster can ask for itself alone to be admitted.
func TestStrangerJoinsForItself(t *testing.T) {
	n := promiser(t, 0)
	n.started = make(chan struct{})
	close(n.started)
	resp := n.handle(t.Context(), peer{nodeID: "stranger"}, &clusterpb.Request{Join: &clusterpb.Join{NodeId: "member"}})
	wantError(t, errorOf(resp), "node stranger asks for member to be admitted")
}

// change is the future of a change of the configuration.
type change func() error

func (c change) Error() error { return c() }
func (change) Index() uint64  { return 0 }

// Ensure a change of the configuration that may have happened is not told to be
// refused, and one whose outcome raft never tells keeps nobody.
func TestChanged(t *testing.T) {
	never := make(chan struct{})
	t.Cleanup(func() { close(never) })
	other := errors.New("the configuration has changed since")
	for _, tt := range []struct {
		name   string
		change change
		damage func(*Node) error
		want   error
	}{
		{name: "done", change: func() error { return nil }},
		{name: "not the leader", change: func() error { return raft.ErrNotLeader }, want: errNotLeader},
		{name: "leadership lost", change: func() error { return raft.ErrLeadershipLost }, want: ErrOutcomeUnknown},
		{name: "refused", change: func() error { return other }, want: ErrRefused},
		{
			name: "the log has failed", change: func() error { return other }, want: ErrOutcomeUnknown,
			damage: func(n *Node) error { return n.store.Close() },
		},
		{
			name: "never told", change: func() error { <-never; return nil }, want: ErrOutcomeUnknown,
			damage: func(n *Node) error { close(n.committer.down); return nil },
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			store, err := logstore.Open(logstore.Config{Dir: t.TempDir(), Logger: discard, Fatal: func(error) {}})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { store.Close() })
			n := &Node{store: store, committer: newCommitter(nil, nil, nil)}
			if tt.damage != nil {
				if err := tt.damage(n); err != nil {
					t.Fatal(err)
				}
			}
			if err := n.changed(tt.change); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}
