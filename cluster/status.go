package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
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
	ClockOffsetMs int64  `json:"clockOffsetMs"` // its wall clock minus the answering node's
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
	told[own.Id] = own
	commit := own.CommitIndex
	for _, a := range told {
		commit = max(commit, a.CommitIndex)
	}
	for _, s := range servers {
		m := n.member(s, told[string(s.ID)], commit)
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
	m.ClockOffsetMs = time.Duration((a.Wall - n.clock.wall().UnixMicro()) * 1000).Milliseconds()
	return m
}

func role(replica bool) string {
	if replica {
		return "replica"
	}
	return "learner"
}

func (n *Node) askStatus(ctx context.Context, servers []raft.Server) map[string]*clusterpb.NodeStatus {
	told := make(map[string]*clusterpb.NodeStatus)
	for _, a := range n.askAll(ctx, servers, &clusterpb.Request{Status: &clusterpb.Status{}}) {
		told[a.Status.GetId()] = a.Status
	}
	return told
}
