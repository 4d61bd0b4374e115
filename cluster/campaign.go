package cluster

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/hashicorp/raft"

	"github.com/stateraft/stateraft/cluster/clusterpb"
)

// campaignTimeout bounds everything from losing the leader to standing for
// election. The heartbeat's timeout takes over afterwards.
const campaignTimeout = 100 * time.Millisecond

// goneInterval is the time between looks at a port that neither serves nor
// refuses.
const goneInterval = time.Millisecond

// watchLeader keeps a connection to the leader, for its end is the first sign
// of the leader's death, long before a heartbeat is missed.
func (n *Node) watchLeader(ctx context.Context) {
	tried := leader{}
	for {
		to := n.leaders.current()
		if to.id != "" && to.id != n.id.nodeID() && to != tried && n.isGone(ctx, to) {
			tried = to
			n.replaceLeader(ctx, to)
		}
		select {
		case <-to.ctx.Done():
		case <-n.lostLeader:
		case <-ctx.Done():
			return
		}
	}
}

// isGone reports whether the leader's process has ended: its host is there, its
// port refuses, and its own connections to this node have ended too, which they
// have not if a firewall refuses in its name. It connects, or finds the
// connection, if not. While a process dies its port may still accept and then
// break, so it looks again.
func (n *Node) isGone(ctx context.Context, to leader) bool {
	ctx, cancel := context.WithTimeout(ctx, campaignTimeout)
	defer cancel()
	for ctx.Err() == nil {
		_, err := n.call(ctx, to.at(), &clusterpb.Request{Term: &clusterpb.Term{}})
		switch {
		case err == nil:
			return false
		case isRefused(err) && !n.transport.isCalledBy(to.id):
			return true
		}
		sleep(ctx, goneInterval)
	}
	return false
}

// replaceLeader stands for election at once if a majority of the voters, this
// node among them, is refused by the dead leader, and none of them has more of
// the log; of several with the same log the one with the lowest id stands, for
// two at once would split the vote. It asks until somebody stands or time is
// up, for others may find out a little later.
func (n *Node) replaceLeader(ctx context.Context, gone leader) {
	ctx, cancel := context.WithTimeout(ctx, campaignTimeout)
	defer cancel()
	for term := n.raft.CurrentTerm(); ctx.Err() == nil && n.stillFollows(gone, term); sleep(ctx, goneInterval) {
		// Raft's TimeoutNow checks neither suffrage nor state: that is done here.
		if n.maySucceed(ctx, gone, term) && n.stillFollows(gone, term) {
			n.cfg.Logger.Info("the leader is gone; standing for election", "leader", gone.id, "term", term)
			n.rafts.campaign(ctx)
			return
		}
	}
}

// maySucceed asks the other voters and reports whether this one is to stand.
func (n *Node) maySucceed(ctx context.Context, gone leader, term uint64) bool {
	voters, agree, inside := n.voters(), 0, false
	var ends []logEnd
	for _, s := range voters {
		switch string(s.ID) {
		case n.id.nodeID():
			agree, inside = agree+1, true
		case gone.id:
		default:
			if end, ok := n.askGone(ctx, s, gone, term); ok {
				agree++
				ends = append(ends, end)
			}
		}
	}
	mine := n.logEndNow() // after the answers, so that it is not the older one
	beaten := slices.ContainsFunc(ends, func(e logEnd) bool { return e.after(mine) })
	return inside && agree > len(voters)/2 && !beaten
}

// stillFollows reports whether Raft is where it was when the leader was found
// to be gone.
func (n *Node) stillFollows(gone leader, term uint64) bool {
	_, id := n.raft.LeaderWithID()
	return n.raft.State() == raft.Follower && n.raft.CurrentTerm() == term && string(id) == gone.id
}

// A logEnd says how much of the log a voter has.
type logEnd struct {
	term, index uint64
	id          string
}

// after reports whether e has a better claim to lead than other.
func (e logEnd) after(other logEnd) bool {
	c := cmp.Or(cmp.Compare(e.term, other.term), cmp.Compare(e.index, other.index), cmp.Compare(other.id, e.id))
	return c > 0
}

func (n *Node) logEndNow() logEnd {
	term, _ := strconv.ParseUint(n.raft.Stats()["last_log_term"], 10, 64)
	return logEnd{term: term, index: n.raft.LastIndex(), id: n.id.nodeID()}
}

// askGone asks a voter whether the leader is gone for it too.
func (n *Node) askGone(ctx context.Context, s raft.Server, gone leader, term uint64) (logEnd, bool) {
	req := &clusterpb.Request{LeaderGone: &clusterpb.LeaderGone{LeaderId: gone.id, Term: term}}
	resp, err := n.call(ctx, n.gossip.locate(s.ID, s.Address), req)
	if err != nil || resp.Code != clusterpb.Response_OK || !resp.Live {
		return logEnd{}, false
	}
	return logEnd{term: resp.Term, index: resp.Index, id: string(s.ID)}, true
}

// answerGone answers another voter's question. If the leader is gone, this
// node looks whether it is the one to stand.
func (n *Node) answerGone(ctx context.Context, q *clusterpb.LeaderGone) *clusterpb.Response {
	to := n.leaders.current()
	if to.id != q.LeaderId || n.raft.CurrentTerm() != q.Term || !n.isGone(ctx, to) {
		return &clusterpb.Response{}
	}
	if n.rafts.gate.shut(ctx, q.Term, campaignTimeout) != nil {
		return &clusterpb.Response{}
	}
	n.lostLeader.signal()
	end := n.logEndNow()
	return &clusterpb.Response{Live: true, Term: end.term, Index: end.index}
}
