package cluster

import (
	"context"
	"time"

	"github.com/hashicorp/raft"

	"github.com/stateraft/stateraft/cluster/logstore"
)

const (
	// maxTrailingBytes bounds the entries that are kept behind a snapshot.
	// Raft counts entries, and ours may be a few bytes or megabytes.
	maxTrailingBytes = 128 << 20
	minTrailingLogs  = 64

	boundInterval    = 100 * time.Millisecond
	fullSnapshotTime = 5 * time.Second // between snapshots while the disk is full
)

// boundLog keeps the log's room on the disk within bounds: the larger its
// entries are, the fewer are kept behind a snapshot and the sooner the next one
// is taken. While the disk is nearly full it takes snapshots to cut the log.
func (n *Node) boundLog(ctx context.Context) {
	last := time.Now()
	for {
		sleep(ctx, boundInterval)
		if ctx.Err() != nil {
			return
		}
		n.store.Reserve(2 * n.snapshotBytes()) // the next is written before the last one goes
		st := n.store.Stats()
		rc := n.raft.ReloadableConfig()
		rc.TrailingLogs, rc.SnapshotThreshold = n.trailing(st)
		if err := n.raft.ReloadConfig(rc); err != nil {
			n.cfg.Logger.Warn("bound the log", "err", err)
		}
		if st.Full && st.Entries > rc.TrailingLogs && n.snapshotFits(st) && time.Since(last) > fullSnapshotTime {
			last = time.Now()
			if err := n.raft.Snapshot().Error(); err != nil && err != raft.ErrNothingNewToSnapshot {
				n.cfg.Logger.Warn("snapshot of a node whose disk is nearly full", "err", err)
			}
		}
	}
}

// snapshotFits reports whether the disk has room for another snapshot.
func (n *Node) snapshotFits(st logstore.Stats) bool { return n.snapshotBytes() < st.FreeBytes }

// snapshotBytes is about what a snapshot takes on the disk.
func (n *Node) snapshotBytes() uint64 { return n.state.Stats().ImageBytes }

// trailing returns how many entries to keep behind a snapshot, and how many new
// ones ask for another.
func (n *Node) trailing(st logstore.Stats) (keep, threshold uint64) {
	t := n.cfg.Tuning
	if st.Full {
		return minTrailingLogs, minTrailingLogs
	}
	used := uint64(max(st.FileBytes, 0)) - min(uint64(max(st.FileBytes, 0)), st.ReusableBytes)
	size := max(used/max(st.Entries, 1), 1)
	keep = min(t.TrailingLogs, max(maxTrailingBytes/size, minTrailingLogs))
	return keep, min(t.SnapshotThreshold, max(keep/2, minTrailingLogs))
}
