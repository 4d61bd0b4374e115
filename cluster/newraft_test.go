package cluster

import (
	"errors"
	"log/slog"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/stateraft/stateraft/cluster/logstore"
	"github.com/stateraft/stateraft/fsm"
)

// endingSnapshots are none, and end the log when Raft looks for them: that is
// after it has begun to read it.
type endingSnapshots struct {
	*raft.InmemSnapshotStore
	log *logstore.Store
}

func (s endingSnapshots) List() ([]*raft.SnapshotMeta, error) { return nil, s.log.Close() }

// Ensure a log that stops while Raft reads it makes the start fail, and neither
// panic nor hang.
func TestNewRaftWithoutItsLog(t *testing.T) {
	logger := slog.New(slog.DiscardHandler)
	log, err := logstore.Open(logstore.Config{Dir: t.TempDir(), Logger: logger, Fatal: func(error) {}})
	if err != nil {
		t.Fatal(err)
	}
	if err := log.StoreLog(&raft.Log{Index: 1, Term: 1, Type: raft.LogNoop}); err != nil {
		t.Fatal(err)
	}
	conf := raft.DefaultConfig()
	conf.LocalID, conf.Logger = "n1", newRaftLogger(logger)
	transport := testTransport(t, "n1", "c", nil).raftTransport()
	r, err := newRaft(conf, &raftFSM{state: fsm.New()}, log, endingSnapshots{raft.NewInmemSnapshotStore(), log}, transport)
	if r != nil || !errors.Is(err, logstore.ErrClosed) {
		t.Errorf("newRaft = %v, %v, want %v", r, err, logstore.ErrClosed)
	}
}
