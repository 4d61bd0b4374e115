package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// refusedTicks is how many ticks a leadership may answer no write before this
// node ends it. With the tick that sees the first and the hand-over
// (attemptTimeout) that takes 9 s at most; then the others elect.
const refusedTicks = 5

var (
	errRefusing   = errors.New("raft refuses every write, as if it handed leadership over for ever")
	errUnanswered = errors.New("raft does not answer a write that a majority has")
)

// commitFigures are what a committer has seen; all but inHand only grow.
type commitFigures struct {
	ended    uint64 // entries of which raft has said what became
	answered uint64 // of those, in the log and applied
	refused  uint64 // refused because raft believes that it hands leadership over
	inHand   bool   // raft has one that it has not answered
}

// A writeLook is what a leader sees of its own writes at one tick.
type writeLook struct {
	commitFigures
	applied uint64 // last entry applied here
	waits   bool   // for the disk or for followers
}

// A writeWatch finds a leadership that keeps its followers' heartbeats and
// answers no write: raft leads on for ever, and nobody else is elected.
type writeWatch struct {
	seen       writeLook
	refused    int // ticks
	unanswered int // ticks in a row
}

// tick takes note of a look and returns what is wrong, once it has been for
// refusedTicks. Ticks are counted, and not time: see standstill.
//
// Refused: raft says that a transfer of leadership is under way. This program
// never asks for one, so it is a flag left behind (hashicorp/raft issue 696),
// which only the end of the process clears.
//
// Unanswered: the whole tick raft had the same entry in hand and applied
// nothing, though no disk is waited for and a majority has all of the log.
func (w *writeWatch) tick(now writeLook) error {
	was := w.seen
	w.seen = now
	if now.answered != was.answered {
		w.refused, w.unanswered = 0, 0
		return nil
	}
	if now.refused != was.refused {
		w.refused++
	}
	if now.inHand && was.inHand && now.ended == was.ended && now.applied == was.applied && !now.waits {
		w.unanswered++
	} else {
		w.unanswered = 0
	}
	switch {
	case w.refused >= refusedTicks:
		return errRefusing
	case w.unanswered >= refusedTicks:
		return errUnanswered
	}
	return nil
}

// watchWrites ends a leadership that answers no write, and then the process,
// for what is wrong is in its memory and would be so again in its next term.
// ctx ends with the leadership.
func (n *Node) watchWrites(ctx context.Context) {
	ticker := time.NewTicker(n.cfg.Tuning.WatchTick)
	defer ticker.Stop()
	w := writeWatch{seen: n.lookAtWrites()}
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		if err := w.tick(n.lookAtWrites()); err != nil {
			n.quitLeading(ctx, err)
			return
		}
	}
}

// quitLeading hands leadership over if it can, which costs clients less, and
// ends the node. With an entry in raft's hands it cannot: a hand-over waits
// for it first.
func (n *Node) quitLeading(ctx context.Context, cause error) {
	n.cfg.Logger.Error("this leadership answers no write; ending it", "err", cause)
	if errors.Is(cause, errRefusing) && len(n.voters()) > 1 {
		ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
		defer cancel()
		if err := n.handOver(ctx, ""); err != nil && ctx.Err() == nil {
			n.cfg.Logger.Warn("leadership could not be handed over", "err", err)
		}
	}
	n.fatal(fmt.Errorf("a leadership answered no write for %d ticks of %v: %w", refusedTicks, n.cfg.Tuning.WatchTick, cause))
}

func (n *Node) lookAtWrites() writeLook {
	return writeLook{
		commitFigures: n.committer.figures(),
		applied:       n.fsm.applied.get(),
		waits:         n.store.Busy() || !n.majorityHas(n.raft.LastIndex(), n.raft.CurrentTerm()),
	}
}

// majorityHas reports whether a majority of the voters, this node included, is
// known to have the log up to index, in the term that this node leads.
func (n *Node) majorityHas(index, term uint64) bool {
	voters, have := n.voters(), 0
	for _, v := range voters {
		if string(v.ID) == n.id.nodeID() || n.rafts.notices.progressOf(v.ID, term).matched >= index {
			have++
		}
	}
	return have > len(voters)/2
}

// figures returns what the committer has seen so far.
func (c *committer) figures() commitFigures {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.seen
	f.inHand = c.inFlight > 0
	return f
}

// note counts an entry that raft has answered with err.
func (c *committer) note(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen.ended++
	switch {
	case err == nil:
		c.seen.answered++
	case errors.Is(err, raft.ErrLeadershipTransferInProgress):
		c.seen.refused++
	}
}
