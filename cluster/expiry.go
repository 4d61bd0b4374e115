package cluster

import (
	"context"
	"time"

	"github.com/stateraft/stateraft/fsm/fsmpb"
)

// minTick is the least time between two entries that only move the clock,
// unless one could not end all that was due, and after one that failed.
const minTick = 10 * time.Millisecond

// idleWait is how long the driver sleeps when no key has a deadline; an entry
// that brings one wakes it.
const idleWait = time.Hour

// driveExpiry ends keys on time: it sleeps until the next deadline and, if no
// write has moved cluster time past it by then, proposes an entry that does.
func (n *Node) driveExpiry(ctx context.Context, t *leadTerm) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.applied:
		case <-timer.C:
			deadline, ok := n.state.NextDeadline()
			if ok && n.clock.until(deadline) <= 0 && (!n.tick(ctx, deadline) || !n.state.EndsWaiting()) {
				sleep(ctx, minTick)
			}
		}
		timer.Reset(n.untilDue())
	}
}

// tick ends what is due, and reports whether its entry was applied: one ends only
// so many keys.
func (n *Node) tick(ctx context.Context, deadline int64) bool {
	if _, err := n.committer.commit(ctx, &fsmpb.Entry{}); err != nil {
		return false
	}
	n.metrics.expiryLate.Observe(-n.clock.until(deadline).Seconds())
	return true
}

func (n *Node) untilDue() time.Duration {
	deadline, ok := n.state.NextDeadline()
	if !ok {
		return idleWait
	}
	return max(n.clock.until(deadline), 0)
}
