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
	down []atomic.Bool
	stop atomic.Bool
	wg   sync.WaitGroup

	mu   sync.Mutex
	acks []time.Time
}

func startGapMeter(t *testing.T, c *processCluster) *gapMeter {
	m := &gapMeter{t: t, down: make([]atomic.Bool, len(c.nodes))}
	for w := range 16 {
		i := w % len(c.nodes)
		cl, err := client.New(client.Config{Endpoints: []string{c.nodes[i].url}})
		if err != nil {
			t.Fatal(err)
		}
		m.wg.Go(func() { m.write(cl, i, fmt.Sprint("w", w)) })
	}
	return m
}

// write makes sure of exactly-once too: while no write of its own is unknown,
// a key's version rises by one with each.
func (m *gapMeter) write(cl *client.Client, node int, key string) {
	last := uint64(0)
	for !m.stop.Load() {
		if m.down[node].Load() {
			time.Sleep(time.Millisecond)
			continue
		}
		v, err := cl.State.Set(context.Background(), "gap", key, 1)
		switch {
		case m.down[node].Load(): // whatever became of it
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

// longestGap bounds the time without a write of each round. It is loose, for
// machines under load.
const longestGap = 3 * time.Second

// checkGaps fails the test if even the shortest gap is above quick, for a way
// that is broken shows in every round, or one is above longestGap.
func checkGaps(t *testing.T, gaps []time.Duration, quick time.Duration) {
	t.Helper()
	slices.Sort(gaps)
	shortest, longest := gaps[0], gaps[len(gaps)-1]
	t.Logf("time without a write, %d rounds: shortest %v, median %v, longest %v", len(gaps), shortest, gaps[len(gaps)/2], longest)
	if shortest > quick || longest > longestGap {
		t.Errorf("want the shortest to be at most %v and the longest at most %v", quick, longestGap)
	}
}

// quickCampaign is what a failover takes at most if the others see that the
// leader's process has ended. They miss its heartbeats only after 250 ms.
const quickCampaign = 200 * time.Millisecond

// Ensure a leader's end stops writes for a short time only, and shows at
// clients of the other nodes as nothing but that time.
func TestFailoverGap(t *testing.T) {
	usePlainBuild(t)
	for _, tt := range []struct {
		name  string
		quick time.Duration
		end   func(t *testing.T, n *processNode) // ends the leader
		begin func(t *testing.T, n *processNode) // brings it back
	}{
		{"kill", quickCampaign,
			func(t *testing.T, n *processNode) { n.stop(t, syscall.SIGKILL) },
			func(t *testing.T, n *processNode) { n.start(t) }},
		{"term", quickCampaign,
			func(t *testing.T, n *processNode) { n.stop(t, syscall.SIGTERM) },
			func(t *testing.T, n *processNode) { n.start(t) }},
		{"pause", time.Second,
			func(t *testing.T, n *processNode) { n.cmd.Process.Signal(syscall.SIGSTOP); time.Sleep(time.Second) },
			func(t *testing.T, n *processNode) { n.cmd.Process.Signal(syscall.SIGCONT) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := startCluster(t)
			m := startGapMeter(t, c)
			defer m.close()
			var gaps []time.Duration
			for range failoverRounds() {
				time.Sleep(500 * time.Millisecond) // of load
				leader := c.leader(t)
				begin := time.Now()
				m.down[leader].Store(true)
				tt.end(t, c.nodes[leader])
				time.Sleep(500 * time.Millisecond) // of load on the others
				m.awaitWrite()
				from, to := m.longestAt(begin)
				if gaps = append(gaps, to.Sub(from)); to.Sub(from) > tt.quick {
					t.Logf("no write from %v to %v; the logs since %v:%s", from.Sub(begin), to.Sub(begin), begin.UTC(), c.logsSince(begin))
				}
				tt.begin(t, c.nodes[leader])
				c.nodes[leader].waitReady(t)
				m.down[leader].Store(false)
			}
			checkGaps(t, gaps, tt.quick)
		})
	}
}
