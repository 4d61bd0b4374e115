package cluster_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stateraft/stateraft/cluster"
	"github.com/stateraft/stateraft/cluster/clustertest"
)

// Ensure wrong wall clocks end no key early, keep none, and bring none back,
// whether all nodes restart with them or only the one that leads next.
func TestWrongWallClocks(t *testing.T) {
	for _, ahead := range []time.Duration{time.Hour, -time.Hour} {
		for _, all := range []bool{true, false} {
			t.Run(fmt.Sprintf("%v all=%v", ahead, all), func(t *testing.T) {
				t.Parallel()
				testWrongWallClock(t, ahead, all)
			})
		}
	}
}

func testWrongWallClock(t *testing.T, ahead time.Duration, all bool) {
	const ttl = 6 * time.Second
	var shifts [3]atomic.Int64
	next := 0
	c := clustertest.New(t, 3, func(cfg *cluster.Config) {
		shift := &shifts[next]
		next++
		cfg.Tuning.Wall = func() time.Time { return time.Now().Add(time.Duration(shift.Load())) }
	})
	ended := clustertest.Set("ns", "ended", "1")
	ended.Ops[0].Ttl = time.Millisecond.Microseconds()
	kept := clustertest.Set("ns", "kept", "1")
	kept.Ops[0].Ttl = ttl.Microseconds()
	if _, err := c.Nodes[0].Propose(within(t, 5*time.Second), ended); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if _, err := c.Nodes[1].Propose(within(t, 5*time.Second), kept); err != nil {
		t.Fatal(err)
	}
	for c.Nodes[2].Get(t, "ns", "ended") != "" {
		time.Sleep(time.Millisecond)
	}
	leads := restartWithShift(t, c, shifts[:], ahead, all)
	if got := leads.Get(t, "ns", "ended"); got != "" {
		t.Error("a key that had ended came back")
	}
	for leads.Get(t, "ns", "kept") != "" {
		time.Sleep(time.Millisecond)
	}
	if took := time.Since(begin); took < ttl || took > ttl+10*time.Second {
		t.Errorf("a TTL of %v took %v", ttl, took)
	}
}

// restartWithShift restarts all nodes with a wall clock that is wrong, or the
// one that leads afterwards, which it returns.
func restartWithShift(t *testing.T, c *clustertest.Cluster, shifts []atomic.Int64, ahead time.Duration, all bool) *clustertest.Node {
	if !all {
		n := c.Follower()
		for i := range c.Nodes {
			if c.Nodes[i] == n {
				shifts[i].Store(int64(ahead))
			}
		}
		n.Restart(t)
		c.WaitReady(n)
		moveTo(t, c, n)
		return n
	}
	for i, n := range c.Nodes {
		shifts[i].Store(int64(ahead))
		n.Stop(t)
	}
	for _, n := range c.Nodes {
		n.Start(t)
	}
	c.WaitReady(c.Nodes...)
	return c.Leader()
}
