package cluster_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stateraft/stateraft/cluster"
	"github.com/stateraft/stateraft/cluster/clustertest"
	"github.com/stateraft/stateraft/fsm"
	"github.com/stateraft/stateraft/fsm/fsmpb"
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

// Ensure a node gives up the end of its log, of which nothing was committed, with
// a snapshot that reaches over it: as a leader it would send it to others, for
// which it is committed then.
func TestSnapshotBehindTheLog(t *testing.T) {
	t.Parallel()
	inOneTerm(t, snapshotBehindLog)
}

func snapshotBehindLog(t *testing.T) (led bool) {
	c := clustertest.New(t, 3, func(cfg *cluster.Config) {
		clustertest.Steady(cfg)
		cfg.Tuning.SnapshotInterval, cfg.Tuning.TrailingLogs = time.Hour, 1
	})
	old := c.Leader()
	old.Set(t, "ns", "k", "1")
	clustertest.Eventually(t, "the cluster's version", func() error { // its entry would replace the log
		if v := old.State().Version(); v != fsm.MaxVersion {
			return fmt.Errorf("it is %d", v)
		}
		return nil
	})
	c.WaitEqual()
	entry, err := fsm.Encode(&fsmpb.Entry{})
	if err != nil {
		t.Fatal(err)
	}
	l := tenureOf(old, nil)
	c.Partition([]*clustertest.Node{old}, c.Others(old))
	lost := old.Raft().LastIndex() + 1
	old.Raft().Apply(entry, 0) // answered when the leadership is lost
	if !l.awaits(t, "an entry that nobody else has", func() error {
		if !old.HasEntry(lost) {
			return fmt.Errorf("there is no entry %d", lost)
		}
		return nil
	}) {
		return false
	}
	leader := c.LeaderAmong(c.Others(old)...)
	l = tenureOf(leader, nil)
	for i := range 10 {
		leader.Set(t, "ns", "k", fmt.Sprint(i))
	}
	if err := leader.Raft().Snapshot().Error(); err != nil {
		t.Fatal(err)
	}
	end := leader.State().Point()
	c.Heal()
	if !l.awaits(t, "the node to take the snapshot", func() error {
		if at := old.State().Point(); at.Index < end.Index {
			return fmt.Errorf("it is at %+v, not at %+v", at, end)
		}
		return nil
	}) {
		return false
	}
	clustertest.Eventually(t, "the log to go", func() error {
		if old.HasEntry(lost) {
			return fmt.Errorf("it has entry %d", lost)
		}
		return nil
	})
	if leader.State().Point() != end {
		return false // an entry may have replaced the log
	}
	moveTo(t, c, old)
	old.Set(t, "ns", "k", "2")
	c.WaitEqual()
	old.Restart(t)
	c.WaitReady(old)
	c.WaitEqual()
	return true
}
