package cluster_test

import (
	"testing"
	"time"

	"github.com/stateraft/stateraft/cluster"
	"github.com/stateraft/stateraft/cluster/clustertest"
)

// Ensure a follower that is further than its leader knows keeps what it has: a
// snapshot that is older than its state changes nothing, and entries that follow
// one that it has compacted are no reason to send it one.
func TestStateNeverGoesBack(t *testing.T) {
	t.Parallel()
	inOneTerm(t, goBack)
}

func goBack(t *testing.T) (led bool) {
	c := clustertest.New(t, 3, func(cfg *cluster.Config) {
		clustertest.Steady(cfg)
		cfg.Tuning.SnapshotInterval, cfg.Tuning.TrailingLogs = time.Hour, 1
	})
	leader := c.Leader()
	l := tenureOf(leader, nil, c.Nodes...)
	f := c.Others(leader)[0]
	leader.Set(t, "ns", "k", "1")
	if err := leader.Raft().Snapshot().Error(); err != nil {
		t.Fatal(err)
	}
	older := leader.Raft().LastIndex()
	for range 20 {
		leader.Set(t, "ns", "k", "2")
	}
	c.WaitEqual()
	if err := f.Raft().Snapshot().Error(); err != nil {
		t.Fatal(err)
	}

	at := f.State().Point()
	end, err := leader.SendSnapshot(f.Node)
	if now := f.State().Point(); now.Index < at.Index || now.Revision < at.Revision {
		t.Errorf("the state went back from %+v to %+v", at, now)
	}
	if l.over() {
		return false // and the snapshot refused
	}
	if err != nil || end > older {
		t.Errorf("a snapshot up to entry %d, sent to a node with entry %d applied: %v", end, at.Index, err)
	}
	err = leader.SendEntries(f.Node, end+1, at.Index)
	if l.over() {
		return false
	}
	if err != nil {
		t.Errorf("entries %d to %d, sent to a node that has compacted them: %v", end+1, at.Index, err)
	}
	leader.Set(t, "ns", "k", "3")
	awaitKey(t, f, "k", "3")
	c.WaitEqual()
	return true
}
