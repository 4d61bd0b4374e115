package cluster

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/stateraft/stateraft/cluster/logstore"
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
	if _, _, err := s.Open(whole.ID()); !errors.Is(err, ErrClosed) {
		t.Errorf("open: %v", err)
	}
	select {
	case <-s.damaged:
		t.Error("one that was not read is told to be damaged")
	default:
	}
}

// Ensure a snapshot that a process did not finish leaves nothing on the disk.
func TestUnfinishedSnapshots(t *testing.T) {
	cfg := &Config{DataDir: t.TempDir(), Logger: discard}
	open := func() *snapshots {
		s, err := openSnapshots(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	create := func(s *snapshots, index uint64) raft.SnapshotSink {
		sink, err := s.Create(raft.SnapshotVersionMax, index, 1, raft.Configuration{}, 1, nil)
		if err == nil {
			_, err = sink.Write(make([]byte, 1<<20))
		}
		if err != nil {
			t.Fatal(err)
		}
		return sink
	}
	s := open()
	kept, cancelled := create(s, 100), create(s, 200)
	if err := kept.Close(); err != nil {
		t.Fatal(err)
	}
	if err := cancelled.Cancel(); err != nil {
		t.Error(err)
	}
	create(s, 300) // and the process dies
	open()
	entries, err := os.ReadDir(s.dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != kept.ID() {
		t.Errorf("there are %v, %v, want %s alone", entries, err, kept.ID())
	}
}

// Ensure a node whose newest snapshot is damaged goes on only if its log has what
// that held: what it had acknowledged must not be forgotten.
func TestAlignBesideDamage(t *testing.T) {
	for _, tt := range []struct {
		name        string
		snapshots   []uint64 // the last one is damaged
		first, last uint64   // of the log; 0: it is empty
		corrupt     bool
	}{
		{"the log has it", []uint64{100, 300}, 51, 310, false},
		{"the log ends with it", []uint64{100, 300}, 51, 300, false},
		{"the log ends before", []uint64{100, 300}, 51, 299, true},
		{"the log ends before both", []uint64{100, 300}, 51, 90, true},
		{"the log is empty", []uint64{100, 300}, 0, 0, true},
		{"there is no other, and the log has all", []uint64{300}, 1, 310, false},
		{"there is no other, and the log has its end", []uint64{300}, 200, 310, true},
		{"there is no other, and the log is empty", []uint64{300}, 0, 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := Config{DataDir: t.TempDir(), Logger: discard}
			s, err := openSnapshots(t.Context(), &cfg)
			if err != nil {
				t.Fatal(err)
			}
			var last string
			for _, index := range tt.snapshots {
				sink, err := s.Create(raft.SnapshotVersionMax, index, 5, raft.Configuration{}, 1, nil)
				if err != nil {
					t.Fatal(err)
				}
				if err := sink.Close(); err != nil {
					t.Fatal(err)
				}
				last = sink.ID()
			}
			if err := os.Truncate(filepath.Join(s.dir, last, snapshotState), 1); err != nil {
				t.Fatal(err)
			}
			store, err := logstore.Open(logstore.Config{Dir: cfg.DataDir, Logger: discard, Fatal: func(err error) { t.Error(err) }})
			if err != nil {
				t.Fatal(err)
			}
			defer store.Close()
			if tt.first > 0 {
				if err := store.StoreLogs(entries(tt.first, tt.last)); err != nil {
					t.Fatal(err)
				}
			}
			n := &Node{cfg: cfg, ctx: t.Context(), store: store}
			if err := n.alignLog(s); errors.Is(err, logstore.ErrCorrupt) != tt.corrupt || !tt.corrupt && err != nil {
				t.Errorf("error %v, want one of damage: %v", err, tt.corrupt)
			}
		})
	}
}
