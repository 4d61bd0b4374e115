package cluster

import (
	"cmp"
	"strings"

	"github.com/hashicorp/raft"
)

// at is the address of a node for this transport, which hangs up on any other
// that answers there. Configurations and gossip may be old, and gossip forged;
// and a node that answered for two would count twice in a quorum.
func at(nodeID, addr string) string { return nodeID + "@" + addr }

// splitAt undoes at. An address alone is that of whoever answers.
func splitAt(address string) (nodeID, addr string) {
	if nodeID, addr, ok := strings.Cut(address, "@"); ok {
		return nodeID, addr
	}
	return "", address
}

// locate returns where a member is: where gossip shows it, else where the
// configuration has it. The configuration learns of a move from a leader, and
// there is none to be had while a majority cannot be reached where it was. An
// address that gossip shows for two nodes is a mistake of one of them, and
// counts for neither. A nil gossip shows nobody.
func (g *gossip) locate(id raft.ServerID, configured raft.ServerAddress) string {
	if g == nil {
		return at(string(id), string(configured))
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	shown := g.alive[string(id)].GetRaft()
	for other, m := range g.alive {
		if m.Raft == shown && other != string(id) {
			shown = ""
		}
	}
	return at(string(id), cmp.Or(shown, string(configured)))
}

func (r *raftTransport) locate(id raft.ServerID, configured raft.ServerAddress) raft.ServerAddress {
	return raft.ServerAddress(r.gossip.Load().locate(id, configured))
}
