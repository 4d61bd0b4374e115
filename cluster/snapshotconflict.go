package cluster

import (
	"fmt"

	"github.com/hashicorp/raft"
)

// noteInstalled tells of a snapshot that raft took.
func (g *rpcGate) noteInstalled(command any, a raft.RPCResponse) {
	req, ok := command.(*raft.InstallSnapshotRequest)
	if !ok || g.onInstalled == nil {
		return
	}
	if resp, ok := a.Response.(*raft.InstallSnapshotResponse); ok && a.Error == nil && resp.Success {
		g.onInstalled(req.LastLogIndex, req.LastLogTerm)
	}
}

// checkInstalled ends the node if its log conflicts with a snapshot that it
// has taken: raft keeps the log, refuses every entry that continues the
// snapshot, and is sent the same snapshot for ever (hashicorp/raft issue 697).
// The next start deletes that log ([logstore.Store.Align]) and keeps term and
// vote. No promise is broken by that: all up to the snapshot's end is
// committed and on the disk, and an entry that follows another one than the
// committed at that place was never committed itself.
//
// Only a log that was taken over by another leader, without a commit, conflicts,
// and a leader leaves no more than a few such entries behind; so they are all
// among the trailing ones, which raft keeps.
func (n *Node) checkInstalled(index, term uint64) {
	var l raft.Log
	if err := n.store.GetLog(index, &l); err != nil || l.Term == term {
		return
	}
	n.fatal(fmt.Errorf("entry %d of the log is of term %d and of term %d in a snapshot that was installed: the node must start again, which deletes that log", index, l.Term, term))
}
