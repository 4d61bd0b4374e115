package client

import (
	"context"
	"net/url"
)

// Cluster is the administration of the cluster.
type Cluster struct{ c *Client }

// ClusterStatus is the cluster as the node asked sees it.
type ClusterStatus struct {
	ClusterID string         `json:"clusterId"`
	Leader    string         `json:"leader"` // name; empty: none known
	Term      uint64         `json:"term"`
	Revision  uint64         `json:"revision"`
	Version   ClusterVersion `json:"version"`
	Nodes     []ClusterNode  `json:"nodes"`
}

// ClusterVersion tells protocol versions: the one in use, and the range that
// the node asked can speak.
type ClusterVersion struct {
	Cluster uint32 `json:"cluster"`
	Min     uint32 `json:"min"`
	Max     uint32 `json:"max"`
}

// ClusterNode is one member. What only a node itself knows (indexes, hash,
// clock) is zero while it does not answer.
type ClusterNode struct {
	ID            string `json:"id"`
	Name          string `json:"name"`
	Role          string `json:"role"` // voter, learner (to be promoted), replica
	Leader        bool   `json:"leader"`
	HTTP          string `json:"http"` // host:port
	Raft          string `json:"raft"`
	Gossip        string `json:"gossip"`
	Healthy       bool   `json:"healthy"`
	AppliedIndex  uint64 `json:"appliedIndex"`
	CommitIndex   uint64 `json:"commitIndex"`
	Lag           uint64 `json:"lag"` // log entries behind the leader
	Revision      uint64 `json:"revision"`
	ClockOffsetMs int64  `json:"clockOffsetMs"` // its wall clock minus the leader's
	StateHash     string `json:"stateHash"`     // equal on nodes of equal AppliedIndex
	Binary        string `json:"binary"`
}

// Status returns the members of the cluster and how they are.
func (cl *Cluster) Status(ctx context.Context) (ClusterStatus, error) {
	var status ClusterStatus
	err := cl.c.do(ctx, &request{kind: read, method: "GET", path: "/v1/cluster"}, &status)
	return status, err
}

// TransferLeadership moves leadership to a node, by name or id; empty: to one
// that is ready. It returns when the transfer has been carried out, so
// Config.AttemptTimeout should leave it time.
func (cl *Cluster) TransferLeadership(ctx context.Context, to string) error {
	r := &request{kind: write, method: "POST", path: "/v1/cluster/leader/transfer"}
	if to != "" {
		body, err := encode(map[string]string{"to": to})
		if err != nil {
			return err
		}
		r.body = body
	}
	return cl.c.do(ctx, r, nil)
}

// RemoveMember takes a node, by name or id, out of the cluster for good. It can
// come back as a new node only, with an empty data directory.
func (cl *Cluster) RemoveMember(ctx context.Context, node string) error {
	if err := checkSegment("node", node); err != nil {
		return err
	}
	return cl.c.do(ctx, &request{kind: write, method: "DELETE", path: "/v1/cluster/members/" + url.PathEscape(node)}, nil)
}

// Drain takes the node at the first of Config.Endpoints, and no other, out of
// service until its process restarts: it stops being ready, and leadership
// moves away from it, while it still serves requests. It may be called again.
// It is sent once, and returns when leadership has moved, so
// Config.AttemptTimeout should leave it time. After any error the node may drain
// and lead nevertheless; it goes on trying to have another lead.
func (cl *Cluster) Drain(ctx context.Context) error {
	return cl.c.do(ctx, &request{kind: local, method: "POST", path: "/v1/cluster/drain"}, nil)
}

// Health returns nil if the endpoint in use is alive, whether or not it can
// serve. It asks once.
func (c *Client) Health(ctx context.Context) error {
	return c.do(ctx, &request{kind: probe, method: "GET", path: "/health"}, nil)
}

// Ready returns nil if the endpoint in use can serve: it knows a leader and has
// caught up. It asks once.
func (c *Client) Ready(ctx context.Context) error {
	return c.do(ctx, &request{kind: probe, method: "GET", path: "/ready"}, nil)
}
