package cluster_test

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stateraft/stateraft/cluster"
	"github.com/stateraft/stateraft/cluster/clustertest"
	"github.com/stateraft/stateraft/fsm"
	"github.com/stateraft/stateraft/fsm/fsmpb"
)

// An unanswered connection, once silent, is as to a host that was paused.
type unanswered struct {
	net.Conn
	silent *atomic.Bool
	lost   chan<- struct{} // gets one when an answer did not come
}

func (u unanswered) Read(p []byte) (int, error) {
	for {
		n, err := u.Conn.Read(p)
		if err != nil || !u.silent.Load() {
			return n, err
		}
		select {
		case u.lost <- struct{}{}:
		default:
		}
	}
}

// Ensure a leader closes without waiting for what it asked others, which raft
// does for 5 s: a process that is told to end has less.
func TestCloseWaitsForNobody(t *testing.T) {
	const soon = 4500 * time.Millisecond
	var silent atomic.Bool
	lost := make(chan struct{}, 1)
	first := true
	c := clustertest.New(t, 3, func(cfg *cluster.Config) {
		clustertest.Steady(cfg)
		if first {
			first = false
			cfg.Tuning.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
				conn, err := new(net.Dialer).DialContext(ctx, network, addr)
				if err != nil {
					return nil, err
				}
				return unanswered{conn, &silent, lost}, nil
			}
		}
	})
	leader := c.Nodes[0]
	moveTo(t, c, leader)
	silent.Store(true)
	<-lost
	begin := time.Now()
	leader.Stop(t)
	if took := time.Since(begin); took > soon {
		t.Errorf("closed after %v", took)
	}
}

// Ensure a node closes without having its disk do first what can be done at the
// next start: here, to cut the log behind a snapshot in 12 steps of 600 ms.
func TestCloseLeavesTheLogUncut(t *testing.T) {
	const entries, soon = 3000, 4 * time.Second
	var slow atomic.Bool
	written := make(chan struct{}, 100)
	c := clustertest.New(t, 1, func(cfg *cluster.Config) {
		cfg.Tuning.SnapshotThreshold, cfg.Tuning.TrailingLogs = 1<<40, 1
		cfg.Tuning.BeforeWrite = func() error {
			if slow.Load() {
				written <- struct{}{}
				time.Sleep(600 * time.Millisecond)
			}
			return nil
		}
	})
	n := c.Nodes[0]
	c.WaitReady(n)
	n.Set(t, "ns", "k", "1")
	entry, err := fsm.Encode(&fsmpb.Entry{})
	if err != nil {
		t.Fatal(err)
	}
	var applied sync.WaitGroup
	for range entries { // all at once: raft writes together what waits
		applied.Go(func() {
			if err := n.Raft().Apply(entry, clustertest.Patience).Error(); err != nil {
				t.Error(err)
			}
		})
	}
	applied.Wait()
	slow.Store(true)
	cut := n.Raft().Snapshot()
	<-written
	<-written
	begin := time.Now()
	n.Stop(t)
	if took := time.Since(begin); took > soon {
		t.Errorf("closed after %v", took)
	}
	if cut.Error() == nil {
		t.Error("the log was cut before")
	}
	slow.Store(false)
	n.Start(t)
	c.WaitReady(n)
	if got := n.Get(t, "ns", "k"); got != "1" {
		t.Errorf("after a restart: %q", got)
	}
}
