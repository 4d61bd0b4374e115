package cluster

import (
	"fmt"

	"github.com/stateraft/stateraft/fsm"
)

// Backup freezes this node's state for a backup, without the keys of the
// namespace omit. It is as fresh as the state: [Node.ReadIndex] comes first.
func (n *Node) Backup(omit string) *fsm.Backup {
	return n.state.Backup(fmt.Sprintf("%x", n.id.clusterID()), n.clock.wall(), omit)
}
