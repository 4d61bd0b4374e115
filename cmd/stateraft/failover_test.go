package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stateraft/stateraft/client"
)

// A gapMeter has 16 writers spread over the nodes and notes when each write
// was acknowledged. A writer stops writing while its node is marked down.
type gapMeter struct {
	t    *testing.T
	down []atomic.Int64 // times marked down and up again: odd while it is down
	stop atomic.Bool
	wg   sync.WaitGroup

	mu   sync.Mutex
	acks []time.Time
}

func startGapMeter(t *testing.T, c *processCluster) *gapMeter {
	m := &gapMeter{t: t, down: make([]atomic.Int64, len(c.nodes))}
	for w := range 16 {
		i := w % len(c.nodes)
		cl := c.nodes[i].client(t)
		m.wg.Go(func() { m.write(cl, i, fmt.Sprint("w", w)) })
	}
	return m
}

// write makes sure of exactly-once too: while no write of its own is unknown,
// a key's version rises by one with each.
func (m *gapMeter) write(cl *client.Client, node int, key string) {
	last := uint64(0)
	for !m.stop.Load() {
		before := m.down[node].Load()
		if before%2 == 1 {
			time.Sleep(time.Millisecond)
			continue
		}
		v, err := cl.State.Set(context.Background(), "gap", key, 1)
		switch {
		case m.down[node].Load() != before: // whatever became of it
			last = 0
		case err != nil:
			m.t.Errorf("%s: error at a node that lives: %v", key, err)
			return
		case last != 0 && v != last+1:
			m.t.Errorf("%s: version %d after %d", key, v, last)
			return
		default:
			last = v
			m.mu.Lock()
			m.acks = append(m.acks, time.Now())
			m.mu.Unlock()
		}
	}
}

// longestAt returns the longest time without an acknowledged write that ended
// after since, the time up to the call included.
func (m *gapMeter) longestAt(since time.Time) (from, to time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := 1; i <= len(m.acks); i++ {
		end := time.Now()
		if i < len(m.acks) {
			end = m.acks[i]
		}
		if begin := m.acks[i-1]; end.After(since) && end.Sub(begin) > to.Sub(from) {
			from, to = begin, end
		}
	}
	return from, to
}

// awaitWrite waits for one more acknowledged write, so that a gap that has not
// ended is told in its whole length.
func (m *gapMeter) awaitWrite() {
	count := func() int {
		m.mu.Lock()
		defer m.mu.Unlock()
		return len(m.acks)
	}
	for before, deadline := count(), time.Now().Add(2*longestGap); count() == before && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond)
	}
}

func (m *gapMeter) close() {
	m.stop.Store(true)
	m.wg.Wait()
}

// leader returns the position of the node that leads, as all others say too.
func (c *processCluster) leader(t *testing.T) int {
	t.Helper()
	for deadline := time.Now().Add(testTimeout); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		for i, n := range c.nodes {
			st, err := n.client(t).Cluster.Status(context.Background())
			if err == nil && st.Leader == fmt.Sprint("n", i+1) {
				return i
			}
		}
	}
	t.Fatal("nobody leads")
	return 0
}

// logSince returns what the node has logged since then.
func (n *processNode) logSince(begin time.Time) string {
	var lines strings.Builder
	for line := range strings.Lines(n.log.String()) {
		if at := strings.TrimPrefix(line, `{"time":"`); at >= begin.UTC().Format(time.RFC3339Nano) {
			lines.WriteString(at)
		}
	}
	return lines.String()
}

// logsSince returns what the nodes have logged since then, in order.
func (c *processCluster) logsSince(begin time.Time) string {
	var lines []string
	for _, n := range c.nodes {
		lines = slices.AppendSeq(lines, strings.Lines(n.logSince(begin)))
	}
	slices.Sort(lines)
	return "\n" + strings.Join(lines, "")
}

// failoverRounds is how often each fault is tried: STATERAFT_TEST_ROUNDS, or
// few.
func failoverRounds() int {
	if n, err := strconv.Atoi(os.Getenv("STATERAFT_TEST_ROUNDS")); err == nil {
		return n
	}
	return 3
}

// longestGap bounds the time without a write of each round that no stall of
// the machine has spoilt. It is loose, for machines under load.
const longestGap = 3 * time.Second

// A failover is a way for a leader to end.
type failover struct {
	end   func(t *testing.T, leader *processNode)
	load  time.Duration                           // time under load until the gap is looked for
	begin func(t *testing.T, leader *processNode) // brings it back

	// quick bounds the gap of at least one round, for a way that is broken
	// shows in every round. A round in which a node logs sign, and none that it
	// missed heartbeats, has gone that way too, however slow the machine.
	quick time.Duration
	sign  string
}

// What a node logs before it, or another, stands for election.
const (
	signGone      = "the leader is gone; standing for election"
	signHandOver  = "handing leadership over"
	signHeartbeat = "heartbeat timeout reached, starting election"
)

// A gap is a time without a write.
type gap struct {
	length time.Duration
	quick  bool // a failover of the quick way
}

// testGaps has leaders end under load, and checks the time without a write.
func testGaps(t *testing.T, c *processCluster, f failover) {
	t.Helper()
	m := startGapMeter(t, c)
	defer m.close()
	var lengths []time.Duration
	quick := 0
	for range failoverRounds() {
		var g gap
		if err := despiteStalls(t, func() (err error) { g, err = m.round(t, c, f); return err }); err != nil {
			t.Error(err)
		}
		lengths = append(lengths, g.length)
		if g.quick {
			quick++
		}
	}
	slices.Sort(lengths)
	t.Logf("time without a write, %d rounds: shortest %v, median %v, longest %v; %d quick", len(lengths), lengths[0], lengths[len(lengths)/2], lengths[len(lengths)-1], quick)
	if quick == 0 {
		t.Errorf("no gap is %v at most, or of a leader that was replaced in the quick way", f.quick)
	}
}

// round ends the leader once and returns an error if that stopped writes for
// longer than longestGap.
func (m *gapMeter) round(t *testing.T, c *processCluster, f failover) (gap, error) {
	t.Helper()
	time.Sleep(500 * time.Millisecond) // of load
	i := c.leader(t)
	leader, begin := c.nodes[i], time.Now()
	m.down[i].Add(1)
	f.end(t, leader)
	time.Sleep(f.load)
	m.awaitWrite()
	from, to := m.longestAt(begin)
	logs := c.logsSince(begin)
	f.begin(t, leader)
	leader.waitReady(t)
	m.down[i].Add(1)

	g := gap{length: to.Sub(from)}
	byWay := f.sign != "" && strings.Contains(logs, f.sign) && !strings.Contains(logs, signHeartbeat)
	g.quick = g.length <= f.quick || byWay
	if g.length > f.quick {
		t.Logf("no write from %v to %v; the logs since %v:%s", from.Sub(begin), to.Sub(begin), begin.UTC(), logs)
	}
	if g.length > longestGap {
		return g, fmt.Errorf("no write for %v, want %v at most", g.length, longestGap)
	}
	return g, nil
}

// quickCampaign is what a failover takes at most if the others see that the
// leader's process has ended. They miss its heartbeats only after 250 ms.
const quickCampaign = 200 * time.Millisecond

// Ensure a leader's end stops writes for a short time only, and shows at
// clients of the other nodes as nothing but that time.
func TestFailoverGap(t *testing.T) {
	c := startClusterOf(t, plainBuild(t))
	start := func(_ *testing.T, n *processNode) { n.start(t) } // it outlives its case
	for _, tt := range []struct {
		name string
		way  failover
	}{
		{"kill", failover{
			end:   func(t *testing.T, n *processNode) { n.stop(t, syscall.SIGKILL) },
			load:  500 * time.Millisecond,
			begin: start,
			quick: quickCampaign, sign: signGone,
		}},
		{"term", failover{
			end:   func(t *testing.T, n *processNode) { n.stop(t, syscall.SIGTERM) },
			load:  500 * time.Millisecond,
			begin: start,
			quick: quickCampaign, sign: signHandOver,
		}},
		{"pause", failover{
			end:   func(t *testing.T, n *processNode) { n.cmd.Process.Signal(syscall.SIGSTOP) },
			load:  1500 * time.Millisecond,
			begin: func(t *testing.T, n *processNode) { n.cmd.Process.Signal(syscall.SIGCONT) },
			quick: time.Second,
		}},
	} {
		t.Run(tt.name, func(t *testing.T) { testGaps(t, c, tt.way) })
	}
}
