package cluster_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stateraft/stateraft/cluster"
	"github.com/stateraft/stateraft/cluster/clustertest"
)

// shifted starts three nodes whose wall clocks are off by the shifts returned.
func shifted(t *testing.T, tune func(*cluster.Config)) (*clustertest.Cluster, *[3]atomic.Int64) {
	t.Helper()
	var shifts [3]atomic.Int64
	next := 0
	c := clustertest.New(t, 3, func(cfg *cluster.Config) {
		shift := &shifts[next]
		next++
		clustertest.Steady(cfg) // every offset is against the clock of the node that leads
		cfg.Tuning.Wall = func() time.Time { return time.Now().Add(time.Duration(shift.Load())) }
		if tune != nil {
			tune(cfg)
		}
	})
	return c, &shifts
}

// awaitOffsets waits until every node shows these offsets, in ms by the order
// of the nodes, and each measures its own. It reports false if the leader was
// deposed without.
func awaitOffsets(t *testing.T, c *clustertest.Cluster, l tenure, want ...int64) (led bool) {
	t.Helper()
	near := func(got float64, want int64) bool { return got > float64(want)-200 && got < float64(want)+200 }
	return l.awaits(t, "clock offsets", func() error {
		for i, n := range c.Nodes {
			if got := 1000 * n.Metric(t, "clock_offset_seconds"); !near(got, want[i]) {
				return fmt.Errorf("%s measures %v ms, want %d", n.Config.Name, got, want[i])
			}
			for j, m := range n.Status(within(t, 5*time.Second)).Nodes {
				if !near(float64(m.ClockOffsetMs), want[j]) {
					return fmt.Errorf("%s shows %d ms for %s, want %d", n.Config.Name, m.ClockOffsetMs, m.Name, want[j])
				}
			}
		}
		return nil
	})
}

// Ensure every node shows the same offsets, against the leader's clock, and
// that a large one is warned about, once.
func TestClockOffset(t *testing.T) {
	t.Parallel()
	inOneTerm(t, showClockOffset)
}

func showClockOffset(t *testing.T) (led bool) {
	logs := make([]lines, 3)
	log := logTo(logs)
	c, shifts := shifted(t, func(cfg *cluster.Config) {
		log(cfg)
		cfg.Tuning.ClockCheck = 50 * time.Millisecond
	})
	const warning, calm = "the leader's differ", "the leader's agree again"
	moveTo(t, c, c.Nodes[0])
	first := tenureOf(c.Nodes[0], nil, c.Nodes...)
	shifts[1].Store(int64(2 * time.Second))
	if !awaitOffsets(t, c, first, 0, 2000, 0) {
		return false
	}
	logs[1].await(t, warning, 1)
	shifts[1].Store(int64(3 * time.Second))
	if !awaitOffsets(t, c, first, 0, 3000, 0) {
		return false
	}

	moveTo(t, c, c.Nodes[1])
	second := tenureOf(c.Nodes[1], nil, c.Nodes...)
	if second.term != first.term+1 {
		return false // another led in between, against whose clock all measured too
	}
	if !awaitOffsets(t, c, second, -3000, 0, -3000) {
		return false
	}
	logs[0].await(t, warning, 1)
	logs[1].await(t, calm, 1)
	shifts[1].Store(0)
	if !awaitOffsets(t, c, second, 0, 0, 0) {
		return false
	}
	logs[0].await(t, calm, 1)
	var warned [3]int
	for i := range logs {
		warned[i] = logs[i].count(warning)
	}
	if second.over() {
		return false
	}
	if want := [3]int{1, 1, 1}; warned != want {
		t.Errorf("the nodes warned %v times, want %v", warned, want)
	}
	return true
}

// Ensure the instant at which a key ends is shown the same on every node and
// stands still, while nothing is written and wall clocks drift, each its own
// way and by less than what is corrected; and that a larger drift is corrected
// everywhere.
func TestShownInstantsStandStill(t *testing.T) {
	t.Parallel()
	inOneTerm(t, showInstants)
}

func showInstants(t *testing.T) (led bool) {
	c, shifts := shifted(t, nil)
	moveTo(t, c, c.Nodes[0])
	l := tenureOf(c.Nodes[0], nil, c.Nodes...)
	cmd := clustertest.Set("ns", "k", "1")
	cmd.Ops[0].Ttl = time.Hour.Microseconds()
	if _, err := c.Nodes[1].Propose(within(t, clustertest.Patience), cmd); err != nil {
		t.Fatal(err)
	}
	c.WaitEqual()
	begin, err := shownEnds(c)
	if l.over() {
		return false
	}
	if err != nil {
		t.Fatal(err)
	}

	// A minute's drift of 400 ms, in three looks of the leader's at its clock.
	const steps = 35
	for step := range steps {
		drift := 400 * time.Millisecond * time.Duration(step+1) / steps
		for i, per := range []int64{1, -1, 0} {
			shifts[i].Store(per * int64(drift))
		}
		time.Sleep(100 * time.Millisecond)
		ends, err := shownEnds(c)
		if l.over() {
			return false // the next leader's clock is another
		}
		if err != nil || !ends.Equal(begin) {
			t.Fatalf("the end moved from %v to %v at a drift of %v: %v", begin, ends, drift, err)
		}
	}
	shifts[0].Store(int64(2 * time.Second))
	corrected := l.awaits(t, "the end to be corrected", func() error {
		e, _, _ := c.Nodes[0].State().Get("ns", "k")
		if moved := e.ExpiresAt.Sub(begin); moved < 1500*time.Millisecond || moved > 2500*time.Millisecond {
			return fmt.Errorf("it moved by %v", moved)
		}
		return nil
	})
	if !corrected {
		return false
	}
	c.WaitEqual()
	_, err = shownEnds(c)
	if l.over() {
		return false
	}
	if err != nil {
		t.Error(err)
	}
	return true
}

// shownEnds returns when the key is shown to end, and an error if that is not
// the same on all nodes.
func shownEnds(c *clustertest.Cluster) (time.Time, error) {
	var ends time.Time
	for _, n := range c.Nodes {
		e, ok, _ := n.State().Get("ns", "k")
		if !ok {
			return ends, fmt.Errorf("the key is absent at %s", n.Config.Name)
		}
		if n != c.Nodes[0] && !e.ExpiresAt.Equal(ends) {
			return ends, fmt.Errorf("%s shows %v, and another %v", n.Config.Name, e.ExpiresAt, ends)
		}
		ends = e.ExpiresAt
	}
	return ends, nil
}
