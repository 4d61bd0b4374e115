package cluster_test

import (
	"testing"
	"time"

	"github.com/stateraft/stateraft/cluster"
	"github.com/stateraft/stateraft/cluster/clustertest"
)

// Ensure a node can go back to an older build for as long as one node of the
// cluster is of it, also where a newer build leads and would raise the version.
func TestGoBackBeforeVersionRises(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 3, func(cfg *cluster.Config) { cfg.Tuning.MaxVersion = 1 })
	upgraded := c.Nodes[:2]
	for _, n := range upgraded {
		n.Config.Tuning.MaxVersion = 2
		n.Restart(t)
		c.WaitReady(n)
	}
	if c.Leader() == c.Nodes[2] {
		moveTo(t, c, upgraded[0])
	}
	time.Sleep(1500 * time.Millisecond) // some rounds of the leader's reconciler, which must have no effect
	for _, n := range upgraded {
		n.Stop(t)
		n.Config.Tuning.MaxVersion = 1
		if err := n.TryStart(); err != nil {
			t.Fatalf("%s cannot go back: %v", n.Config.Name, err)
		}
		c.WaitReady(n)
	}
	c.WaitEqual()
}
