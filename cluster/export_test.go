package cluster

import (
	"reflect"
	"sync/atomic"
	"unsafe"

	"github.com/hashicorp/raft"
)

// Raft is the node's raft, for tests that need what a node never does.
func (n *Node) Raft() *raft.Raft { return n.raft.(*raft.Raft) }

// ClusterID is nil while the node belongs to no cluster.
func (n *Node) ClusterID() []byte { return n.id.clusterID() }

// LeaveTransferFlag sets the flag that the library's transfer of leadership can
// leave behind (hashicorp/raft issue 696): raft refuses every write.
func (n *Node) LeaveTransferFlag() {
	flag := reflect.ValueOf(n.raft).Elem().FieldByName("leaderState").FieldByName("leadershipTransferInProgress")
	atomic.StoreInt32((*int32)(unsafe.Pointer(flag.UnsafeAddr())), 1)
}
