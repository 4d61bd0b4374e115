package logstore

import (
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

func TestSpan(t *testing.T) {
	afters := []struct{ old, added, want span }{
		{span{}, span{5, 9}, span{5, 9}},
		{span{1, 4}, span{5, 9}, span{1, 9}},
		{span{1, 9}, span{5, 6}, span{1, 6}},
		{span{1, 9}, span{1, 1}, span{1, 1}},
		{span{1, 4}, span{6, 9}, span{6, 9}}, // a gap
		{span{5, 9}, span{3, 7}, span{3, 7}},
	}
	for _, tt := range afters {
		if got := tt.old.after(tt.added); got != tt.want {
			t.Errorf("%v after %v: got %v, want %v", tt.old, tt.added, got, tt.want)
		}
	}
	withouts := []struct {
		old       span
		low, high uint64
		want      span
		ok        bool
	}{
		{span{3, 9}, 3, 5, span{6, 9}, true},
		{span{3, 9}, 1, 5, span{6, 9}, true},
		{span{3, 9}, 7, 99, span{3, 6}, true},
		{span{3, 9}, 1, 99, span{}, true},
		{span{3, 9}, 1, 2, span{3, 9}, true},
		{span{3, 9}, 10, 12, span{3, 9}, true},
		{span{3, 9}, 8, 5, span{3, 9}, true},
		{span{3, 9}, 4, 5, span{3, 9}, false},
		{span{}, 1, 5, span{}, true},
	}
	for _, tt := range withouts {
		if got, ok := tt.old.without(tt.low, tt.high); got != tt.want || ok != tt.ok {
			t.Errorf("%v without %d to %d: got %v, %v, want %v, %v", tt.old, tt.low, tt.high, got, ok, tt.want, tt.ok)
		}
	}
}

func TestCache(t *testing.T) {
	cfg := testConfig(t, t.TempDir())
	cfg.MaxCacheBytes = 10 * (1000 + entryOverhead)
	s := openStore(t, cfg)
	large := func(low, high uint64) {
		t.Helper()
		for i := low; i <= high; i++ {
			if err := s.StoreLog(&raft.Log{Index: i, Data: make([]byte, 1000)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	hit := func(index uint64) bool {
		t.Helper()
		before := s.Stats().CacheHits
		if err := s.GetLog(index, new(raft.Log)); err != nil {
			t.Fatal(err)
		}
		return s.Stats().CacheHits > before
	}
	large(1, 30)
	if st := s.Stats(); st.CacheEntries != 10 || st.CacheBytes != cfg.MaxCacheBytes || st.Entries != 30 {
		t.Errorf("%+v, want 10 entries of 30 in memory", st)
	}
	if hit(20) || !hit(21) || !hit(30) {
		t.Error("the newest entries are not those in memory")
	}
	if err := errors.Join(s.DeleteRange(1, 25), s.DeleteRange(29, 30)); err != nil {
		t.Fatal(err)
	}
	if st := s.Stats(); st.CacheEntries != 3 || st.CacheBytes != 3*(1000+entryOverhead) {
		t.Errorf("%+v, want 3 entries left in memory", st)
	}
	if err := s.StoreLog(&raft.Log{Index: 29, Data: make([]byte, 1<<20)}); err != nil {
		t.Fatal(err)
	}
	if st := s.Stats(); st.CacheEntries != 0 || st.CacheBytes != 0 {
		t.Errorf("%+v, want nothing in memory beside an entry that is larger than it", st)
	}
	large(30, 31)
	if hit(29) || !hit(30) {
		t.Error("the cache does not go on behind an entry that is too large for it")
	}
}

func TestStable(t *testing.T) {
	cfg := testConfig(t, t.TempDir())
	s := openStore(t, cfg)
	has := func(term, voteTerm uint64, candidate string) {
		t.Helper()
		for key, want := range map[string]uint64{KeyTerm: term, keyVoteTerm: voteTerm} {
			got, err := s.GetUint64([]byte(key))
			if got != want || (err != nil) != (want == 0) || err != nil && err.Error() != "not found" {
				t.Errorf("%s is %d, %v, want %d", key, got, err, want)
			}
		}
		if got, err := s.Get([]byte(keyVote)); string(got) != candidate || (err != nil) != (candidate == "") {
			t.Errorf("the candidate is %q, %v, want %q", got, err, candidate)
		}
	}
	set := func(errs ...error) {
		t.Helper()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
	}
	reopen := func() {
		t.Helper()
		set(s.Close())
		s = openStore(t, cfg)
	}
	has(0, 0, "")
	set(s.SetUint64([]byte(KeyTerm), 3))
	has(3, 0, "")
	set(s.SetUint64([]byte(keyVoteTerm), 3), s.Set([]byte(keyVote), []byte("n1")))
	has(3, 3, "n1")
	set(s.SetUint64([]byte(keyVoteTerm), 4)) // and a crash
	has(3, 3, "n1")
	reopen()
	has(3, 3, "n1")
	set(s.SetUint64([]byte(keyVoteTerm), 5), s.Set([]byte(keyVote), []byte("n2")))
	reopen()
	has(3, 5, "n2")
	if _, err := s.Get([]byte("x")); err == nil {
		t.Error("there is a value x")
	}
	writes := s.Stats().Writes
	set(s.SetUint64([]byte(KeyTerm), 3), s.SetUint64([]byte(keyVoteTerm), 5), s.Set([]byte(keyVote), []byte("n2")))
	if got := s.Stats().Writes; got != writes {
		t.Errorf("%d writes for values that are there already", got-writes)
	}
}

func TestAlign(t *testing.T) {
	tests := []struct {
		name        string
		index, term uint64
		want        span
		wantErr     bool
	}{
		{"same entry", 15, 2, span{10, 20}, false},
		{"another entry", 15, 3, span{}, false},
		{"behind the log", 30, 9, span{}, false},
		{"just behind the log", 21, 2, span{}, false},
		{"just ahead of the log", 9, 1, span{10, 20}, false},
		{"a gap between", 8, 1, span{10, 20}, true},
		{"last entry conflicts", 20, 1, span{}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := openStore(t, testConfig(t, t.TempDir()))
			store(t, s, 10, 20, 2)
			setBallot(t, s, 7, "n1")
			if err := s.Align(tt.index, tt.term); (err != nil) != tt.wantErr {
				t.Errorf("error %v, want one: %v", err, tt.wantErr)
			}
			if s.extent != tt.want || s.ballot.term != 7 {
				t.Errorf("entries %v and term %d, want %v and 7", s.extent, s.ballot.term, tt.want)
			}
		})
	}
}

// TestConcurrent appends, cuts both ends, votes and reads at the same time, as
// Raft's goroutines do.
func TestConcurrent(t *testing.T) {
	cfg := testConfig(t, t.TempDir())
	cfg.MaxCacheBytes, cfg.ScrubRate = 8<<10, 64<<20
	s := openStore(t, cfg)
	store(t, s, 1, 2000, 1)
	end := make(chan struct{})
	var readers, cutter sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				first, _ := s.FirstIndex()
				last, _ := s.LastIndex()
				for i := first; i <= last; i += 1 + (last-first)/7 {
					var l raft.Log
					if err := s.GetLog(i, &l); err != nil && err != raft.ErrLogNotFound {
						t.Errorf("entry %d: %v", i, err)
					} else if err == nil && !sameEntry(&l, entry(i, l.Term)) {
						t.Errorf("entry %d is not what was stored", i)
					}
				}
				select {
				case <-end:
					return
				default:
				}
			}
		})
	}
	cutter.Go(func() { // Raft's snapshots
		for range 6 {
			first, _ := s.FirstIndex()
			if err := s.DeleteRange(first, first+290); err != nil {
				t.Error(err)
			}
		}
	})
	for round := range uint64(20) { // Raft's main loop
		last, _ := s.LastIndex()
		if err := errors.Join(s.StoreLogs(entries(last+1, last+20, round)), s.SetUint64([]byte(KeyTerm), round), s.DeleteRange(last+15, last+20)); err != nil {
			t.Fatal(err)
		}
	}
	cutter.Wait()
	close(end)
	readers.Wait()
	want := s.extent
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s := openStore(t, cfg); s.extent != want || want != (span{1747, 2280}) {
		t.Errorf("entries %v, want %v", s.extent, want)
	}
}

// TestScrub waits until the whole log was read again.
func TestScrub(t *testing.T) {
	cfg := testConfig(t, t.TempDir())
	cfg.ScrubRate = 1 << 20
	s := openStore(t, cfg)
	store(t, s, 1, 300, 1)
	for deadline := time.Now().Add(10 * time.Second); s.Stats().Scrubs < 2; {
		if time.Now().After(deadline) {
			t.Fatal("the log was not read again")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// TestRaft runs Raft itself on the store: entries, snapshots that cut the log,
// and restarts.
func TestRaft(t *testing.T) {
	dir := t.TempDir()
	logger := hclog.NewNullLogger()
	snapshots, err := raft.NewFileSnapshotStoreWithLogger(dir, 2, logger)
	if err != nil {
		t.Fatal(err)
	}
	conf := raft.DefaultConfig()
	conf.LocalID, conf.Logger, conf.TrailingLogs = "n1", logger, 50
	conf.HeartbeatTimeout, conf.ElectionTimeout, conf.LeaderLeaseTimeout = 50*time.Millisecond, 50*time.Millisecond, 25*time.Millisecond
	applied := uint64(0)
	for start := range 3 {
		s := openStore(t, testConfig(t, dir))
		_, transport := raft.NewInmemTransport("n1")
		if start == 0 {
			servers := raft.Configuration{Servers: []raft.Server{{ID: "n1", Address: "n1"}}}
			if err := raft.BootstrapCluster(conf, s, s, snapshots, transport, servers); err != nil {
				t.Fatal(err)
			}
		}
		fsm := &counter{}
		r, err := raft.NewRaft(conf, fsm, s, s, snapshots, transport)
		if err != nil {
			t.Fatal(err)
		}
		<-r.LeaderCh()
		for range 200 {
			if err := r.Apply([]byte("x"), time.Minute).Error(); err != nil {
				t.Fatal(err)
			}
			applied++
		}
		if fsm.n != applied {
			t.Errorf("start %d: %d entries applied, want %d", start, fsm.n, applied)
		}
		if err := r.Snapshot().Error(); err != nil {
			t.Fatal(err)
		}
		if entries := s.Stats().Entries; entries != 50 {
			t.Errorf("start %d: %d entries behind a snapshot, want 50", start, entries)
		}
		if err := errors.Join(r.Shutdown().Error(), s.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

// counter is a state machine that counts entries.
type counter struct{ n uint64 }

func (c *counter) Apply(*raft.Log) any                 { c.n++; return nil }
func (c *counter) Snapshot() (raft.FSMSnapshot, error) { return &counter{c.n}, nil }
func (c *counter) Release()                            {}

func (c *counter) Persist(sink raft.SnapshotSink) error {
	if _, err := sink.Write(order.AppendUint64(nil, c.n)); err != nil {
		return errors.Join(err, sink.Cancel())
	}
	return sink.Close()
}

func (c *counter) Restore(r io.ReadCloser) error {
	b, err := io.ReadAll(r)
	if err == nil {
		c.n = order.Uint64(b)
	}
	return errors.Join(err, r.Close())
}
