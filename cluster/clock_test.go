package cluster_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stateraft/stateraft/cluster"
	"github.com/stateraft/stateraft/cluster/clustertest"
)

// Ensure wrong wall clocks end no key early, keep none, and bring none back,
// whether all nodes restart with them or only the one that leads next.
func TestWrongWallClocks(t *testing.T) {
	t.Parallel()
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
	if _, err := c.Nodes[0].Propose(within(t, clustertest.Patience), ended); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if _, err := c.Nodes[1].Propose(within(t, clustertest.Patience), kept); err != nil {
		t.Fatal(err)
	}
	awaitEnd(t, c.Nodes[2], "ended")
	leads := restartWithShift(t, c, shifts[:], ahead, all)
	late := max(ttl, time.Since(begin)) + 10*time.Second // the restart may have taken longer than the key lasts
	if got := leads.Get(t, "ns", "ended"); got != "" {
		t.Error("a key that had ended came back")
	}
	awaitEnd(t, leads, "kept")
	if took := time.Since(begin); took < ttl || took > late {
		t.Errorf("a TTL of %v took %v, want %v at most", ttl, took, late)
	}
}

// awaitEnd waits until the node shows the key no more.
func awaitEnd(t *testing.T, n *clustertest.Node, key string) {
	t.Helper()
	clustertest.Eventually(t, "the end of "+key, func() error {
		if n.Get(t, "ns", key) != "" {
			return errors.New("it is there")
		}
		return nil
	})
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

// A badClock is a monotonic clock that has been running at a wrong rate since
// it was set: 1 is right, 0 stands still.
type badClock struct {
	mu    sync.Mutex
	since time.Time
	then  time.Duration
	rate  float64
}

func newBadClock() *badClock { return &badClock{since: time.Now(), rate: 1} }

func (c *badClock) now() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.then + time.Duration(float64(time.Since(c.since))*c.rate)
}

func (c *badClock) run(rate float64) {
	now := c.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.then, c.since, c.rate = now, time.Now(), rate
}

// Ensure a leader whose clock runs fast or slow ends keys early or late by as
// much as the clock is wrong and no more, and one whose clock stands still ends
// none until another leads, which has counted the time since the last entry, or
// the clock goes on.
func TestWrongClockRate(t *testing.T) {
	t.Parallel()
	const second = time.Second
	for _, tt := range []wrongRate{
		{name: "fast", rate: 8, ttl: 16 * second, least: 2 * second, most: 15 * second},
		{name: "slow", rate: 0.5, ttl: 2 * second, least: 4 * second, most: 10 * second},
		{name: "frozen, then another leads", rate: 0, ttl: 2 * second, least: 2 * second, most: 9 * second, then: anotherLeads},
		{name: "frozen, then running", rate: 0, ttl: 2 * second, least: 3 * second, most: 9 * second, then: clockRuns},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			inOneTerm(t, func(t *testing.T) bool { return testWrongClockRate(t, tt) })
		})
	}
}

// A wrongRate is what a leader's clock does while a key has its time to live.
type wrongRate struct {
	name string
	rate float64
	ttl  time.Duration
	then func(t *testing.T, c *clustertest.Cluster, clock *badClock, leader *clustertest.Node) (next *clustertest.Node) // a second after the write; nil: nothing

	least time.Duration // from the write to the key's end
	most  time.Duration // from what is done then, or else from the write
}

func anotherLeads(t *testing.T, c *clustertest.Cluster, _ *badClock, leader *clustertest.Node) *clustertest.Node {
	next := c.Others(leader)[0]
	moveTo(t, c, next)
	return next
}

func clockRuns(_ *testing.T, _ *clustertest.Cluster, clock *badClock, leader *clustertest.Node) *clustertest.Node {
	clock.run(1)
	return leader
}

func testWrongClockRate(t *testing.T, tt wrongRate) (led bool) {
	clocks := map[string]*badClock{}
	c := clustertest.New(t, 3, func(cfg *cluster.Config) {
		clock := newBadClock()
		clocks[cfg.Name] = clock
		cfg.Tuning.Monotonic = clock.now
		clustertest.Steady(cfg) // another leader would count rightly
	})
	leader := c.Leader()
	l := tenureOf(leader, nil, c.Nodes...)
	clocks[leader.Name()].run(tt.rate)
	key := clustertest.Set("ns", "key", "1")
	key.Ops[0].Ttl = tt.ttl.Microseconds()
	begin := time.Now()
	if _, err := leader.Propose(within(t, clustertest.Patience), key); err != nil {
		t.Fatal(err)
	}
	since := begin
	if tt.then != nil {
		time.Sleep(time.Second)
		if l.over() {
			return false
		}
		next := tt.then(t, c, clocks[leader.Name()], leader)
		since = time.Now()
		l = tenureOf(next, nil, c.Nodes...)
	}
	ended := l.awaits(t, "the key's end", func() error {
		if c.Nodes[0].Get(t, "ns", "key") != "" {
			return errors.New("it is there")
		}
		return nil
	})
	took, late := time.Since(begin), time.Since(since)
	if !ended || l.over() {
		return false
	}
	if took < tt.least || late > tt.most {
		t.Errorf("a TTL of %v took %v, want %v at least, and ended after %v, want %v at most", tt.ttl, took, tt.least, late, tt.most)
	}
	return true
}
