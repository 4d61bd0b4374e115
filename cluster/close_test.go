package cluster_test

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stateraft/stateraft/cluster"
	"github.com/stateraft/stateraft/cluster/clustertest"
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
	t.Parallel()
	const soon = 3 * time.Second
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
