package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stateraft/stateraft/cluster"
	"github.com/stateraft/stateraft/cluster/clustertest"
)

func within(tb testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	tb.Cleanup(cancel)
	return ctx
}

// Ensure a write on any node is read on any other at once.
func TestWriteThenReadElsewhere(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 3, nil)
	for i := range 300 {
		value := fmt.Sprint(i)
		c.Nodes[rand.IntN(3)].Set(t, "ns", "k", value)
		reader := c.Nodes[rand.IntN(3)]
		if got := reader.Get(t, "ns", "k"); got != value {
			t.Fatalf("%s read %q, want %q", reader.Config.Name, got, value)
		}
	}
	c.WaitEqual()
}

// Ensure a node that has applied less waits for the revision asked for, and
// that a revision beyond the cluster's own is told.
func TestWaitRevision(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 3, nil)
	for i := range 100 {
		a := c.Nodes[i%3].Set(t, "ns", "k", fmt.Sprint(i))
		reader := c.Nodes[(i+1)%3]
		if err := reader.WaitRevision(within(t, clustertest.Patience), a.Revision); err != nil {
			t.Fatal(err)
		}
		if e, _, _ := reader.State().Get("ns", "k"); string(e.Value) != fmt.Sprint(i) {
			t.Fatalf("got %s after waiting for revision %d, want %d", e.Value, a.Revision, i)
		}
	}
	for _, n := range c.Nodes {
		err := n.WaitRevision(within(t, clustertest.Patience), 1_000_000)
		if !errors.Is(err, cluster.ErrRevisionUnknown) {
			t.Errorf("%s: got %v for a revision to come, want ErrRevisionUnknown", n.Config.Name, err)
		}
	}
}

// Ensure that one node alone is a cluster.
func TestSingleNode(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 1, nil)
	c.Nodes[0].Set(t, "ns", "k", "1")
	c.Nodes[0].Restart(t)
	c.WaitReady(c.Nodes[0])
	if got := c.Nodes[0].Get(t, "ns", "k"); got != "1" {
		t.Errorf("got %q after a restart, want 1", got)
	}
}

func TestRestartOne(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 3, nil)
	c.Nodes[0].Set(t, "ns", "k", "1")
	for _, n := range c.Nodes {
		n.Stop(t)
		c.LeaderAmong(c.Running()...).Set(t, "ns", "k", `"`+n.Config.Name+`"`)
		n.Start(t)
		c.WaitReady(n)
		if got := n.Get(t, "ns", "k"); got != `"`+n.Config.Name+`"` {
			t.Errorf("%s read %s after its restart", n.Config.Name, got)
		}
	}
	c.WaitEqual()
}

func TestRestartAll(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 3, nil)
	for i := range 50 {
		c.Nodes[i%3].Set(t, "ns", fmt.Sprint("k", i), fmt.Sprint(i))
	}
	for _, n := range c.Nodes {
		n.Stop(t)
	}
	for _, n := range c.Nodes {
		n.Start(t)
	}
	c.WaitReady(c.Nodes...)
	for i := range 50 {
		if got := c.Nodes[i%3].Get(t, "ns", fmt.Sprint("k", i)); got != fmt.Sprint(i) {
			t.Fatalf("k%d = %q after a restart of all, want %d", i, got, i)
		}
	}
	c.WaitEqual()
}

// Ensure a node that was away past the log's tail gets a snapshot and then the
// rest of the log.
func TestSnapshotInstall(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 3, func(cfg *cluster.Config) {
		cfg.Tuning.SnapshotThreshold, cfg.Tuning.TrailingLogs = 20, 5
		cfg.Tuning.SnapshotInterval = 50 * time.Millisecond
	})
	away := c.Follower()
	away.Stop(t)
	leader := c.LeaderAmong(c.Running()...)
	for i := range 200 {
		leader.Set(t, "ns", fmt.Sprint("k", i%50), fmt.Sprint(i))
	}
	away.Start(t)
	c.WaitReady(away)
	if got := away.Get(t, "ns", "k49"); got != "199" {
		t.Errorf("k49 = %q after a snapshot was installed, want 199", got)
	}
	c.WaitEqual()
	away.Set(t, "ns", "after", "1")
	c.WaitEqual()
}

// Ensure a node with an emptied disk is a new node: it waits until the old one
// has been removed, and then joins.
func TestWipedNode(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 3, nil)
	c.Nodes[0].Set(t, "ns", "k", "1")
	wiped := c.Follower()
	oldID := wiped.ID()
	wiped.Stop(t)
	wiped.Wipe(t)
	wiped.Config.Join = []string{c.Running()[0].GossipAddr(), c.Running()[1].GossipAddr()}
	wiped.Start(t)
	if wiped.ID() == oldID {
		t.Fatal("a node with an emptied disk kept its id")
	}
	if err := wiped.Ready(); err == nil {
		t.Fatal("a node with an emptied disk is ready while the old one is a member")
	}
	remove(t, c, c.Others(wiped)[0], oldID)
	c.WaitReady(wiped)
	waitRole(t, c, wiped, "voter")
	if got := wiped.Get(t, "ns", "k"); got != "1" {
		t.Errorf("k = %q at the wiped node, want 1", got)
	}
	c.WaitEqual()
}

func waitRole(t *testing.T, c *clustertest.Cluster, n *clustertest.Node, role string) {
	t.Helper()
	clustertest.Eventually(t, n.Config.Name+" is a "+role, func() error {
		for _, m := range c.Leader().Status(within(t, time.Second)).Nodes {
			if m.ID == n.ID() && m.Role == role {
				return nil
			}
		}
		return errors.New("not yet")
	})
}

func TestJoinAndLeave(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 3, nil)
	c.Nodes[0].Set(t, "ns", "k", "1")
	for range 2 {
		n := c.Add(nil)
		c.WaitReady(n)
		waitRole(t, c, n, "voter")
		n.Set(t, "ns", n.Config.Name, "1")
	}
	c.WaitEqual()
	for _, n := range c.Nodes[3:] {
		id, name := n.ID(), n.Config.Name
		remove(t, c, c.Nodes[0], name)
		n.Stop(t)
		for _, m := range c.Leader().Status(within(t, time.Second)).Nodes {
			if m.ID == id {
				t.Errorf("%s is still a member", name)
			}
		}
	}
	c.Nodes[1].Set(t, "ns", "k", "2")
	c.WaitEqual()
}

func TestReplicaNeverVotes(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 3, nil)
	replica := c.Add(func(cfg *cluster.Config) { cfg.Replica = true })
	c.WaitReady(replica)
	replica.Set(t, "ns", "k", "1")
	if got := replica.Get(t, "ns", "k"); got != "1" {
		t.Errorf("k = %q at the replica, want 1", got)
	}
	waitRole(t, c, replica, "replica")
	time.Sleep(500 * time.Millisecond) // several rounds of the reconciler, any of which could promote it
	waitRole(t, c, replica, "replica")
}

func TestRemoveDeadNode(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 3, nil)
	name := stopFollower(t, c)
	remove(t, c, c.Running()[0], name)
	for _, n := range c.Running() {
		clustertest.Eventually(t, "not found by "+n.Config.Name, func() error {
			err := n.RemoveMember(within(t, clustertest.Patience), name)
			if err == nil {
				t.Fatalf("%s removed a node that is gone", n.Config.Name)
			}
			if !errors.Is(err, cluster.ErrNotFound) {
				return err
			}
			return nil
		})
	}
	c.Running()[1].Set(t, "ns", "k", "1")
}

// stopFollower stops one and returns the name that the others know it by.
func stopFollower(t *testing.T, c *clustertest.Cluster) (name string) {
	t.Helper()
	n := c.Follower()
	n.Set(t, "ns", "k", "0") // or it may be gone before the others have its name
	n.Stop(t)
	return n.Config.Name
}

func TestRemoveLeader(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 3, nil)
	leader := c.Leader()
	remove(t, c, leader, leader.ID())
	leader.Stop(t)
	c.Leader().Set(t, "ns", "k", "1")
}

// Ensure no voter is removed that the others need for a majority, and that
// nothing has changed then; the one that is down can be removed.
func TestRemoveNeedsMajority(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 3, nil)
	name := stopFollower(t, c)
	for _, n := range c.Running() {
		clustertest.Eventually(t, "refused to remove "+n.Config.Name, func() error {
			err := c.Running()[0].RemoveMember(within(t, clustertest.Patience), n.ID())
			if err == nil {
				t.Fatalf("%s was removed while %s is down", n.Config.Name, name)
			}
			if !errors.Is(err, cluster.ErrRefused) || !strings.Contains(err.Error(), "do not answer: ") || !strings.Contains(err.Error(), name) {
				return err
			}
			return nil
		})
	}
	c.Running()[0].Set(t, "ns", "k", "1")
	remove(t, c, c.Running()[0], name)
	remove(t, c, c.Running()[0], c.Follower().ID())
}

// remove has a node remove a member, and again while the outcome is unknown, or
// refused for want of time, because leaders changed meanwhile.
func remove(t *testing.T, c *clustertest.Cluster, by *clustertest.Node, member string) {
	t.Helper()
	unknown := false
	clustertest.Eventually(t, "removed", func() error {
		l := tenureOf(c.Leader(), nil, c.Running()...)
		err := by.RemoveMember(within(t, clustertest.Patience), member)
		if unknown && errors.Is(err, cluster.ErrNotFound) {
			return nil
		}
		if err != nil && !l.over() {
			t.Fatalf("%s does not remove %s: %v", by.Config.Name, member, err)
		}
		unknown = unknown || errors.Is(err, cluster.ErrOutcomeUnknown)
		return err
	})
}

func TestTransferLeadership(t *testing.T) {
	c := clustertest.New(t, 3, clustertest.Steady)
	const times = 5
	refused := 0
	for range times {
		l := tenureOf(c.Leader(), nil, c.Nodes...)
		next := c.Others(l.leader)[1]
		err := c.Nodes[0].TransferLeadership(within(t, clustertest.Patience), next.Config.Name)
		if err != nil && !errors.Is(err, cluster.ErrRefused) && !errors.Is(err, cluster.ErrOutcomeUnknown) {
			t.Fatal(err)
		}
		moveTo(t, c, next)
		if err != nil || next.Raft().CurrentTerm() != l.term+1 {
			refused++ // no time on a busy machine, or a third was quicker
		}
		l.leader.Set(t, "ns", "k", "1")
	}
	if refused == times {
		t.Errorf("none of %d transfers succeeded at first", times)
	}
}

// Ensure a leader that is cut off answers neither reads nor writes, that the
// others go on, and that it takes part again afterwards.
func TestPartitionedLeader(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 3, nil)
	c.Nodes[0].Set(t, "ns", "k", "1")
	old := c.Leader()
	others := c.Others(old)
	c.Partition([]*clustertest.Node{old}, others)
	next := c.LeaderAmong(others...)
	next.Set(t, "ns", "k", "2")

	if err := old.ReadIndex(within(t, time.Second)); !errors.Is(err, cluster.ErrNoLeader) {
		t.Errorf("got %v for a read at a leader that is cut off, want ErrNoLeader", err)
	}
	if _, err := old.Propose(within(t, time.Second), clustertest.Set("ns", "k", "3")); err == nil {
		t.Error("a leader that is cut off acknowledged a write")
	}
	c.Heal()
	c.WaitReady(old)
	c.WaitEqual()
	old.Set(t, "ns", "k", "4")
	if got := next.Get(t, "ns", "k"); got != "4" {
		t.Errorf("k = %q, want 4", got)
	}
}

// Ensure clients of surviving nodes see neither an error nor a second effect
// while leaders die and connections are cut: every writer increments keys of
// its own, and a key's version is the number of its writes.
func TestExactlyOnceUnderFaults(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 3, clustertest.Steady) // but for the faults
	const writers = 12
	var (
		stop    atomic.Bool
		wg      sync.WaitGroup
		mu      sync.Mutex
		written = make(map[string]uint64)
	)
	for w := range writers {
		// Writers stay with nodes 1 and 2; the third node is the one that dies.
		n, key := c.Nodes[w%2], fmt.Sprint("w", w)
		wg.Go(func() {
			for i := uint64(1); !stop.Load(); i++ {
				a, err := n.Propose(within(t, clustertest.Patience), clustertest.Set("ns", key, fmt.Sprint(i)))
				if err != nil || a.Results[0].Version != i {
					t.Errorf("%s: write %d got %v, %v", key, i, a, err)
					return
				}
				mu.Lock()
				written[key] = i
				mu.Unlock()
			}
		})
	}
	halt := func() { stop.Store(true); wg.Wait() }
	defer halt()
	victim := c.Nodes[2]
	for round := range 4 {
		moveTo(t, c, victim)
		if round%2 == 0 {
			victim.Stop(t)
			c.LeaderAmong(c.Running()...)
			victim.Start(t)
		} else {
			c.Partition([]*clustertest.Node{victim}, c.Nodes[:2])
			c.LeaderAmong(c.Nodes[:2]...)
			c.Heal()
		}
		c.WaitReady(victim)
	}
	halt()
	c.WaitEqual()
	for key, want := range written {
		if e, _, _ := victim.State().Get("ns", key); e.Version != want {
			t.Errorf("%s is at version %d after %d writes", key, e.Version, want)
		}
	}
}

// moveTo makes n the leader.
func moveTo(t *testing.T, c *clustertest.Cluster, n *clustertest.Node) {
	t.Helper()
	clustertest.Eventually(t, n.Config.Name+" leads", func() error {
		if n.Leading() {
			return nil
		}
		err := c.Leader().TransferLeadership(within(t, 5*time.Second), n.ID())
		return fmt.Errorf("transfer: %w", err)
	})
}

// Ensure keys end everywhere at their time, also across a fail-over, never
// early.
func TestExpiry(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 3, nil)
	const ttl = time.Second
	cmd := clustertest.Set("ns", "k", "1")
	cmd.Ops[0].Ttl = ttl.Microseconds()
	start := time.Now()
	if _, err := c.Nodes[0].Propose(within(t, clustertest.Patience), cmd); err != nil {
		t.Fatal(err)
	}
	c.Leader().Stop(t)
	c.LeaderAmong(c.Running()...)
	soon := max(ttl, time.Since(start)) + 10*time.Second
	n := c.Running()[0]
	awaitEnd(t, n, "k")
	if took := time.Since(start); took < ttl || took > soon {
		t.Errorf("a key with a TTL of %v ended after %v, want %v at most", ttl, took, soon)
	}
	c.WaitEqual()
	if keys := n.State().Stats().Keys; keys != 0 {
		t.Errorf("%d keys after all have ended", keys)
	}
}

// Ensure the protocol version rises only when every node supports the next,
// and that a node that does not refuses to start afterwards.
func TestVersionGate(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 3, func(cfg *cluster.Config) { cfg.Tuning.MaxVersion = 1 })
	version := func() uint32 { return c.Leader().State().Version() }
	for _, n := range c.Nodes {
		if v := version(); v != 1 {
			t.Fatalf("version %d while %s speaks 1 only", v, n.Config.Name)
		}
		n.Config.Tuning.MaxVersion = 2
		n.Restart(t)
		c.WaitReady(n)
	}
	clustertest.Eventually(t, "version 2", func() error {
		if v := version(); v != 2 {
			return fmt.Errorf("version %d", v)
		}
		return nil
	})
	c.WaitEqual()
	old := c.Follower()
	old.Stop(t)
	old.Config.Tuning.MaxVersion = 1
	if err := old.TryStart(); err == nil || !strings.Contains(err.Error(), "protocol version 2") {
		t.Errorf("a node that speaks version 1 started in a cluster of version 2: %v", err)
	}
}
