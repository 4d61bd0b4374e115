package logstore

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

// failing is for a store that is to fail; the error arrives at the channel,
// which has room for more.
func failing(t testing.TB) (Config, chan error) {
	cfg, failed := testConfig(t, t.TempDir()), make(chan error, 8)
	cfg.Fatal = func(err error) { failed <- err }
	return cfg, failed
}

// everyCall makes each of the store's calls and returns those that succeed.
func everyCall(s *Store) (succeeded []string) {
	calls := map[string]func() error{
		"FirstIndex":  func() error { _, err := s.FirstIndex(); return err },
		"LastIndex":   func() error { _, err := s.LastIndex(); return err },
		"GetLog":      func() error { return s.GetLog(1, new(raft.Log)) },
		"StoreLog":    func() error { return s.StoreLog(entry(s.extent.last+1, 1)) },
		"StoreLogs":   func() error { return s.StoreLogs(nil) },
		"DeleteRange": func() error { return s.DeleteRange(1, 1) },
		"Get":         func() error { _, err := s.Get([]byte(keyVote)); return err },
		"GetUint64":   func() error { _, err := s.GetUint64([]byte(KeyTerm)); return err },
		"Set":         func() error { return s.Set([]byte(keyVote), []byte("n9")) },
		"SetUint64":   func() error { return s.SetUint64([]byte(KeyTerm), 99) },
		"the vote":    func() error { return s.SetUint64([]byte(keyVoteTerm), 99) },
		"Align":       func() error { return s.Align(1, 1) },
	}
	for name, call := range calls {
		if call() == nil {
			succeeded = append(succeeded, name)
		}
	}
	return succeeded
}

// TestFailStop fails one write of each call. It must be told of once, no call
// may succeed any more, and the file must hold what it held, or all of the call.
func TestFailStop(t *testing.T) {
	full := span{1, 1000}
	tests := []struct {
		name   string
		writes int // that succeed first
		call   func(*Store) error
		want   span // what the file then holds
	}{
		{"append", 0, func(s *Store) error { return s.StoreLogs(entries(1001, 1010, 1)) }, full},
		{"delete", 0, func(s *Store) error { return s.DeleteRange(1, 900) }, full},
		{"delete, first step", 1, func(s *Store) error { return s.DeleteRange(1, 900) }, span{901, 1000}},
		{"delete, last step", 4, func(s *Store) error { return s.DeleteRange(1, 900) }, span{901, 1000}},
		{"delete the end", 2, func(s *Store) error { return s.DeleteRange(100, 1000) }, span{1, 99}},
		{"delete all", 2, func(s *Store) error { return s.DeleteRange(1, 1000) }, span{}},
		{"replace", 1, func(s *Store) error { return s.StoreLogs(entries(2000, 2001, 1)) }, span{2000, 2001}},
		{"term", 0, func(s *Store) error { return s.SetUint64([]byte(KeyTerm), 8) }, full},
		{"vote", 0, func(s *Store) error { return s.Set([]byte(keyVote), []byte("n2")) }, full},
		{"a gap in an append", 9, func(s *Store) error { return s.StoreLogs([]*raft.Log{entry(1001, 1), entry(1003, 1)}) }, full},
		{"the head's index", 9, func(s *Store) error { return s.StoreLog(&raft.Log{Index: headIndex}) }, full},
		{"a hole", 9, func(s *Store) error { return s.DeleteRange(5, 7) }, full},
		{"waste that counts", 9, func(s *Store) error { return s.deleteStep(5, 7) }, full},
		{"an unknown value", 9, func(s *Store) error { return s.Set([]byte("x"), nil) }, full},
		{"an unknown number", 9, func(s *Store) error { return s.SetUint64([]byte("x"), 1) }, full},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg, failed := failing(t)
			broken := errors.New("input/output error")
			var left atomic.Int64
			left.Store(100)
			cfg.BeforeWrite = func() error {
				if left.Add(-1) < 0 {
					return broken
				}
				return nil
			}
			s := openStore(t, cfg)
			store(t, s, 1, 1000, 1)
			left.Store(int64(tt.writes))
			err := tt.call(s)
			if err == nil || tt.writes < 9 && !errors.Is(err, broken) {
				t.Errorf("error %v, want %v", err, broken)
			}
			if told := <-failed; told.Error() != err.Error() {
				t.Errorf("told of %v, want %v", told, err)
			}
			if calls := everyCall(s); len(calls) > 0 {
				t.Errorf("%q succeeded afterwards", calls)
			}
			s.Close()
			select {
			case err := <-failed:
				t.Errorf("told again: %v", err)
			default:
			}
			left.Store(100)
			if again := openStore(t, cfg); again.extent != tt.want || again.ballot.term != 0 {
				t.Errorf("after a restart: entries %v and term %d, want %v and 0", again.extent, again.ballot.term, tt.want)
			}
		})
	}
}

// damage writes over the file, below the store, where before is found, once
// behind every occurrence.
func damage(t *testing.T, cfg Config, before []byte, change func([]byte)) {
	t.Helper()
	path := filepath.Join(cfg.Dir, FileName)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	found := 0
	for at := 0; ; found++ {
		i := bytes.Index(b[at:], before)
		if i < 0 {
			break
		}
		piece := bytes.Clone(before)
		change(piece)
		if _, err := f.WriteAt(piece, int64(at+i)); err != nil {
			t.Fatal(err)
		}
		at += i + len(before)
	}
	if found == 0 {
		t.Fatal("there is nothing to damage")
	}
}

func flipLast(b []byte) { b[len(b)-1] ^= 0x10 }

// TestDamageWhileRunning damages the file below the running store. Whoever
// reads it next must get an error, and nobody the damaged bytes.
func TestDamageWhileRunning(t *testing.T) {
	tests := []struct {
		name   string
		damage func(*testing.T, Config)
	}{
		{"an entry", func(t *testing.T, cfg Config) { damage(t, cfg, []byte("the value of 77"), flipLast) }},
		{"a key", func(t *testing.T, cfg Config) {
			damage(t, cfg, []byte{0, 0, 0, 0, 0, 0, 0, 77}, func(b []byte) { b[4] = 1 })
		}},
		{"all leaves", damageLeaves},
		{"the file's length", func(t *testing.T, cfg Config) {
			if err := os.Truncate(filepath.Join(cfg.Dir, FileName), 8192); err != nil {
				t.Fatal(err)
			}
		}},
	}
	for _, tt := range tests {
		for _, by := range []string{"GetLog", "scrub"} {
			t.Run(tt.name+" found by "+by, func(t *testing.T) {
				cfg, failed := failing(t)
				if by == "scrub" {
					cfg.ScrubRate = 64 << 20
				} else {
					cfg.MaxCacheBytes = 1
				}
				s := openStore(t, cfg)
				for i := uint64(1); i <= 100; i++ {
					l := &raft.Log{Index: i, Data: append(bytes.Repeat([]byte("."), 500), "the value of "+string(rune('0'+i/10))+string(rune('0'+i%10))...)}
					if err := s.StoreLog(l); err != nil {
						t.Fatal(err)
					}
				}
				tt.damage(t, cfg)
				if by == "GetLog" {
					var l raft.Log
					if err := s.GetLog(77, &l); !errors.Is(err, ErrCorrupt) || l.Data != nil {
						t.Errorf("GetLog returned %q, %v", l.Data, err)
					}
				}
				if err := <-failed; !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), FileName) {
					t.Errorf("told of %v, want ErrCorrupt and the file's name", err)
				}
				if calls := everyCall(s); len(calls) > 0 {
					t.Errorf("%q succeeded afterwards", calls)
				}
			})
		}
	}
}

// Bolt panics when it is to write beside a page that is not what it was. That
// must be an error, and no obstacle to Close.
func TestDamageMeetsWriter(t *testing.T) {
	cfg, failed := failing(t)
	s := openStore(t, cfg)
	store(t, s, 1, 300, 1)
	damageLeaves(t, cfg)
	if err := s.StoreLogs(entries(301, 301, 1)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("error %v, want ErrCorrupt", err)
	}
	if err := <-failed; !errors.Is(err, ErrCorrupt) {
		t.Errorf("told of %v, want ErrCorrupt", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func damageLeaves(t *testing.T, cfg Config) {
	t.Helper()
	for id := range uint64(100) {
		leaf := order.AppendUint16(order.AppendUint64(nil, id), leafPage)
		if bytes.Contains(read(t, cfg), leaf) {
			damage(t, cfg, leaf, func(b []byte) { b[0] ^= 0x80 })
		}
	}
}

func read(t *testing.T, cfg Config) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(cfg.Dir, FileName))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestStall has the disk hang. The store must say so in time, let go of the
// caller, and close.
func TestStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, failed := failing(t)
		cfg.ScrubRate = 0
		disk := make(chan struct{}, 3) // the head, and two entries
		cfg.BeforeWrite = func() error { disk <- struct{}{}; return nil }
		s, err := Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		store(t, s, 1, 1, 1)
		time.Sleep(time.Hour) // an idle store does not stall
		store(t, s, 2, 2, 1)

		start := time.Now()
		waiting := make(chan error)
		go func() { waiting <- s.SetUint64([]byte(KeyTerm), 5) }()
		synctest.Wait()
		if err := s.StoreLogs(entries(3, 3, 1)); !errors.Is(err, ErrStalled) {
			t.Errorf("an append on a disk that hangs: %v, want ErrStalled", err)
		}
		if err := <-waiting; !errors.Is(err, ErrStalled) {
			t.Errorf("a term on a disk that hangs: %v, want ErrStalled", err)
		}
		if err := <-failed; !errors.Is(err, ErrStalled) {
			t.Errorf("told of %v, want ErrStalled", err)
		}
		if took := time.Since(start); took < 5*time.Second || took > 6*time.Second {
			t.Errorf("it took %v, want 5 to 6 s", took)
		}
		if err := s.Close(); !errors.Is(err, ErrStalled) {
			t.Errorf("Close: %v, want ErrStalled", err)
		}
		if took := time.Since(start); took > 11*time.Second {
			t.Errorf("closing took until %v", took)
		}
		<-disk // the disk wakes up
		synctest.Wait()
	})
}

// A disk that hangs while something else than the log is written must not go unnoticed.
func TestStallOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, failed := failing(t)
		s, err := Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		s.Watch()()
		time.Sleep(time.Hour)
		start, end := time.Now(), s.Watch()
		time.Sleep(time.Second)
		if s.Busy() {
			t.Error("the log is busy with what is not its own")
		}
		select {
		case err := <-failed:
			if !errors.Is(err, ErrStalled) {
				t.Errorf("told of %v, want ErrStalled", err)
			}
		case <-time.After(time.Minute):
			t.Error("nobody was told")
		}
		if took := time.Since(start); took < 5*time.Second || took > 6*time.Second {
			t.Errorf("it took %v, want 5 to 6 s", took)
		}
		end()
		s.Close()
	})
}

// A process that was stopped for long, and sees one tick then, must not take
// that for a disk that hangs.
func TestStallCountsTicks(t *testing.T) {
	var c calls
	first := c.begin()
	for range 3 {
		c.tick()
	}
	second := c.begin()
	if got := c.tick(); got != 4 {
		t.Errorf("the oldest call saw %d ticks, want 4", got)
	}
	c.end(first)
	if got := c.tick(); got != 2 {
		t.Errorf("the oldest call saw %d ticks, want 2", got)
	}
	c.end(second)
	if got := c.tick(); got != 0 {
		t.Errorf("no call saw %d ticks", got)
	}
}

func TestClose(t *testing.T) {
	s := openStore(t, testConfig(t, t.TempDir()))
	store(t, s, 1, 10, 1)
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if calls := everyCall(s); len(calls) > 0 {
		t.Errorf("%q succeeded on a closed store", calls)
	}
	if _, err := s.LastIndex(); err != ErrClosed {
		t.Errorf("error %v, want ErrClosed", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Run("a file as directory", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(testConfig(t, path)); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("error %v, want one that names %s", err, path)
		}
	})
	t.Run("no directory", func(t *testing.T) {
		if _, err := Open(testConfig(t, filepath.Join(t.TempDir(), "none"))); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("error %v, want os.ErrNotExist", err)
		}
	})
	t.Run("an incomplete config", func(t *testing.T) {
		if _, err := Open(Config{Dir: t.TempDir()}); err == nil {
			t.Error("no error")
		}
	})
	t.Run("a disk that fails", func(t *testing.T) {
		cfg := testConfig(t, t.TempDir())
		cfg.BeforeWrite = func() error { return os.ErrPermission }
		if _, err := Open(cfg); !errors.Is(err, os.ErrPermission) {
			t.Errorf("error %v, want os.ErrPermission", err)
		}
	})
}
