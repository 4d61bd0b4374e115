package cluster

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/stateraft/stateraft/cluster/clusterpb"
	"github.com/stateraft/stateraft/fsm/fsmpb"
)

const (
	// diskInterval is the time between a leader's looks at the voters' disks.
	// The room that a disk that is nearly full still has lasts much longer.
	diskInterval = 200 * time.Millisecond

	// The history takes at most this part of the smallest disk of a voter: it is
	// in every snapshot, of which three are there while one is written, and
	// deletes, which are to make room, make it grow.
	historyShare = 16
)

// disks is what a leader knows of the voters' disks, its own included.
type disks struct {
	full     atomic.Bool   // one is nearly full
	smallest atomic.Uint64 // bytes; 0: not known
}

// diskFull reports whether only what makes the state smaller is to be accepted:
// this node's disk is nearly full or, if it leads, any voter's is. A follower
// cannot refuse what is committed: left alone it would take entries until its
// disk is full and it must stop. The operator can remove it instead.
func (n *Node) diskFull() bool { return n.store.Full() || n.disks.full.Load() }

// settings are what this node announces as the leader.
func (n *Node) settings() *fsmpb.Settings {
	s := n.cfg.Settings.proto()
	if disk := n.disks.smallest.Load(); disk > 0 {
		s.HistoryBytes = min(s.HistoryBytes, disk/historyShare)
	}
	return s
}

// watchDisks keeps disks until ctx, the term's, ends. A voter that does not
// answer holds nobody up.
func (n *Node) watchDisks(ctx context.Context) {
	defer n.disks.full.Store(false)
	ticker := time.NewTicker(diskInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			answers := n.askAll(ctx, n.voters(), &clusterpb.Request{Status: &clusterpb.Status{}})
			n.noteFull(answers)
			n.noteSmallest(ctx, answers)
		case <-ctx.Done():
			return
		}
	}
}

func (n *Node) noteFull(answers []*clusterpb.Response) {
	var full []string
	for _, a := range answers {
		if a.Status.GetDiskFull() {
			full = append(full, a.Status.Name)
		}
	}
	slices.Sort(full)
	if was := n.disks.full.Swap(len(full) > 0); was != (len(full) > 0) {
		n.cfg.Logger.Warn("voters whose disk is nearly full: until there are none, only deletes are accepted", "nodes", full)
	}
}

// noteSmallest announces other settings if the smallest disk asks for them.
func (n *Node) noteSmallest(ctx context.Context, answers []*clusterpb.Response) {
	smallest := n.store.Stats().DiskBytes
	for _, a := range answers {
		if bytes := a.Status.GetDiskBytes(); bytes > 0 {
			smallest = min(smallest, bytes)
		}
	}
	was := n.settings().HistoryBytes
	n.disks.smallest.Store(smallest)
	if is := n.settings().HistoryBytes; is != was {
		n.cfg.Logger.Info("history bounded by the smallest disk", "bytes", is, "disk", smallest)
		_, _ = n.committer.commit(ctx, &fsmpb.Entry{LeaderStart: n.leaderStart()}) // a later term announces it too
	}
}
