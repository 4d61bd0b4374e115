package cluster

import (
	"testing"

	"github.com/hashicorp/raft"
)

// Ensure a snapshot that is finished after a newer one is not kept.
func TestSnapshotsComeInOrder(t *testing.T) {
	s, err := openSnapshots(&Config{DataDir: t.TempDir(), Logger: discard})
	if err != nil {
		t.Fatal(err)
	}
	begin := func(index uint64) raft.SnapshotSink {
		sink, err := s.Create(raft.SnapshotVersionMax, index, 1, raft.Configuration{}, 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		return sink
	}
	own, sent, next := begin(100), begin(500), begin(500)
	if err := sent.Close(); err != nil {
		t.Fatal(err)
	}
	if own.Close() == nil {
		t.Error("an older one was finished")
	}
	if err := own.Cancel(); err != nil {
		t.Error(err)
	}
	if err := next.Close(); err != nil {
		t.Errorf("one that is as new: %v", err)
	}
	list, err := s.List()
	if err != nil || len(list) != 2 || list[0].Index != 500 || list[1].Index != 500 {
		t.Errorf("there are %v, %v", list, err)
	}
}
