package cluster_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/stateraft/stateraft/cluster"
	"github.com/stateraft/stateraft/cluster/clustertest"
)

var errBroken = errors.New("fsync: input/output error")

// ends is a node's log, and receives when Raft has come to the end of its own.
type ends chan struct{}

func (e ends) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(e, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func (e ends) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte("raft cannot go on without its log")) {
		select {
		case e <- struct{}{}:
		default:
		}
	}
	return len(line), nil
}

func (e ends) await(t *testing.T) {
	t.Helper()
	select {
	case <-e:
	case <-time.After(clustertest.Patience):
		t.Fatal("raft has not come to the end of its log")
	}
}

// Ensure a node whose log fails, with whichever of its first writes, says so
// once and closes, and that Raft does not end the process before.
func TestLogFails(t *testing.T) {
	t.Parallel()
	for writes := range int64(10) {
		t.Run(fmt.Sprint(writes), func(t *testing.T) {
			t.Parallel()
			testLogFails(t, writes)
		})
	}
}

// testLogFails lets that many writes pass, behind the one that starts the log.
func testLogFails(t *testing.T, writes int64) {
	told, ended := make(chan error, 9), make(ends, 1)
	var left atomic.Int64
	left.Store(1 + writes)
	n, err := cluster.Open(cluster.Config{
		Name: "n1", DataDir: filepath.Join(t.TempDir(), "n1"), BootstrapExpect: 1,
		RaftAddr: "127.0.0.1:0", GossipAddr: "127.0.0.1:0", AdvertiseHTTP: "n1.invalid:7474",
		Logger: ended.logger(), Metrics: prometheus.NewRegistry(), OnFatal: func(err error) { told <- err },
		Tuning: cluster.Tuning{BeforeWrite: func() error {
			if left.Add(-1) < 0 {
				return errBroken
			}
			return nil
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for patience := time.After(clustertest.Patience); err == nil; {
		select {
		case err = <-told:
		case <-patience:
			t.Fatal("nothing was told of the log")
		case <-time.After(time.Millisecond):
			go n.Propose(within(t, time.Second), clustertest.Set("ns", "k", "1"))
		}
	}
	if !errors.Is(err, errBroken) {
		t.Errorf("it was told of %v, want %v", err, errBroken)
	}
	if writes != 1 { // else it has a term and no configuration, and never stands for election
		ended.await(t)
	}
	closesSoon(t, n)
	if len(told) > 0 {
		t.Errorf("it was told again: %v", <-told)
	}
}

// closesSoon ensures that the node does not wait for what never comes.
func closesSoon(t *testing.T, n *cluster.Node) {
	t.Helper()
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		n.Close() // its errors are those of the log
	}()
	select {
	case <-closed:
	case <-time.After(clustertest.Patience):
		t.Fatal("the node does not close")
	}
}

// Ensure a follower whose log fails when it is to save the next term tells of
// it and closes.
func TestTermIsNotSaved(t *testing.T) {
	t.Parallel()
	disks, next := make([]disk, 3), 0
	ended := make(ends, 1)
	c := clustertest.New(t, 3, func(cfg *cluster.Config) {
		cfg.Tuning.BeforeWrite = disks[next].beforeWrite
		cfg.Logger = ended.logger()
		next++
	})
	leader := c.Leader()
	n := c.Others(leader)[0]
	for i := range c.Nodes {
		if c.Nodes[i] == n {
			disks[i].err.Store(&errBroken)
		}
	}
	leader.Kill()
	if err := awaitFatal(t, n); !errors.Is(err, errBroken) {
		t.Errorf("the node ends for %v, want %v", err, errBroken)
	}
	ended.await(t)
	closesSoon(t, n.Node)
	n.Node = nil
}
