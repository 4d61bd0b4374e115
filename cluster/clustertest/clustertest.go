// Package clustertest runs clusters of real nodes in one process, over
// loopback, with a network between them that tests can cut.
package clustertest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/stateraft/stateraft/cluster"
	"github.com/stateraft/stateraft/fsm/fsmpb"
)

// Patience is how long the package waits for what must come about.
const Patience = time.Minute

// A Cluster is some nodes, by the order in which they were added.
type Cluster struct {
	tb    testing.TB
	dir   string
	tune  func(*cluster.Config)
	net   *network
	Nodes []*Node
}

// A Node is one node and what it takes to start it again. The embedded node is
// nil while it is stopped.
type Node struct {
	*cluster.Node
	Config cluster.Config
	Fatal  chan error // receives what made the node stop by itself
	net    *network

	metrics *prometheus.Registry
}

// New starts n nodes that found a cluster together, and waits until all are
// ready. tune, if not nil, changes each node's configuration before it starts.
// The nodes are closed when the test ends.
func New(tb testing.TB, n int, tune func(*cluster.Config)) *Cluster {
	tb.Helper()
	c := &Cluster{tb: tb, dir: tb.TempDir(), tune: tune, net: newNetwork()}
	tb.Cleanup(c.close)
	for range n {
		c.Add(func(cfg *cluster.Config) { cfg.BootstrapExpect = n })
	}
	c.WaitReady(c.Nodes...)
	return c
}

// Add starts one more node, which joins the others.
func (c *Cluster) Add(tune func(*cluster.Config)) *Node {
	c.tb.Helper()
	name := fmt.Sprintf("n%d", len(c.Nodes)+1)
	n := &Node{Fatal: make(chan error, 1), net: c.net}
	n.Config = cluster.Config{
		Name:          name,
		DataDir:       filepath.Join(c.dir, name),
		AdvertiseHTTP: name + ".invalid:7474",
		Join:          c.gossipAddrs(),
		Binary:        "test",
		Logger:        logger(c.tb, name),
		OnFatal:       func(err error) { n.Fatal <- err },
	}
	n.Config.Tuning.PromoteAfter = 50 * time.Millisecond
	for _, f := range []func(*cluster.Config){c.tune, tune} {
		if f != nil {
			f(&n.Config)
		}
	}
	c.Nodes = append(c.Nodes, n)
	c.startFirst(n)
	return n
}

// startFirst starts a node at addresses that are free, and at others if another
// process takes one of them first.
func (c *Cluster) startFirst(n *Node) {
	c.tb.Helper()
	for tries := 0; ; tries++ {
		addrs := freeAddrs(c.tb, 2)
		n.Config.RaftAddr, n.Config.GossipAddr = addrs[0], addrs[1]
		err := n.TryStart()
		switch {
		case err == nil:
			return
		case tries == 10, !strings.Contains(err.Error(), "address already in use"):
			c.tb.Fatalf("start %s: %v", n.Config.Name, err)
		}
	}
}

// Steady has a leader stay in office while the machine stalls for up to a
// second, for tests of one leader. Their first election takes 2 to 4 s.
func Steady(cfg *cluster.Config) {
	cfg.Tuning.Heartbeat, cfg.Tuning.Election, cfg.Tuning.Lease = 2*time.Second, 2*time.Second, time.Second
}

func (c *Cluster) gossipAddrs() []string {
	var addrs []string
	for _, n := range c.Nodes {
		if n.Node != nil {
			addrs = append(addrs, n.GossipAddr())
		}
	}
	return addrs
}

// logger shows a node's log with -v only: it is long.
func logger(tb testing.TB, name string) *slog.Logger {
	if os.Getenv("CLUSTERTEST_LOG") == "" {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(tb.Output(), nil)).With("node", name)
}

// Start starts a stopped node where it was.
func (n *Node) Start(tb testing.TB) {
	tb.Helper()
	if err := n.TryStart(); err != nil {
		tb.Fatalf("start %s: %v", n.Config.Name, err)
	}
}

// TryStart is Start for nodes that may refuse.
func (n *Node) TryStart() error {
	cfg := n.Config
	metrics := prometheus.NewRegistry()
	cfg.Metrics = metrics
	cfg.Tuning.Dial = n.net.dialer(n.Config.Name, n.Config.Tuning.Dial)
	node, err := cluster.Open(cfg)
	if err != nil {
		return err
	}
	n.Node, n.metrics = node, metrics
	n.net.listens(cfg.Name, node.RaftAddr())
	n.Config.RaftAddr, n.Config.GossipAddr = node.RaftAddr(), node.GossipAddr()
	return nil
}

// Metric returns a gauge of the node, by its name without the prefix.
func (n *Node) Metric(tb testing.TB, name string) float64 {
	tb.Helper()
	families, err := n.metrics.Gather()
	if err != nil {
		tb.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "stateraft_"+name {
			return f.Metric[0].GetGauge().GetValue()
		}
	}
	tb.Fatalf("there is no metric %q", name)
	return 0
}

// Stop closes the node, without draining: others see it die.
func (n *Node) Stop(tb testing.TB) {
	tb.Helper()
	if n.Node == nil {
		return
	}
	if err := n.Close(); err != nil {
		tb.Errorf("close %s: %v", n.Config.Name, err)
	}
	n.Node = nil
}

// Kill closes the node, whatever that says: something of it is broken.
func (n *Node) Kill() {
	_ = n.Close()
	n.Node = nil
}

// Restart stops the node and starts it again.
func (n *Node) Restart(tb testing.TB) {
	tb.Helper()
	n.Stop(tb)
	n.Start(tb)
}

// Wipe empties the disk of a stopped node.
func (n *Node) Wipe(tb testing.TB) {
	tb.Helper()
	if err := os.RemoveAll(n.Config.DataDir); err != nil {
		tb.Fatal(err)
	}
}

func (c *Cluster) close() {
	for _, n := range c.Nodes {
		select {
		case err := <-n.Fatal: // of which no test asked
			c.tb.Logf("%s was to end: %v", n.Config.Name, err)
		default:
		}
		n.Stop(c.tb)
	}
}

// Running returns the nodes that are not stopped.
func (c *Cluster) Running() []*Node {
	var running []*Node
	for _, n := range c.Nodes {
		if n.Node != nil {
			running = append(running, n)
		}
	}
	return running
}

// Partition cuts every connection between the two sides and lets none arise.
func (c *Cluster) Partition(a, b []*Node) { c.net.cut(names(a), names(b)) }

// Heal undoes all partitions.
func (c *Cluster) Heal() { c.net.heal() }

func names(nodes []*Node) []string {
	var names []string
	for _, n := range nodes {
		names = append(names, n.Config.Name)
	}
	return names
}

// Leader waits until the running nodes agree on a leader, and returns it.
func (c *Cluster) Leader() *Node {
	c.tb.Helper()
	return c.LeaderAmong(c.Running()...)
}

// LeaderAmong waits until one of the nodes says that it leads.
func (c *Cluster) LeaderAmong(nodes ...*Node) *Node {
	c.tb.Helper()
	var leader *Node
	Eventually(c.tb, "a leader", func() error {
		for _, n := range nodes {
			if n.Leading() {
				leader = n
				return nil
			}
		}
		return errors.New("nobody leads")
	})
	return leader
}

// Others returns the running nodes but n.
func (c *Cluster) Others(n *Node) []*Node {
	return slices.DeleteFunc(c.Running(), func(other *Node) bool { return other == n })
}

// Follower returns a running node that does not lead.
func (c *Cluster) Follower() *Node {
	c.tb.Helper()
	followers := c.Others(c.Leader())
	if len(followers) == 0 {
		c.tb.Fatal("no follower runs")
	}
	return followers[0]
}

// WaitReady waits until the nodes are ready.
func (c *Cluster) WaitReady(nodes ...*Node) {
	c.tb.Helper()
	for _, n := range nodes {
		Eventually(c.tb, n.Config.Name+" ready", func() error { return n.Ready() })
	}
}

// WaitEqual waits until all running nodes hold the same state.
func (c *Cluster) WaitEqual() {
	c.tb.Helper()
	Eventually(c.tb, "equal states", func() error {
		running := c.Running()
		first := running[0].State().Stats()
		for _, n := range running[1:] {
			if st := n.State().Stats(); st.Index != first.Index || st.Hash != first.Hash {
				return fmt.Errorf("%s at %d, %x; %s at %d, %x", running[0].Config.Name, first.Index, first.Hash, n.Config.Name, st.Index, st.Hash)
			}
		}
		return nil
	})
}

// Set writes one key through the node, which must succeed.
func (n *Node) Set(tb testing.TB, ns, key, value string) *fsmpb.Answer {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	a, err := n.Propose(ctx, Set(ns, key, value))
	if err != nil || a.Code != fsmpb.Answer_OK {
		tb.Fatalf("set %s at %s: %v, %v", key, n.Config.Name, a, err)
	}
	return a
}

// Set returns the command that writes one key.
func Set(ns, key, value string) *fsmpb.Command {
	return &fsmpb.Command{Namespace: ns, Ops: []*fsmpb.Op{{Kind: fsmpb.Op_SET, Key: key, Value: []byte(value)}}}
}

// Get reads one key at the node, linearizably; "" if it is absent.
func (n *Node) Get(tb testing.TB, ns, key string) string {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	if err := n.ReadIndex(ctx); err != nil {
		tb.Fatalf("read index at %s: %v", n.Config.Name, err)
	}
	e, _, _ := n.State().Get(ns, key)
	return string(e.Value)
}

// Eventually waits until check returns nil.
func Eventually(tb testing.TB, what string, check func() error) {
	tb.Helper()
	deadline := time.Now().Add(Patience)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			tb.Fatalf("%s: %v after %v", what, err, Patience)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
