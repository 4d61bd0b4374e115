package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stateraft/stateraft/client"
)

// wholePause is how long a look at the cluster is apart from the next.
const wholePause = 50 * time.Millisecond

// WaitWhole returns once every node runs, is ready, agrees on the leader, counts
// all of them as voters, and takes sets; else, when ctx ends, what is missing.
func (c *Cluster) WaitWhole(ctx context.Context) error {
	return until(ctx, wholePause, func() error { return c.whole(ctx) })
}

// WaitEqual returns once all nodes, on which nobody works, show the same hash
// of their state at the same index; else, when ctx ends, how they differ.
func (c *Cluster) WaitEqual(ctx context.Context) error {
	return until(ctx, wholePause, func() error { return c.equal(ctx) })
}

// errDiverged says that two nodes are in different states at the same index,
// which no time heals.
var errDiverged = errors.New("the nodes diverged")

// until repeats a look, with a pause in between, until it finds nothing wrong.
func until(ctx context.Context, pause time.Duration, look func() error) error {
	for last := errors.New("there was no time to look"); ; {
		err := look()
		if err == nil {
			return nil
		}
		if errors.Is(err, errDiverged) {
			return err
		}
		if ctx.Err() != nil {
			return last // what was found after the end is the end itself
		}
		last = err
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

func (c *Cluster) whole(ctx context.Context) error {
	leader := ""
	for _, n := range c.Nodes {
		if err := n.Ready(ctx); err != nil {
			return err
		}
		st, err := n.Status(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", n.Name, err)
		}
		if leader == "" {
			leader = st.Leader
		}
		if st.Leader != leader {
			return fmt.Errorf("%s follows %q, %s follows %q", n.Name, st.Leader, c.Nodes[0].Name, leader)
		}
		if err := c.allVote(n, st); err != nil {
			return err
		}
	}
	for _, n := range c.Nodes {
		if err := n.TakesSets(ctx); err != nil { // a node that is ready may be stuck where it writes
			return err
		}
	}
	return nil
}

func (c *Cluster) allVote(n *Node, st client.ClusterStatus) error {
	voters := 0
	for _, m := range st.Nodes {
		if m.Role == "voter" && m.Healthy {
			voters++
		}
	}
	if voters != len(c.Nodes) || len(st.Nodes) != voters {
		return fmt.Errorf("%s counts %d members and %d healthy voters, want %d", n.Name, len(st.Nodes), voters, len(c.Nodes))
	}
	return nil
}

func (c *Cluster) equal(ctx context.Context) error {
	st, err := c.Nodes[0].Status(ctx)
	if err != nil {
		return err
	}
	for _, m := range st.Nodes {
		first := st.Nodes[0]
		switch {
		case m.StateHash == "":
			return fmt.Errorf("%s shows no hash of its state", m.Name)
		case m.AppliedIndex == first.AppliedIndex && m.StateHash != first.StateHash:
			return fmt.Errorf("%w: %s has state %s at index %d, %s has %s", errDiverged, first.Name, first.StateHash, first.AppliedIndex, m.Name, m.StateHash)
		case m.AppliedIndex != first.AppliedIndex:
			return fmt.Errorf("%s has state %s at index %d, %s has %s at %d", first.Name, first.StateHash, first.AppliedIndex, m.Name, m.StateHash, m.AppliedIndex)
		}
	}
	return nil
}
