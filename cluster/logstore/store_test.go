package logstore

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/stateraft/stateraft/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// testConfig is for a store that must not fail.
func testConfig(t testing.TB, dir string) Config {
	return Config{
		Dir: dir, Logger: quiet, ScrubRate: -1,
		Fatal: func(err error) { t.Errorf("the store failed: %v", err) },
	}
}

// openStore opens a store and closes it at the end of the test.
func openStore(t testing.TB, cfg Config) *Store {
	t.Helper()
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// entry is an entry whose every field follows from index and term.
func entry(index, term uint64) *raft.Log {
	l := &raft.Log{
		Index: index, Term: term, Type: raft.LogType(index % 3),
		Data:       bytes.Repeat([]byte{byte(index), byte(term)}, int(index*37%400)),
		AppendedAt: time.Unix(int64(index), int64(term)),
	}
	if index%5 == 0 {
		l.Extensions = []byte("extension")
	}
	return l
}

func entries(low, high, term uint64) []*raft.Log {
	var logs []*raft.Log
	for i := low; i <= high; i++ {
		logs = append(logs, entry(i, term))
	}
	return logs
}

func store(t testing.TB, s *Store, low, high, term uint64) {
	t.Helper()
	if err := s.StoreLogs(entries(low, high, term)); err != nil {
		t.Fatal(err)
	}
}

func sameEntry(a, b *raft.Log) bool {
	return a.Index == b.Index && a.Term == b.Term && a.Type == b.Type && bytes.Equal(a.Data, b.Data) &&
		bytes.Equal(a.Extensions, b.Extensions) && a.AppendedAt.Equal(b.AppendedAt)
}

// model is what a store should hold.
type model struct {
	log    map[uint64]*raft.Log
	extent span
	ballot
}

func (m model) clone() model {
	m.log = maps.Clone(m.log)
	return m
}

func (m *model) store(logs []*raft.Log) {
	first := logs[0].Index
	if m.extent.empty() || first < m.extent.first || first > m.extent.last+1 {
		clear(m.log)
		m.extent.first = first
	}
	maps.DeleteFunc(m.log, func(i uint64, _ *raft.Log) bool { return i >= first })
	for _, l := range logs {
		m.log[l.Index] = l
		m.extent.last = l.Index
	}
}

func (m *model) delete(low, high uint64) {
	maps.DeleteFunc(m.log, func(i uint64, _ *raft.Log) bool { return low <= i && i <= high })
	left := slices.Sorted(maps.Keys(m.log))
	if len(left) == 0 {
		m.extent = span{}
	} else {
		m.extent = span{left[0], left[len(left)-1]}
	}
}

// difference says how s differs from m, "" if it does not.
func (m *model) difference(s *Store) string {
	if s.extent != m.extent || s.ballot.term != m.term || s.ballot.voteTerm != m.voteTerm || !bytes.Equal(s.ballot.candidate, m.candidate) {
		return "extent or ballot"
	}
	for i := max(1, m.extent.first-min(3, m.extent.first)); i <= m.extent.last+3; i++ {
		var l raft.Log
		err := s.GetLog(i, &l)
		if want := m.log[i]; want == nil && err != raft.ErrLogNotFound || want != nil && (err != nil || !sameEntry(want, &l)) {
			return "an entry"
		}
	}
	return ""
}

// checkCrash opens the file as a crash would leave it and compares.
func checkCrash(t *testing.T, file []byte, want ...*model) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, FileName), file, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(testConfig(t, dir))
	if err != nil {
		t.Fatalf("after a crash: %v", err)
	}
	defer s.Close()
	differences := []string{}
	for _, m := range want {
		d := m.difference(s)
		if d == "" {
			return
		}
		differences = append(differences, d)
	}
	t.Fatalf("after a crash the store has entries %d to %d and the ballot %v; it differs from what it may have in %q", s.extent.first, s.extent.last, s.ballot, differences)
}

// step makes one random call on s and m.
func step(t *testing.T, r *rand.Rand, s *Store, m *model) {
	t.Helper()
	var err error
	e := m.extent
	switch r.IntN(12) {
	case 0: // what a snapshot makes unnecessary
		if !e.empty() {
			high := e.first + r.Uint64N(e.size())
			err = s.DeleteRange(e.first, high)
			m.delete(e.first, high)
		}
	case 1: // what conflicts with the leader
		if !e.empty() {
			low := e.first + r.Uint64N(e.size())
			err = s.DeleteRange(low, e.last)
			m.delete(low, e.last)
		}
	case 2:
		term := m.term + 1 + r.Uint64N(3)
		err = s.SetUint64([]byte(KeyTerm), term)
		m.term = term
	case 3:
		m.voteTerm, m.candidate = m.term+1, []byte{'n', byte('0' + r.IntN(3))}
		err = errors.Join(s.SetUint64([]byte(keyVoteTerm), m.voteTerm), s.Set([]byte(keyVote), m.candidate))
	case 4: // behind an installed snapshot
		logs := entries(e.last+2+r.Uint64N(50), e.last+60, m.term)
		err = s.StoreLogs(logs)
		m.store(logs)
	case 5: // over entries of its own
		if !e.empty() {
			low := e.first + r.Uint64N(e.size())
			logs := entries(low, low+r.Uint64N(20), m.term+7)
			err = s.StoreLogs(logs)
			m.store(logs)
		}
	default:
		logs := entries(e.last+1, e.last+1+r.Uint64N(1<<r.IntN(9)), m.term)
		err = s.StoreLogs(logs)
		m.store(logs)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestModel compares the store with a model over random calls, and at each
// transaction what a crash would leave: before it, behind it, and with its
// pages written but not its meta page.
func TestModel(t *testing.T) {
	for seed := range uint64(4) {
		r := rand.New(rand.NewPCG(seed, 0))
		dir := t.TempDir()
		path := filepath.Join(dir, FileName)
		m := model{log: map[uint64]*raft.Log{}}
		var images [][]byte // the file ahead of each transaction of a call
		cfg := testConfig(t, dir)
		cfg.MaxCacheBytes = 4 << 10
		recording := false
		cfg.BeforeWrite = func() error {
			if recording && len(images) < 4 {
				image, err := os.ReadFile(path)
				images = append(images, image)
				return err
			}
			return nil
		}
		s := openStore(t, cfg)
		for range 60 {
			before := m.clone()
			images, recording = nil, r.IntN(4) == 0
			step(t, r, s, &m)
			if d := m.difference(s); d != "" {
				t.Fatalf("seed %d: the store differs in %s", seed, d)
			}
			if recording {
				after, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				images = append(images, after)
				checkCrash(t, images[0], &before)
				for i := 1; i < len(images); i++ {
					checkCrash(t, images[i], &m)
					unfinished := slices.Clone(images[i])
					copy(unfinished[:2*os.Getpagesize()], images[i-1])
					if i == 1 {
						checkCrash(t, unfinished, &before)
					} else {
						checkCrash(t, unfinished, &m)
					}
				}
			}
			if r.IntN(10) == 0 {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				s = openStore(t, cfg)
			}
		}
		s.Close()
	}
}
