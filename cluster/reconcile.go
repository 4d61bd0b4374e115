package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"github.com/stateraft/stateraft/cluster/clusterpb"
	"github.com/stateraft/stateraft/fsm/fsmpb"
)

const (
	reconcileInterval = 250 * time.Millisecond

	// promoteLag is how many entries a learner may be behind to count as level.
	promoteLag = 100
)

// reconcile brings the configuration, one change a round, to what the members
// ask for: a learner that has been level for a while becomes a voter, a member
// that moved gets its new address, and the protocol version rises when all
// support it. It never removes a member: only the operator does, because
// automatic removal can take a quorum away.
func (n *Node) reconcile(ctx context.Context) {
	ticker := time.NewTicker(reconcileInterval)
	defer ticker.Stop()
	levelSince := make(map[raft.ServerID]time.Time)
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if err := n.reconcileOnce(ctx, levelSince); err != nil && ctx.Err() == nil {
			n.cfg.Logger.Warn("membership", "err", err)
		}
	}
}

// reconcileOnce makes one round, which ends with the first change: the list of
// servers is old then. A member for which it fails holds up none of the others.
func (n *Node) reconcileOnce(ctx context.Context, levelSince map[raft.ServerID]time.Time) error {
	seen := make(map[string]*clusterpb.GossipMeta)
	for _, m := range n.gossip.members() {
		seen[m.NodeId] = m
	}
	var errs []error
	servers := n.servers()
	for _, s := range servers {
		m := seen[string(s.ID)]
		if m == nil {
			delete(levelSince, s.ID)
			continue
		}
		if m.Raft != string(s.Address) && string(s.ID) != n.id.nodeID() {
			if err := n.move(ctx, servers, s, m.Raft); err != nil {
				errs = append(errs, err)
				continue
			}
			return errors.Join(errs...)
		}
		if s.Suffrage == raft.Voter || m.Replica {
			continue
		}
		if !n.isLevel(ctx, s) {
			delete(levelSince, s.ID)
			continue
		}
		since, ok := levelSince[s.ID]
		if !ok {
			levelSince[s.ID] = time.Now()
		} else if time.Since(since) >= n.cfg.Tuning.PromoteAfter {
			n.cfg.Logger.Info("promoting to voter", "node", s.ID, "name", m.Name)
			add := func() raft.IndexFuture { return n.raft.AddVoter(s.ID, s.Address, 0, attemptTimeout) }
			if err := n.change(ctx, servers, add); err != nil {
				errs = append(errs, err)
				continue
			}
			return errors.Join(errs...)
		}
	}
	return errors.Join(append(errs, n.raiseVersion(ctx))...)
}

// move gives a member its new address.
func (n *Node) move(ctx context.Context, servers []raft.Server, s raft.Server, addr string) error {
	add := n.raft.AddNonvoter
	if s.Suffrage == raft.Voter {
		add = n.raft.AddVoter
	}
	again := func() raft.IndexFuture { return add(s.ID, raft.ServerAddress(addr), 0, attemptTimeout) }
	if err := n.change(ctx, servers, again); err != nil {
		return fmt.Errorf("move node %s from %s to %s: %w", s.ID, s.Address, addr, err)
	}
	n.cfg.Logger.Info("member moved", "node", s.ID, "from", s.Address, "to", addr)
	return nil
}

// isLevel reports whether a learner has caught up with the log.
func (n *Node) isLevel(ctx context.Context, s raft.Server) bool {
	commit := n.raft.CommitIndex()
	told := n.statusOf(ctx, s)
	return told != nil && told.AppliedIndex+promoteLag >= commit
}

// raiseVersion raises the cluster's protocol version by one if every server,
// asked directly, supports the next and has noted it on disk, so that none can
// come back as a build that does not. None is asked to note it before all have
// said that they support it: until then each can go back. From then on until the
// entry is applied no server is added that was not asked. The leader proposes nothing
// newer before that.
func (n *Node) raiseVersion(ctx context.Context) error {
	next := n.state.Version() + 1
	if next > n.cfg.Tuning.MaxVersion {
		return nil
	}
	servers := n.servers()
	if !n.allSupport(ctx, servers, next) {
		return nil
	}
	done, err := n.turn(ctx, servers)
	if err != nil {
		return fmt.Errorf("raise the cluster's protocol version to %d: %w", next, err)
	}
	defer done()
	req := &clusterpb.Request{PrepareVersion: &clusterpb.PrepareVersion{Version: next}}
	if answers := n.askAll(ctx, servers, req); len(answers) < len(servers)-1 {
		return nil // some have gone away meanwhile
	}
	if err := n.prepareVersion(next); err != nil {
		return err
	}
	n.cfg.Logger.Info("raising the cluster's protocol version", "to", next)
	_, err = n.committer.commit(ctx, &fsmpb.Entry{RaiseVersion: &fsmpb.RaiseVersion{Version: next}})
	return err
}

// allSupport reports whether every server says that it supports v.
func (n *Node) allSupport(ctx context.Context, servers []raft.Server, v uint32) bool {
	supporting := 1 // this node
	for _, a := range n.askAll(ctx, servers, &clusterpb.Request{Status: &clusterpb.Status{}}) {
		if a.Status.GetMaxVersion() >= v {
			supporting++
		}
	}
	return supporting >= len(servers)
}

// prepareVersion notes on disk that the cluster may speak v from now on.
func (n *Node) prepareVersion(v uint32) error {
	if v > n.cfg.Tuning.MaxVersion {
		return fmt.Errorf("%w: this node speaks protocol versions up to %d", ErrRefused, n.cfg.Tuning.MaxVersion)
	}
	return n.id.prepareVersion(v)
}
