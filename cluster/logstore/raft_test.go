package logstore

import (
	"bytes"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// returns reports whether f returns, and does not end its goroutine.
func returns(f func() error) (returned bool, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		err = f()
		returned = true
	}()
	<-done
	return returned, err
}

// TestForRaftEndsWhoWouldPanic makes each call of which Raft panics when it
// fails, on a store that runs and on one that has stopped.
func TestForRaftEndsWhoWouldPanic(t *testing.T) {
	cfg, failed := failing(t)
	s := ForRaft{openStore(t, cfg)}
	calls := map[string]func() error{
		"GetLog":   func() error { return s.GetLog(1, new(raft.Log)) },
		"the term": func() error { return s.SetUint64([]byte(KeyTerm), 7) },
		"the vote": func() error { return s.SetUint64([]byte(keyVoteTerm), 7) },
	}
	if returned, err := returns(calls["GetLog"]); !returned || !errors.Is(err, raft.ErrLogNotFound) {
		t.Errorf("GetLog of an entry that is not there returns: %v, %v", returned, err)
	}
	store(t, s.Store, 1, 10, 1)
	for name, call := range calls {
		if returned, err := returns(call); !returned || err != nil {
			t.Errorf("%s returns from a store that runs: %v, %v", name, returned, err)
		}
	}
	s.fail(errors.New("input/output error"))
	<-failed
	for name, call := range calls {
		if returned, err := returns(call); returned {
			t.Errorf("%s returns %v from a store that has stopped", name, err)
		}
	}
	if returned, err := returns(func() error { return s.StoreLog(entry(11, 1)) }); !returned || err == nil {
		t.Errorf("StoreLog, which Raft bears, returns: %v, %v", returned, err)
	}
}

// Ensure Raft does not take a candidate for the one that has its vote: of that
// it knows the address alone.
func TestForRaftHidesWhoHasTheVote(t *testing.T) {
	cfg, _ := failing(t)
	s := ForRaft{openStore(t, cfg)}
	if _, err := s.Get([]byte(keyVote)); err == nil {
		t.Error("there is a vote before any was given")
	}
	address := []byte("127.0.0.1:7574")
	if err := errors.Join(s.SetUint64([]byte(keyVoteTerm), 7), s.Set([]byte(keyVote), address)); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Get([]byte(keyVote)); err != nil || got == nil || bytes.Equal(got, address) {
		t.Errorf("the vote is %q, %v", got, err)
	}
	if term, err := s.GetUint64([]byte(keyVoteTerm)); term != 7 || err != nil {
		t.Errorf("its term is %d, %v", term, err)
	}
}

// marks is a log, and receives when a goroutine of Raft has been ended.
type marks chan struct{}

func (m marks) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte("raft cannot go on")) {
		select {
		case m <- struct{}{}:
		default:
		}
	}
	return len(line), nil
}

// TestRaftWithoutItsLog fails a store under a Raft that leads alone, at any of
// its first writes. It must not panic, and must shut down.
func TestRaftWithoutItsLog(t *testing.T) {
	for writes := range 8 {
		cfg, failed := failing(t)
		var left atomic.Int64
		left.Store(1 << 20)
		cfg.BeforeWrite = func() error {
			if left.Add(-1) < 0 {
				return errors.New("input/output error")
			}
			return nil
		}
		ended := make(marks, 1)
		cfg.Logger = slog.New(slog.NewTextHandler(ended, &slog.HandlerOptions{Level: slog.LevelDebug}))
		s := openStore(t, cfg)
		conf := raft.DefaultConfig()
		conf.LocalID, conf.LogLevel = "n1", "OFF"
		conf.HeartbeatTimeout, conf.ElectionTimeout, conf.LeaderLeaseTimeout = 5*time.Millisecond, 5*time.Millisecond, 5*time.Millisecond
		_, transport := raft.NewInmemTransport("n1")
		servers := raft.Configuration{Servers: []raft.Server{{ID: "n1", Address: "n1"}}}
		snapshots := raft.NewInmemSnapshotStore()
		if err := raft.BootstrapCluster(conf, s, s, snapshots, transport, servers); err != nil {
			t.Fatal(err)
		}
		left.Store(int64(writes))
		r, err := raft.NewRaft(conf, &counter{}, ForRaft{s}, ForRaft{s}, snapshots, transport)
		if err != nil {
			t.Fatal(err)
		}
		for told := false; !told; {
			select {
			case <-failed:
				told = true
			default:
				r.Apply([]byte("x"), time.Millisecond)
			}
		}
		<-ended // by its next election at the latest
		if err := r.Shutdown().Error(); err != nil {
			t.Errorf("shut down after %d writes: %v", writes, err)
		}
	}
}
