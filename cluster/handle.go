package cluster

import (
	"context"
	"fmt"

	"github.com/stateraft/stateraft/cluster/clusterpb"
	"github.com/stateraft/stateraft/fsm"
)

// handle answers one call of another node. A node of no cluster may only ask
// what helps it to become one's.
func (n *Node) handle(ctx context.Context, from peer, req *clusterpb.Request) *clusterpb.Response {
	select {
	case <-n.started:
	case <-ctx.Done():
		return responseOf(errNotLeader)
	}
	if len(from.clusterID) == 0 {
		if j := req.Join; j != nil && j.NodeId != from.nodeID {
			return responseOf(fmt.Errorf("%w: node %s asks for %s to be admitted", ErrRefused, from.nodeID, j.NodeId))
		}
		return n.handleStranger(ctx, req)
	}
	switch {
	case req.Propose != nil:
		return answerOf(n.commit(ctx, req.Propose))
	case req.ReadIndex != nil:
		index, err := n.confirmIndex(ctx, req.ReadIndex)
		return answerOf(&clusterpb.Response{Index: index}, err)
	case req.Term != nil:
		return &clusterpb.Response{Term: n.raft.CurrentTerm()}
	case req.LeaderGone != nil:
		return n.answerGone(ctx, req.LeaderGone)
	case req.Remove != nil:
		return answerOf(&clusterpb.Response{}, n.removeAsLeader(ctx, req.Remove.Node))
	case req.Transfer != nil:
		return answerOf(&clusterpb.Response{}, n.handOver(ctx, req.Transfer.To))
	case req.PrepareVersion != nil:
		return answerOf(&clusterpb.Response{}, n.prepareVersion(req.PrepareVersion.Version))
	default:
		return n.handleStranger(ctx, req)
	}
}

func (n *Node) handleStranger(ctx context.Context, req *clusterpb.Request) *clusterpb.Response {
	switch {
	case req.Status != nil:
		return &clusterpb.Response{Status: n.ownStatus()}
	case req.Clock != nil:
		return n.answerClock()
	case req.Promise != nil:
		return answerOf(&clusterpb.Response{}, n.promise(req.Promise.Founders))
	case req.Join != nil:
		return answerOf(n.admit(ctx, req.Join))
	default:
		return responseOf(fmt.Errorf("%w: this node does not know that call", ErrRefused))
	}
}

func answerOf(resp *clusterpb.Response, err error) *clusterpb.Response {
	if err != nil {
		return responseOf(err)
	}
	return resp
}

// answerClock tells cluster time, by the wall clock if nothing better is known.
func (n *Node) answerClock() *clusterpb.Response {
	term, index := n.clock.restsOn()
	now, live := n.clock.now()
	if !live {
		now = n.clock.byWall()
	}
	return &clusterpb.Response{Live: live, Estimate: now, Term: term, Index: index, Wall: n.clock.wall().UnixMicro()}
}

func (n *Node) ownStatus() *clusterpb.NodeStatus {
	st := n.state.Stats()
	return &clusterpb.NodeStatus{
		Id: n.id.nodeID(), Name: n.cfg.Name, Http: n.cfg.AdvertiseHTTP, Gossip: n.gossip.addr(),
		Binary: n.cfg.Binary, MinVersion: fsm.MinVersion, MaxVersion: n.cfg.Tuning.MaxVersion,
		Term: n.raft.CurrentTerm(), LastIndex: n.raft.LastIndex(), CommitIndex: n.raft.CommitIndex(),
		AppliedIndex: st.Index, Revision: st.Revision, StateHash: st.Hash,
		Wall: n.clock.wall().UnixMicro(), Ready: n.Ready() == nil, DiskFull: n.store.Full(), DiskBytes: n.store.Stats().DiskBytes,
	}
}
