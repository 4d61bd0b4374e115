package cluster

import (
	"context"
	"errors"
	"reflect"
	"sync/atomic"
	"unsafe"

	"github.com/hashicorp/raft"

	"github.com/stateraft/stateraft/cluster/clusterpb"
	"github.com/stateraft/stateraft/fsm/fsmpb"
)

// Raft is the node's raft, for tests that need what a node never does.
func (n *Node) Raft() *raft.Raft { return n.raft.(*raft.Raft) }

// ClusterID is nil while the node belongs to no cluster.
func (n *Node) ClusterID() []byte { return n.id.clusterID() }

// Admit is how the node answers one that wants to join.
func (n *Node) Admit(ctx context.Context, id, raftAddr string) error {
	_, err := n.admit(ctx, &clusterpb.Join{NodeId: id, Name: id, Raft: raftAddr, MinVersion: 1, MaxVersion: n.state.Version()})
	return err
}

// RestoreStep has the leader take one step of a restore.
func (n *Node) RestoreStep(ctx context.Context, s *fsmpb.Restore) (*fsmpb.RestoreAnswer, error) {
	resp, err := n.submit(ctx, &clusterpb.Propose{Restore: s}, attemptTimeout)
	return resp.GetRestore(), err
}

// HasEntry reports whether the node's log has the entry.
func (n *Node) HasEntry(index uint64) bool { return n.store.GetLog(index, new(raft.Log)) == nil }

// SendSnapshot sends the node's newest snapshot to another, as raft would to a
// follower that seems to need it.
func (n *Node) SendSnapshot(to *Node) (end uint64, err error) {
	list, err := n.snapshots.List()
	if err != nil {
		return 0, err
	}
	meta, data, err := n.snapshots.Open(list[0].ID)
	if err != nil {
		return 0, err
	}
	defer data.Close()
	resp := new(raft.InstallSnapshotResponse)
	err = n.rafts.InstallSnapshot(raft.ServerID(to.id.nodeID()), to.rafts.LocalAddr(), &raft.InstallSnapshotRequest{
		RPCHeader: n.rpcHeader(), SnapshotVersion: meta.Version, Term: n.raft.CurrentTerm(),
		LastLogIndex: meta.Index, LastLogTerm: meta.Term, Size: meta.Size,
		Configuration: raft.EncodeConfiguration(meta.Configuration), ConfigurationIndex: meta.ConfigurationIndex,
	}, resp, data)
	if err == nil && !resp.Success {
		err = errors.New("the snapshot was not taken")
	}
	return meta.Index, err
}

// SendEntries sends another node the entries from first to last, as raft would
// to a follower that seems to lack them.
func (n *Node) SendEntries(to *Node, first, last uint64) error {
	before, err := n.termAt(first - 1)
	if err != nil {
		return err
	}
	req := &raft.AppendEntriesRequest{
		RPCHeader: n.rpcHeader(), Term: n.raft.CurrentTerm(), PrevLogEntry: first - 1, PrevLogTerm: before, LeaderCommitIndex: n.raft.CommitIndex(),
	}
	for i := first; i <= last; i++ {
		l := new(raft.Log)
		if err := n.store.GetLog(i, l); err != nil {
			return err
		}
		req.Entries = append(req.Entries, l)
	}
	resp := new(raft.AppendEntriesResponse)
	err = n.rafts.AppendEntries(raft.ServerID(to.id.nodeID()), to.rafts.LocalAddr(), req, resp)
	if err == nil && !resp.Success {
		err = errors.New("the entries were refused")
	}
	return err
}

// termAt returns the term of an entry that is in the log, or the last of the
// snapshot: if anything follows it by then, the log need not keep it.
func (n *Node) termAt(index uint64) (uint64, error) {
	var l raft.Log
	err := n.store.GetLog(index, &l)
	if list, listErr := n.snapshots.List(); err != nil && listErr == nil && len(list) > 0 && list[0].Index == index {
		return list[0].Term, nil
	}
	return l.Term, err
}

func (n *Node) rpcHeader() raft.RPCHeader {
	return raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(n.id.nodeID()), Addr: n.rafts.EncodePeer("", n.rafts.LocalAddr())}
}

// LeaveTransferFlag sets the flag that the library's transfer of leadership can
// leave behind (hashicorp/raft issue 696): raft refuses every write.
func (n *Node) LeaveTransferFlag() {
	flag := reflect.ValueOf(n.raft).Elem().FieldByName("leaderState").FieldByName("leadershipTransferInProgress")
	atomic.StoreInt32((*int32)(unsafe.Pointer(flag.UnsafeAddr())), 1)
}

// HandOverToReady is what a leader that drains tries.
func (n *Node) HandOverToReady(ctx context.Context) (tried bool, err error) {
	return n.handOverToReady(ctx)
}

// OtherVoters returns the ids of the voters beside this one, in the order in
// which they are asked to lead.
func (n *Node) OtherVoters() []string {
	var ids []string
	for _, s := range n.otherVoters() {
		ids = append(ids, string(s.ID))
	}
	return ids
}
