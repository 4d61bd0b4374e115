package cluster

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/raft"

	"github.com/stateraft/stateraft/cluster/clusterpb"
	"github.com/stateraft/stateraft/cluster/logstore"
)

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
