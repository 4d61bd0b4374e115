package cluster

import (
	"context"
	"reflect"
	"sync/atomic"
	"unsafe"

	"github.com/hashicorp/raft"

	"github.com/stateraft/stateraft/cluster/clusterpb"
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

// LeaveTransferFlag sets the flag that the library's transfer of leadership can
// leave behind (hashicorp/raft issue 696): raft refuses every write.
func (n *Node) LeaveTransferFlag() {
	flag := reflect.ValueOf(n.raft).Elem().FieldByName("leaderState").FieldByName("leadershipTransferInProgress")
	atomic.StoreInt32((*int32)(unsafe.Pointer(flag.UnsafeAddr())), 1)
}
