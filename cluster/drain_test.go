package cluster_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stateraft/stateraft/cluster"
	"github.com/stateraft/stateraft/cluster/clustertest"
)

// Ensure a node that drains hands over again if the one that it told to lead
// does not win and leadership comes back.
func TestDrainHandsOverAgain(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 5, func(cfg *cluster.Config) {
		if cfg.Name != "n1" { // nobody else stands without being told to
			cfg.Tuning.Heartbeat, cfg.Tuning.Election, cfg.Tuning.Lease = time.Minute, time.Minute, 30*time.Second
		}
	})
	leader := c.LeaderAmong(c.Nodes[0])
	others := c.Others(leader)
	for i := range others { // whoever is told to has two votes of five
		c.Partition(others[i:i+1], others[i+1:])
	}
	term := leader.Raft().CurrentTerm()
	drained := make(chan error, 1)
	go func() { drained <- leader.Drain(within(t, clustertest.Patience)) }()
	clustertest.Eventually(t, "leads anew", func() error {
		if leader.Leading() && leader.Raft().CurrentTerm() > term {
			return nil
		}
		return fmt.Errorf("it is in term %d, led in %d", leader.Raft().CurrentTerm(), term)
	})
	c.Heal()
	if err := <-drained; err != nil {
		t.Fatal(err)
	}
	if _, id := leader.Raft().LeaderWithID(); id == "" || string(id) == leader.ID() {
		t.Errorf("after the drain %q leads", id)
	}
}

// Ensure leadership goes past a voter that drains. A machine that stalls may
// lose the answer of the other, and then the one that drains leads for a moment.
func TestHandOverPassesDrained(t *testing.T) {
	t.Parallel()
	var err error
	for range 3 {
		if err = handOverPastDrained(t); err == nil {
			return
		}
	}
	t.Error(err)
}

func handOverPastDrained(t *testing.T) error {
	c := clustertest.New(t, 3, clustertest.Steady)
	leader := c.Leader()
	c.WaitReady(c.Nodes...)
	first := leader.OtherVoters()[0] // the one that is asked first
	for _, n := range c.Others(leader) {
		if n.ID() == first {
			drain(t, n)
		}
	}
	term := leader.Raft().CurrentTerm()
	drain(t, leader)
	if next := c.Leader(); next == leader || next.ID() == first || next.Raft().CurrentTerm() != term+1 {
		return fmt.Errorf("%s leads in term %d, after %d; drained are %s and %s", next.ID(), next.Raft().CurrentTerm(), term, leader.ID(), first)
	}
	return nil
}

// Ensure a node that drains and is made to lead hands over to one that does
// not drain, and leads if all do.
func TestDrainedNodeHandsOn(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 3, clustertest.Steady)
	leader := c.Leader()
	others := c.Others(leader)
	c.WaitReady(others...)
	drained, term := others[0], leader.Raft().CurrentTerm()
	drain(t, drained)
	clustertest.Eventually(t, "made to lead", func() error {
		return leader.TransferLeadership(within(t, clustertest.Patience), drained.ID())
	})
	clustertest.Eventually(t, "handed on", func() error {
		if now := c.Leader(); now == drained || now.Raft().CurrentTerm() < term+2 {
			return fmt.Errorf("%s leads in term %d, after %d", now.Config.Name, now.Raft().CurrentTerm(), term)
		}
		return nil
	})

	for _, n := range c.Nodes {
		drain(t, n)
	}
	clustertest.Eventually(t, "one leads though all drain", func() error {
		last := c.Leader()
		term := last.Raft().CurrentTerm()
		tried, err := last.HandOverToReady(t.Context())
		if is := last.Raft().CurrentTerm(); tried || is != term || !last.Leading() {
			return fmt.Errorf("%s led in term %d and is in %d, %w", last.Config.Name, term, is, err)
		}
		return nil
	})
}

// drain tries again where a busy machine is slow to elect.
func drain(t *testing.T, n *clustertest.Node) {
	t.Helper()
	clustertest.Eventually(t, "drained", func() error { return n.Drain(within(t, clustertest.Patience)) })
}
