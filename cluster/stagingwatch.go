package cluster

import (
	"bytes"
	"context"
	"time"

	"github.com/stateraft/stateraft/fsm/fsmpb"
)

// A stagingWatch finds a restore whose node has gone: what it has brought takes
// memory on every node, and room in every snapshot, until somebody drops it.
type stagingWatch struct {
	id    []byte // nil: no restore is under way
	next  uint64 // sequence of the step that comes next
	since time.Time
}

// idle takes note of the restore under way and returns for how long it has stood
// still.
func (w *stagingWatch) idle(id []byte, next uint64, now time.Time) time.Duration {
	if id == nil || !bytes.Equal(id, w.id) || next != w.next {
		*w = stagingWatch{id, next, now}
	}
	return now.Sub(w.since)
}

// watchStaging drops, as the leader, what a restore has brought that stands
// still. One that goes on after all is refused its next step.
func (n *Node) watchStaging(ctx context.Context) {
	var w stagingWatch
	for {
		sleep(ctx, n.cfg.Tuning.WatchTick)
		if ctx.Err() != nil {
			return
		}
		id, next := n.state.Staged()
		idle := w.idle(id, next, time.Now())
		if idle < n.cfg.Tuning.RestoreIdle {
			continue
		}
		n.cfg.Logger.Warn("a restore stands still; dropping what it has brought", "for", idle, "bytes", n.state.Stats().StagedBytes)
		drop := &fsmpb.Restore{Step: fsmpb.Restore_DROP, Id: id, Sequence: next}
		_, _ = n.committer.commit(ctx, &fsmpb.Entry{Restore: drop}) // looked at again at the next tick
	}
}
