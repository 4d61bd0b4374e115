package cluster

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

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
	if err := next.Close(); err != nil {
		t.Errorf("one that is as new: %v", err)
	}
	if entries, err := os.ReadDir(s.dir); err != nil || len(entries) != 2 {
		t.Errorf("there are %v, %v, want two", entries, err)
	}
	list, err := s.List()
	if err != nil || len(list) != 2 || list[0].Index != 500 || list[1].Index != 500 {
		t.Errorf("there are %v, %v", list, err)
	}
}

// Ensure a node that could not read what it was sent may be sent something older,
// and only then.
func TestSnapshotThatRaftDidNotTake(t *testing.T) {
	s, err := openSnapshots(t.Context(), &Config{DataDir: t.TempDir(), Logger: discard})
	if err != nil {
		t.Fatal(err)
	}
	finish := func(index uint64) (id string, err error) {
		sink, err := s.Create(raft.SnapshotVersionMax, index, 1, raft.Configuration{}, 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		return sink.ID(), sink.Close()
	}
	damage := func(id string) {
		if err := os.Truncate(filepath.Join(s.dir, id, snapshotState), 1); err != nil {
			t.Fatal(err)
		}
		if s.check(id) == nil {
			t.Error("it is damaged and could be read")
		}
	}
	first, err := finish(100)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.check(first); err != nil {
		t.Fatal(err)
	}
	sent, err := finish(500)
	if err != nil {
		t.Fatal(err)
	}
	damage(first)
	if _, err := finish(300); err == nil {
		t.Error("an older one was finished, for another is damaged")
	}
	damage(sent)
	if _, err := finish(99); err == nil {
		t.Error("one was finished that is older than what raft has taken")
	}
	if _, err := finish(300); err != nil {
		t.Errorf("an older one: %v", err)
	}
}

// createSnapshot begins a snapshot of a megabyte.
func createSnapshot(t *testing.T, s *snapshots, index uint64) raft.SnapshotSink {
	t.Helper()
	sink, err := s.Create(raft.SnapshotVersionMax, index, 1, raft.Configuration{}, 1, nil)
	if err == nil {
		_, err = sink.Write(make([]byte, 1<<20))
	}
	if err != nil {
		t.Fatal(err)
	}
	return sink
}

// Ensure the disk is watched while a snapshot begins and is written, and at no other
// time: to finish a large one may take long.
func TestSnapshotsAreWatched(t *testing.T) {
	s, err := openSnapshots(t.Context(), &Config{DataDir: t.TempDir(), Logger: discard})
	if err != nil {
		t.Fatal(err)
	}
	begun, ended := 0, 0
	s.watch = func() func() { begun++; return func() { ended++ } }
	sink, err := s.Create(raft.SnapshotVersionMax, 7, 1, raft.Configuration{}, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	if begun != 2 || ended != 2 { // it begins with a seal
		t.Errorf("%d calls were watched and %d ended, want 2", begun, ended)
	}
	if _, err := sink.Write([]byte("state")); err != nil {
		t.Fatal(err)
	}
	if err := sink.Close(); err != nil {
		t.Fatal(err)
	}
	if begun != 3 || ended != 3 {
		t.Errorf("%d calls were watched and %d ended, want 3", begun, ended)
	}
}

// Ensure a bit that flips anywhere in a snapshot is found, or changes nothing that
// raft takes from it. Peers are left out, which are for old libraries.
func TestFlippedSnapshots(t *testing.T) {
	s, err := openSnapshots(t.Context(), &Config{DataDir: t.TempDir(), Logger: discard})
	if err != nil {
		t.Fatal(err)
	}
	_, trans := raft.NewInmemTransport("")
	servers := []raft.Server{{ID: "n1", Address: "127.0.0.1:7475"}, {ID: "n2", Address: "127.0.0.1:7476"}}
	sink, err := s.Create(raft.SnapshotVersionMax, 105, 12, raft.Configuration{Servers: servers}, 3, trans)
	if err == nil {
		_, err = sink.Write([]byte("state"))
	}
	if err == nil {
		err = sink.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	read := func() (*raft.SnapshotMeta, error) {
		meta, r, err := s.Open(sink.ID())
		if err != nil {
			return nil, err
		}
		meta.Peers = nil
		return meta, r.Close()
	}
	want, err := read()
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{snapshotState, "meta.json"} {
		path := filepath.Join(s.dir, sink.ID(), file)
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := range whole {
			flipped := bytes.Clone(whole)
			flipped[i] ^= 1
			if err := os.WriteFile(path, flipped, 0o600); err != nil {
				t.Fatal(err)
			}
			if meta, err := read(); err == nil && (file == snapshotState || !reflect.DeepEqual(meta, want)) {
				t.Errorf("byte %d of %s: read %+v, want %+v", i, file, meta, want)
			}
		}
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
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
	whole, half := createSnapshot(t, s, 100), createSnapshot(t, s, 200)
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
	s := open()
	kept, cancelled := createSnapshot(t, s, 100), createSnapshot(t, s, 200)
	if err := kept.Close(); err != nil {
		t.Fatal(err)
	}
	if err := cancelled.Cancel(); err != nil {
		t.Error(err)
	}
	createSnapshot(t, s, 300) // and the process dies
	open()
	entries, err := os.ReadDir(s.dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != kept.ID() {
		t.Errorf("there are %v, %v, want %s alone", entries, err, kept.ID())
	}
}

// Ensure damaged snapshots count for nothing if the log holds all, and are damage
// of the disk if they may have held what the log does not.
func TestDamagedSnapshotsAndTheLog(t *testing.T) {
	cutState := func(dir string) error { return os.Truncate(filepath.Join(dir, snapshotState), 1) }
	cutDescription := func(dir string) error { return os.Truncate(filepath.Join(dir, "meta.json"), 1) }
	for _, tt := range []struct {
		name        string
		first, last uint64 // of the log; 0: it is empty
		damage      func(dir string) error
		want        error
	}{
		{"complete log", 1, 3, cutState, nil},
		{"complete log that ends behind it", 1, 9, cutState, nil},
		{"complete log, unreadable description", 1, 9, cutDescription, nil},
		{"log that begins later", 2, 9, cutState, logstore.ErrCorrupt},
		{"empty log", 0, 0, cutState, logstore.ErrCorrupt},
		{"empty log, unreadable description", 0, 0, cutDescription, logstore.ErrCorrupt},
		{"empty log and no snapshot", 0, 0, os.RemoveAll, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := Config{DataDir: t.TempDir(), Logger: discard}
			s, err := openSnapshots(t.Context(), &cfg)
			if err != nil {
				t.Fatal(err)
			}
			sink, err := s.Create(raft.SnapshotVersionMax, 5, 1, raft.Configuration{}, 1, nil)
			if err == nil {
				err = sink.Close()
			}
			if err == nil {
				err = tt.damage(filepath.Join(s.dir, sink.ID()))
			}
			if err != nil {
				t.Fatal(err)
			}
			store, err := logstore.Open(logstore.Config{Dir: cfg.DataDir, Logger: discard, Fatal: func(error) {}})
			if err != nil {
				t.Fatal(err)
			}
			defer store.Close()
			for i := tt.first; i > 0 && i <= tt.last; i++ {
				if err := store.StoreLog(&raft.Log{Index: i, Term: 1}); err != nil {
					t.Fatal(err)
				}
			}
			n := &Node{cfg: cfg, store: store, ctx: t.Context(), clock: newClock(nil, newMonotonic())}
			if err := n.alignLog(s); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			if list, err := s.List(); err != nil || len(list) > 0 {
				t.Errorf("raft is shown %v, %v, want nothing", list, err)
			}
			if last, err := store.LastIndex(); err != nil || last != tt.last {
				t.Errorf("the log ends with %d, %v, want %d", last, err, tt.last)
			}
		})
	}
}

// A snapshotTaker is a Raft that takes snapshots once it can.
type snapshotTaker struct {
	consensus
	asked atomic.Int32
	can   atomic.Bool
}

func (r *snapshotTaker) Snapshot() raft.SnapshotFuture {
	r.asked.Add(1)
	if r.can.Load() {
		return snapshotFuture{}
	}
	return snapshotFuture{raft.ErrNothingNewToSnapshot}
}

type snapshotFuture struct{ err error }

func (f snapshotFuture) Error() error { return f.err }

func (snapshotFuture) Open() (*raft.SnapshotMeta, io.ReadCloser, error) { return nil, nil, nil }

// Ensure a node that can take no snapshot for an hour does not spend it reading a
// damaged one, and replaces it once it can.
func TestDamagedSnapshotThatCannotBeReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := Config{DataDir: t.TempDir(), Logger: discard}
		cfg.setDefaults()
		s, err := openSnapshots(t.Context(), &cfg)
		if err != nil {
			t.Fatal(err)
		}
		sink := createSnapshot(t, s, 5)
		damaged := filepath.Join(s.dir, sink.ID())
		if err := errors.Join(sink.Close(), os.Truncate(filepath.Join(damaged, snapshotState), 1)); err != nil {
			t.Fatal(err)
		}
		r := new(snapshotTaker)
		n := &Node{cfg: cfg, snapshots: s, raft: r, ctx: t.Context()}
		go n.scrubSnapshots(t.Context())
		s.damaged.signal()
		time.Sleep(time.Minute)
		if asked := r.asked.Load(); asked < 5 || asked > 7 {
			t.Errorf("it tried %d times in the first minute, want after 1, 2, 4, 8, ... s", asked)
		}
		time.Sleep(time.Hour)
		if asked := r.asked.Load(); asked > 70 {
			t.Errorf("it tried %d times in an hour", asked)
		}
		r.can.Store(true)
		time.Sleep(longestReplacePause)
		synctest.Wait()
		if _, err := os.Stat(damaged); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("then it is not replaced: %v", err)
		}
	})
}
