package cluster

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"github.com/stateraft/stateraft/cluster/clusterpb"
	"github.com/stateraft/stateraft/fsm"
)

// membershipInterval is how often a node that belongs to no cluster tries
// again when gossip tells nothing new.
const membershipInterval = 500 * time.Millisecond

// gossipMeta is what this node tells all others. It is a hint; Raft's
// configuration is the truth.
func (n *Node) gossipMeta() *clusterpb.GossipMeta {
	return &clusterpb.GossipMeta{
		ClusterId: n.id.clusterID(), NodeId: n.id.nodeID(), Name: n.cfg.Name,
		Http: n.cfg.AdvertiseHTTP, Raft: n.transport.advertised(),
		MinVersion: fsm.MinVersion, MaxVersion: n.cfg.Tuning.MaxVersion,
		Replica: n.cfg.Replica, Expect: uint32(n.expects()),
	}
}

// expects returns how many nodes, this one included, found a cluster with this
// one; 0: it only joins, as does one that is to join its former cluster again.
func (n *Node) expects() int {
	if (n.id.replaces() != replaced{}) {
		return 0
	}
	return n.cfg.BootstrapExpect
}

// runMembership brings a node that belongs to no cluster into one: an existing
// one if gossip shows it, else one that it founds with others that promised.
func (n *Node) runMembership(ctx context.Context) {
	said := ""
	for ctx.Err() == nil {
		changed := n.gossip.changed()
		done, why := n.becomeMember(ctx)
		if done {
			n.proposer.prepare()
			return
		}
		if why != said {
			n.cfg.Logger.Info("not a member of a cluster yet", "why", why)
			said = why
		}
		select {
		case <-changed:
		case <-time.After(membershipInterval):
		case <-ctx.Done():
		}
	}
}

// becomeMember makes one attempt and says why it did not succeed.
func (n *Node) becomeMember(ctx context.Context) (done bool, why string) {
	if len(n.id.clusterID()) > 0 {
		return n.finishFounding()
	}
	looked, expect := n.gossip.hasLooked(), n.expects()
	var members, candidates []*clusterpb.GossipMeta
	for _, m := range n.gossip.members() {
		if len(m.ClusterId) > 0 {
			members = append(members, m)
		} else if !m.Replica && int(m.Expect) == expect {
			candidates = append(candidates, m)
		}
	}
	switch {
	case len(members) > 0:
		return n.joinOneOf(ctx, members)
	case expect == 0:
		return false, "no member of a cluster is in sight"
	case len(n.id.promised()) > 0:
		return n.found(ctx, n.id.promised())
	case !looked: // one that lost its disk would found a second cluster beside its own
		return false, "the nodes to join have not all been tried"
	case len(candidates) != expect:
		return false, fmt.Sprintf("%d nodes are in sight that expect %d to found a cluster", len(candidates), expect)
	default:
		return n.found(ctx, foundersOf(candidates))
	}
}

// joinOneOf asks members, one after the other, to have this node admitted.
func (n *Node) joinOneOf(ctx context.Context, members []*clusterpb.GossipMeta) (done bool, why string) {
	quick, refused := false, false
	for _, m := range members {
		err := n.join(ctx, m)
		if err == nil {
			return true, ""
		}
		why = fmt.Sprintf("%s did not admit it: %v", m.Name, err)
		quick = quick || n.hasPromised(m.ClusterId)
		refused = refused || errors.Is(err, ErrRefused)
	}
	if quick && !refused {
		// A founder that was quicker cannot admit anyone before a majority
		// has founded the cluster too. It knows of every founder's promise.
		return n.becomeFounder()
	}
	return false, why
}

// join asks a member to have this node admitted.
func (n *Node) join(ctx context.Context, m *clusterpb.GossipMeta) error {
	ctx, cancel := context.WithTimeout(ctx, 2*attemptTimeout)
	defer cancel()
	was := n.id.replaces()
	resp, err := n.call(ctx, at(m.NodeId, m.Raft), &clusterpb.Request{Join: &clusterpb.Join{
		NodeId: n.id.nodeID(), Name: n.cfg.Name, Raft: n.transport.advertised(), Replica: n.cfg.Replica,
		MinVersion: fsm.MinVersion, MaxVersion: n.cfg.Tuning.MaxVersion,
		Replaces: was.NodeID, ReplacesIn: was.ClusterID,
	}})
	if err == nil {
		err = errorOf(resp)
	}
	if err != nil {
		return err
	}
	if err := n.id.setClusterID(resp.ClusterId); err != nil {
		return err
	}
	n.gossip.update()
	n.cfg.Logger.Info("joined", "cluster", fmt.Sprintf("%x", resp.ClusterId))
	return nil
}

// admit adds a node that belongs to no cluster as a learner, or asks the
// leader to.
func (n *Node) admit(ctx context.Context, j *clusterpb.Join) (*clusterpb.Response, error) {
	if n.term.Load() == nil {
		return n.askLeader(ctx, &clusterpb.Request{Join: j})
	}
	if err := n.removeReplaced(ctx, j); err != nil {
		return nil, err
	}
	servers := n.servers()
	done, err := n.turn(ctx, servers)
	if err != nil {
		return nil, err
	}
	defer done()
	if err := n.mayJoin(servers, j); err != nil { // only now: until its turn the version may rise
		return nil, err
	}
	n.cfg.Logger.Info("admitting", "node", j.NodeId, "name", j.Name, "raft", j.Raft)
	// Also for one that the configuration shows: that may not be committed yet,
	// and another leader would not know it. Raft lets a voter stay a voter.
	err = n.changed(n.raft.AddNonvoter(raft.ServerID(j.NodeId), raft.ServerAddress(j.Raft), 0, attemptTimeout))
	return &clusterpb.Response{ClusterId: n.id.clusterID()}, err
}

// removeReplaced removes the member that a joining node was before it lost its
// log. Only the node itself knows both ids; and nobody must answer to the old.
func (n *Node) removeReplaced(ctx context.Context, j *clusterpb.Join) error {
	if j.Replaces == "" {
		return nil
	}
	if ours := hex.EncodeToString(n.id.clusterID()); j.ReplacesIn != ours {
		return fmt.Errorf("%w: the node belonged to cluster %s, this is %s", ErrRefused, j.ReplacesIn, ours)
	}
	servers := n.servers()
	for _, s := range servers {
		if string(s.ID) != j.Replaces {
			continue
		}
		if n.statusOf(ctx, s).GetId() == j.Replaces {
			return fmt.Errorf("%w: %s is alive", ErrRefused, j.Replaces)
		}
		n.cfg.Logger.Warn("a member lost its log and is replaced", "name", j.Name, "old", j.Replaces, "new", j.NodeId)
		return n.change(ctx, servers, func() raft.IndexFuture { return n.raft.RemoveServer(s.ID, 0, attemptTimeout) })
	}
	return nil
}

// mayJoin says why a node cannot be admitted. Raft would refuse a second
// server at one address too, with less to go by.
func (n *Node) mayJoin(servers []raft.Server, j *clusterpb.Join) error {
	if v := n.state.Version(); v < j.MinVersion || v > j.MaxVersion {
		return fmt.Errorf("%w: the cluster speaks protocol version %d and the node %d to %d", ErrRefused, v, j.MinVersion, j.MaxVersion)
	}
	names := n.names()
	for _, s := range servers {
		if string(s.ID) == j.NodeId {
			continue
		}
		if name := names[string(s.ID)]; name == j.Name || string(s.Address) == j.Raft {
			return fmt.Errorf("%w: %q at %s is a member already, with the id %s; if that node is gone for good, remove it first (stateraft cluster remove %s)",
				ErrRefused, name, s.Address, s.ID, s.ID)
		}
	}
	return nil
}
