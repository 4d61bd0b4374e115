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

// checkInstalled looks at the log behind a snapshot that the node has taken. Raft
// keeps it, although its end may never have been committed, where another leader
// has taken over.
//
// If the log ends before the snapshot, it is deleted: raft, once it leads, would
// send such entries to followers, and have them committed there, until its first
// own one is written.
//
// If the log conflicts with the snapshot, the node ends: raft refuses every entry
// that continues the snapshot, and is sent the same snapshot for ever
// (hashicorp/raft issue 697). The next start deletes that log
// ([logstore.Store.Align]). A leader leaves no more than a few such entries
// behind; so they are all among the trailing ones, which raft keeps.
//
// No promise is broken by either, and term and vote stay: all up to the
// snapshot's end is committed and on the disk, and an entry that follows another
// one than the committed at that place was never committed itself.
func (n *Node) checkInstalled(index, term uint64) {
	last, err := n.store.LastIndex()
	if err != nil {
		return // the node ends
	}
	if last < index {
		_ = n.store.DeleteRange(1, index) // the same
		return
	}
	var l raft.Log
	if err := n.store.GetLog(index, &l); err != nil || l.Term == term {
		return
	}
	n.fatal(fmt.Errorf("entry %d of the log is of term %d and of term %d in a snapshot that was installed: the node must start again, which deletes that log", index, l.Term, term))
}
