package cluster

import (
	"fmt"

	"github.com/hashicorp/raft"

	"github.com/stateraft/stateraft/cluster/logstore"
)

// newRaft is raft.NewRaft on a goroutine of its own, which ends if the log
// stops while Raft reads it: see [logstore.ForRaft].
func newRaft(conf *raft.Config, fsm raft.FSM, log *logstore.Store, snapshots raft.SnapshotStore, t *raftTransport) (*raft.Raft, error) {
	var r *raft.Raft
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		stores := logstore.ForRaft{Store: log}
		r, err = raft.NewRaft(conf, fsm, stores, t.guardTerm(stores), snapshots, t)
	}()
	<-done
	if r == nil && err == nil {
		err = log.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("start raft: %w", err)
	}
	return r, nil
}
