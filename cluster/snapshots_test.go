package cluster

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/hashicorp/raft"
)

// Ensure a snapshot that is finished after a newer one is not kept.
func TestSnapshotsComeInOrder(t *testing.T) {
	s, err := openSnapshots(t.Context(), &Config{DataDir: t.TempDir(), Logger: discard})
	if err != nil {
		t.Fatal(err)
	}
	begin := func(index, term uint64) raft.SnapshotSink { // of which the name is made, with the millisecond
		sink, err := s.Create(raft.SnapshotVersionMax, index, term, raft.Configuration{}, 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		return sink
	}
	own, sent, next := begin(100, 1), begin(500, 1), begin(500, 2)
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

// Ensure a node that closes neither finishes a snapshot first nor reads one to
// its end: with gigabytes, either takes longer than a process has to end.
func TestSnapshotsEndWithTheNode(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	s, err := openSnapshots(ctx, &Config{DataDir: t.TempDir(), Logger: discard})
	if err != nil {
		t.Fatal(err)
	}
	create := func(index uint64) raft.SnapshotSink {
		sink, err := s.Create(raft.SnapshotVersionMax, index, 1, raft.Configuration{}, 1, nil)
		if err == nil {
			_, err = sink.Write(make([]byte, 1<<20))
		}
		if err != nil {
			t.Fatal(err)
		}
		return sink
	}
	whole, half := create(100), create(200)
	if err := whole.Close(); err != nil {
		t.Fatal(err)
	}
	_, r, err := s.Open(whole.ID())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := r.Read(make([]byte, 1)); err != nil {
		t.Error(err)
	}
	cancel(ErrClosed)
	if _, err := half.Write([]byte{1}); !errors.Is(err, ErrClosed) {
		t.Errorf("write: %v", err)
	}
	if _, err := io.Copy(io.Discard, r); !errors.Is(err, ErrClosed) {
		t.Errorf("read: %v", err)
	}
	if err := half.Cancel(); err != nil {
		t.Error(err)
	}
}
