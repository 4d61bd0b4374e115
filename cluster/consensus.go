package cluster

import (
	"time"

	"github.com/hashicorp/raft"
)

// consensus is what a node uses of [raft.Raft], whose methods these are. The
// simulation has another one, which loses and delays more.
type consensus interface {
	Apply(data []byte, timeout time.Duration) raft.ApplyFuture
	Snapshot() raft.SnapshotFuture
	Shutdown() raft.Future

	CurrentTerm() uint64
	CommitIndex() uint64
	LastIndex() uint64
	State() raft.RaftState
	Stats() map[string]string
	LeaderWithID() (raft.ServerAddress, raft.ServerID)
	RegisterObserver(*raft.Observer)
	DeregisterObserver(*raft.Observer)

	BootstrapCluster(raft.Configuration) raft.Future
	GetConfiguration() raft.ConfigurationFuture
	AddVoter(raft.ServerID, raft.ServerAddress, uint64, time.Duration) raft.IndexFuture
	AddNonvoter(raft.ServerID, raft.ServerAddress, uint64, time.Duration) raft.IndexFuture
	RemoveServer(raft.ServerID, uint64, time.Duration) raft.IndexFuture
	ReloadConfig(raft.ReloadableConfig) error
	ReloadableConfig() raft.ReloadableConfig
}

var _ consensus = (*raft.Raft)(nil)
