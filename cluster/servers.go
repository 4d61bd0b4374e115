package cluster

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/stateraft/stateraft/cluster/clusterpb"
)

// voters returns the servers that may vote in the latest configuration.
func (n *Node) voters() []raft.Server { return votersOf(n.servers()) }

func votersOf(servers []raft.Server) []raft.Server {
	var voters []raft.Server
	for _, s := range servers {
		if s.Suffrage == raft.Voter {
			voters = append(voters, s)
		}
	}
	return voters
}

// servers returns all servers of the latest configuration.
func (n *Node) servers() []raft.Server {
	f := n.raft.GetConfiguration()
	if f.Error() != nil {
		return nil
	}
	return f.Configuration().Servers
}

// askTimeout bounds a question to other nodes that a leader can do without.
const askTimeout = 500 * time.Millisecond

// askAll asks every server but this node and returns the answers that came in
// time.
func (n *Node) askAll(ctx context.Context, servers []raft.Server, req *clusterpb.Request) []*clusterpb.Response {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var (
		mu      sync.Mutex
		answers []*clusterpb.Response
		wg      sync.WaitGroup
	)
	for _, s := range servers {
		if string(s.ID) == n.id.nodeID() {
			continue
		}
		wg.Go(func() {
			resp, err := n.call(ctx, n.gossip.locate(s.ID, s.Address), req)
			if err != nil || resp.Code != clusterpb.Response_OK {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			answers = append(answers, resp)
		})
	}
	wg.Wait()
	return answers
}

// statusOf asks one server but this node; nil if it does not answer in time.
func (n *Node) statusOf(ctx context.Context, s raft.Server) *clusterpb.NodeStatus {
	for _, a := range n.askAll(ctx, []raft.Server{s}, &clusterpb.Request{Status: &clusterpb.Status{}}) {
		return a.Status
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
