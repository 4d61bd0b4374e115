package cluster

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/raft"

	"github.com/stateraft/stateraft/cluster/clusterpb"
	"github.com/stateraft/stateraft/cluster/logstore"
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

func foundersOf(candidates []*clusterpb.GossipMeta) []founder {
	set := make([]founder, len(candidates))
	for i, m := range candidates {
		set[i] = founder{NodeID: m.NodeId, Raft: m.Raft}
	}
	slices.SortFunc(set, func(a, b founder) int { return strings.Compare(a.NodeID, b.NodeID) })
	return set
}

// found founds a cluster of exactly these nodes if all of them, this one
// included, have durably promised to found no other. Before anyone promises all
// must answer: a promise is for good, also if a founder never comes. They
// promise in one order, so that of two sets the first node of both decides.
func (n *Node) found(ctx context.Context, set []founder) (done bool, why string) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	for _, req := range []*clusterpb.Request{{Status: &clusterpb.Status{}}, promiseOf(set)} {
		if err := n.askFounders(ctx, set, req); err != nil {
			return false, err.Error()
		}
	}
	return n.becomeFounder()
}

func promiseOf(set []founder) *clusterpb.Request {
	p := new(clusterpb.Promise)
	for _, f := range set {
		p.Founders = append(p.Founders, &clusterpb.Founder{NodeId: f.NodeID, Raft: f.Raft})
	}
	return &clusterpb.Request{Promise: p}
}

// askFounders asks all founders in their order, this node too. All must agree.
func (n *Node) askFounders(ctx context.Context, set []founder, req *clusterpb.Request) error {
	for _, f := range set {
		var resp *clusterpb.Response
		var err error
		if f.NodeID == n.id.nodeID() {
			resp = n.handleStranger(ctx, req)
		} else {
			resp, err = n.call(ctx, n.gossip.locate(raft.ServerID(f.NodeID), raft.ServerAddress(f.Raft)), req)
		}
		if err == nil {
			err = errorOf(resp)
		}
		if err != nil {
			return fmt.Errorf("founder %s: %w", f.Raft, err)
		}
	}
	return nil
}

// hasPromised reports whether this node has promised to found a cluster.
func (n *Node) hasPromised(clusterID []byte) bool {
	set := n.id.promised()
	return len(set) > 0 && bytes.Equal(clusterID, clusterIDOf(set))
}

// becomeFounder founds the cluster that all its founders have promised.
func (n *Node) becomeFounder() (done bool, why string) {
	if err := n.id.setClusterID(clusterIDOf(n.id.promised())); err != nil {
		return false, err.Error()
	}
	return n.finishFounding()
}

// clusterIDOf gives every founder the same id without another round.
func clusterIDOf(set []founder) []byte {
	h := sha256.New()
	for _, f := range set {
		fmt.Fprintf(h, "%s\n", f.NodeID)
	}
	return h.Sum(nil)[:16]
}

// finishFounding gives Raft its first configuration if this node founded its
// cluster and has not come to that yet. All founders give it the same.
func (n *Node) finishFounding() (done bool, why string) {
	set := n.id.promised()
	n.gossip.update()
	if !bytes.Equal(n.id.clusterID(), clusterIDOf(set)) || n.raft.LastIndex() > 0 {
		return true, ""
	}
	var c raft.Configuration
	for _, f := range set {
		c.Servers = append(c.Servers, raft.Server{ID: raft.ServerID(f.NodeID), Address: raft.ServerAddress(f.Raft)})
	}
	switch err := n.committer.await(n.raft.BootstrapCluster(c)); {
	case errors.Is(err, raft.ErrCantBootstrap): // it has voted, or been given the log meanwhile
		return false, "another founder was quicker and is to send the log"
	case err != nil:
		return false, err.Error()
	}
	n.cfg.Logger.Info("cluster founded", "cluster", fmt.Sprintf("%x", n.id.clusterID()), "voters", len(set))
	return true, ""
}

// undoFounding undoes the half that a crash can leave of a founding, so that
// finishFounding begins it anew: Raft notes term 1, and the configuration in a
// second write. Nothing else leaves term 1 and no log, and nobody was voted for
// in that term: a candidate has a configuration and asks for term 2 at least.
func (n *Node) undoFounding() error {
	last, err := n.store.LastIndex()
	if err != nil || last > 0 || !n.hasPromised(n.id.clusterID()) {
		return err
	}
	if term, _ := n.store.GetUint64([]byte(logstore.KeyTerm)); term != 1 { // an error Raft meets too
		return nil
	}
	return n.store.SetUint64([]byte(logstore.KeyTerm), 0)
}

// promise answers another founder's question.
func (n *Node) promise(founders []*clusterpb.Founder) error {
	set := make([]founder, len(founders))
	for i, f := range founders {
		set[i] = founder{NodeID: f.NodeId, Raft: f.Raft}
	}
	if why := n.foundsNot(set); why != "" {
		return fmt.Errorf("%w: %s", ErrRefused, why)
	}
	switch ok, err := n.id.promise(set); {
	case err != nil:
		return err
	case !ok:
		return fmt.Errorf("%w: it has promised to found another cluster", ErrRefused)
	}
	return nil
}

// foundsNot says why this node cannot promise to found a cluster with set, its
// earlier promise apart; empty: it can.
func (n *Node) foundsNot(set []founder) string {
	ours := n.id.clusterID()
	switch {
	case !slices.ContainsFunc(set, func(f founder) bool { return f.NodeID == n.id.nodeID() }):
		return "the set of founders does not name this node, " + n.id.nodeID()
	case len(ours) > 0 && !bytes.Equal(ours, clusterIDOf(set)):
		return fmt.Sprintf("it belongs to cluster %x already", ours)
	case len(n.id.promised()) == 0 && len(set) != n.expects():
		return fmt.Sprintf("it expects %d founders, not %d", n.expects(), len(set))
	}
	return ""
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

// names returns the display names of nodes, by id: those that gossip shows,
// and, also for nodes that are away, those that the state knows.
func (n *Node) names() map[string]string {
	names := make(map[string]string)
	for _, m := range n.gossip.members() {
		names[m.NodeId] = m.Name
	}
	for _, node := range n.state.Nodes() {
		names[node.Id] = node.Name
	}
	return names
}

func (n *Node) hasServer(id string) bool {
	return slices.ContainsFunc(n.servers(), func(s raft.Server) bool { return string(s.ID) == id })
}

// errOutdated: the configuration has changed since the change was decided on;
// nothing was proposed.
var errOutdated = errors.New("the configuration has changed meanwhile")

// change makes one change of the configuration, if that is still what the change
// was decided on. No other is under way then: Raft would keep the later one back
// and carry it out whatever the earlier has made of it, so that a server that
// was just removed would be added again.
func (n *Node) change(ctx context.Context, decidedOn []raft.Server, change func() raft.IndexFuture) error {
	done, err := n.turn(ctx, decidedOn)
	if err != nil {
		return err
	}
	defer done()
	return n.changed(change())
}

// turn waits until no change of the configuration is under way, and keeps others
// from beginning until done is called. It fails if the configuration is no longer
// the one that was decided on.
func (n *Node) turn(ctx context.Context, decidedOn []raft.Server) (done func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	select {
	case n.changing <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: another change of the configuration, or of the protocol version, is under way", ErrRefused)
	}
	done = func() { <-n.changing }
	if !slices.Equal(n.servers(), decidedOn) {
		done()
		return nil, errOutdated
	}
	return done, nil
}

// changed turns the outcome of a change of the configuration into our errors.
func (n *Node) changed(f raft.IndexFuture) error {
	switch err := n.committer.await(f); {
	case err == nil:
		return nil
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return errNotLeader
	case errors.Is(err, raft.ErrLeadershipLost), errors.Is(err, raft.ErrRaftShutdown), n.store.Err() != nil: // it may be in the log
		return fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
	default:
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
}

// askLeader passes a request on to the leader.
func (n *Node) askLeader(ctx context.Context, req *clusterpb.Request) (*clusterpb.Response, error) {
	to := n.leaders.current()
	if to.id == "" || to.id == n.id.nodeID() {
		return nil, errNotLeader
	}
	resp, err := n.call(ctx, to.at(), req)
	if err != nil {
		return nil, err
	}
	return resp, errorOf(resp)
}
