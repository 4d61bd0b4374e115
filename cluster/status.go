package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/stateraft/stateraft/cluster/clusterpb"
	"github.com/stateraft/stateraft/fsm"
)

// Status is the cluster as one node sees it; it is also the JSON of
// GET /v1/cluster.
type Status struct {
	ClusterID string         `json:"clusterId"`
	Leader    string         `json:"leader"` // display name; empty: none known
	Term      uint64         `json:"term"`
	Revision  uint64         `json:"revision"`
	Version   VersionStatus  `json:"version"`
	Nodes     []MemberStatus `json:"nodes"` // by name
}

// VersionStatus tells protocol versions: the cluster's, and the range that
// the answering node's binary speaks.
type VersionStatus struct {
	Cluster uint32 `json:"cluster"`
	Min     uint32 `json:"min"`
	Max     uint32 `json:"max"`
}

// MemberStatus is one server of Raft's configuration. What a node alone knows
// of itself (indexes, hash, clock) is zero while it does not answer.
type MemberStatus struct {
	ID            string `json:"id"`   // Raft id
	Name          string `json:"name"` // display name
	Role          string `json:"role"` // voter, learner (to be promoted), replica
	Leader        bool   `json:"leader"`
	HTTP          string `json:"http"` // host:port
	Raft          string `json:"raft"`
	Gossip        string `json:"gossip"`
	Healthy       bool   `json:"healthy"` // answered, and not far behind
	AppliedIndex  uint64 `json:"appliedIndex"`
	CommitIndex   uint64 `json:"commitIndex"`
	Lag           uint64 `json:"lag"` // entries behind the leader's commit index
	Revision      uint64 `json:"revision"`
	ClockOffsetMs int64  `json:"clockOffsetMs"` // its wall clock minus the leader's
	StateHash     string `json:"stateHash"`     // 16 hex digits; equal at equal appliedIndex
	Binary        string `json:"binary"`
}

// healthyLag is how many entries a member may be behind and still be called
// healthy.
const healthyLag = 10_000

// Status returns the cluster as this node sees it, with what each member that
// answers in time says of itself.
func (n *Node) Status(ctx context.Context) Status {
	servers, now := n.servers(), n.leaders.current()
	own := n.ownStatus()
	st := Status{
		ClusterID: fmt.Sprintf("%x", n.id.clusterID()),
		Term:      own.Term,
		Revision:  own.Revision,
		Version:   VersionStatus{Cluster: n.state.Version(), Min: fsm.MinVersion, Max: n.cfg.Tuning.MaxVersion},
	}
	told := n.askStatus(ctx, servers)
	told[own.Id] = toldStatus{NodeStatus: own}
	leaderAhead := n.leaderAhead(told, now)
	commit := own.CommitIndex
	for _, a := range told {
		commit = max(commit, a.CommitIndex)
	}
	for _, s := range servers {
		a := told[string(s.ID)]
		m := n.member(s, a.NodeStatus, commit)
		if a.NodeStatus != nil {
			m.ClockOffsetMs = (a.ahead - leaderAhead).Milliseconds()
		}
		if m.Leader = m.ID == now.id; m.Leader {
			st.Leader = m.Name
		}
		st.Nodes = append(st.Nodes, m)
	}
	slices.SortFunc(st.Nodes, func(a, b MemberStatus) int { return strings.Compare(a.Name+a.ID, b.Name+b.ID) })
	return st
}

// member describes one server; a is nil if it did not answer.
func (n *Node) member(s raft.Server, a *clusterpb.NodeStatus, commit uint64) MemberStatus {
	m := MemberStatus{ID: string(s.ID), Raft: string(s.Address), Role: "voter"}
	if s.Suffrage != raft.Voter {
		m.Role = role(false) // only gossip knows a replica
	}
	for _, node := range n.state.Nodes() {
		if node.Id == m.ID {
			m.Name, m.HTTP, m.Gossip, m.Binary = node.Name, node.Http, node.Gossip, node.Binary
		}
	}
	for _, g := range n.gossip.members() {
		if g.NodeId == m.ID {
			m.Name, m.HTTP = g.Name, g.Http
			if s.Suffrage != raft.Voter {
				m.Role = role(g.Replica)
			}
		}
	}
	if a == nil {
		return m
	}
	m.Name, m.HTTP, m.Gossip, m.Binary = a.Name, a.Http, a.Gossip, a.Binary
	m.AppliedIndex, m.CommitIndex, m.Revision = a.AppliedIndex, a.CommitIndex, a.Revision
	m.Lag = commit - min(commit, a.AppliedIndex)
	m.Healthy = m.Lag <= healthyLag
	m.StateHash = fmt.Sprintf("%016x", a.StateHash)
	return m
}

func role(replica bool) string {
	if replica {
		return "replica"
	}
	return "learner"
}

// A toldStatus is what a node said of itself, and how far its wall clock was
// ahead of the answering node's.
type toldStatus struct {
	*clusterpb.NodeStatus
	ahead time.Duration
}

// askStatus asks every server but this node; those that do not answer in time
// are missing.
func (n *Node) askStatus(ctx context.Context, servers []raft.Server) map[string]toldStatus {
	var (
		mu   sync.Mutex
		told = make(map[string]toldStatus)
		wg   sync.WaitGroup
	)
	for _, s := range servers {
		wg.Go(func() {
			asked := time.Now()
			status := n.statusOf(ctx, s)
			if status == nil {
				return
			}
			ahead := n.clock.ahead(status.Wall, time.Since(asked))
			mu.Lock()
			defer mu.Unlock()
			told[status.Id] = toldStatus{status, ahead}
		})
	}
	wg.Wait()
	return told
}

// leaderAhead returns how far the leader's wall clock is ahead of this node's:
// by what it has just said, or else by what was last measured.
func (n *Node) leaderAhead(told map[string]toldStatus, now leader) time.Duration {
	if a, ok := told[now.id]; ok {
		return a.ahead
	}
	return -n.offset.get()
}
