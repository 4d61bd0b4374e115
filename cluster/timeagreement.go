package cluster

import (
	"cmp"
	"context"
	"slices"

	"github.com/hashicorp/raft"

	"github.com/stateraft/stateraft/cluster/clusterpb"
	"github.com/stateraft/stateraft/fsm"
)

// observeLog takes note of the last stamp in the log, which may not be applied
// yet: the clock must not rest on an earlier term than what was promised does.
func (n *Node) observeLog() {
	applied := n.fsm.applied.get()
	for index := n.raft.LastIndex(); index > applied; index-- {
		var l raft.Log
		if n.readLog(index, &l) != nil {
			return // applied and compacted meanwhile
		}
		if l.Type != raft.LogCommand {
			continue
		}
		if stamp, err := fsm.Stamp(l.Data); err == nil {
			n.clock.observe(stamp, n.clock.cameAt(index, l.Term), l.Term, index > n.logEnd)
		}
		return
	}
}

// agreeOnTime returns the cluster time to go on from. A live estimate of this
// node's own is good; one that rests on a snapshot, which is as old as it may be,
// is safe, and others may improve it. Without one a majority of voters is asked: of
// the live estimates that rest on the latest term the greatest counts, if it is not
// older than what this node has; and if all machines have booted since, the
// smallest that a wall clock gives, so that one that is ahead can end nothing early.
func (n *Node) agreeOnTime(ctx context.Context) (int64, error) {
	term, _ := n.clock.restsOn()
	if now, live := n.clock.now(); live && term != 0 {
		return now, nil
	}
	for ctx.Err() == nil {
		if base, ok := n.askTime(ctx); ok {
			return base, nil
		}
		sleep(ctx, maxPause)
	}
	return 0, context.Cause(ctx)
}

func (n *Node) askTime(ctx context.Context) (base int64, ok bool) {
	voters := n.voters()
	answers := n.askAll(ctx, voters, &clusterpb.Request{Clock: &clusterpb.Clock{}})
	own := n.answerClock()
	if own.Live {
		return improve(own, answers), true
	}
	if answers = append(answers, own); len(answers) <= len(voters)/2 {
		return 0, false
	}
	for _, a := range answers {
		a.Live = a.Live && !outdated(a, own) // it is a guess then, like that of a wall clock
	}
	best := slices.MaxFunc(answers, func(a, b *clusterpb.Response) int {
		switch {
		case a.Live != b.Live && a.Live:
			return 1
		case a.Live != b.Live:
			return -1
		case a.Live:
			return cmp.Or(cmp.Compare(a.Term, b.Term), cmp.Compare(a.Estimate, b.Estimate))
		}
		return cmp.Compare(b.Estimate, a.Estimate)
	})
	return best.Estimate, true
}

// improve returns the greatest live estimate that is not older than own.
func improve(own *clusterpb.Response, others []*clusterpb.Response) (best int64) {
	best = own.Estimate
	for _, a := range others {
		if a.Live && own.Index > 0 && !outdated(a, own) {
			best = max(best, a.Estimate)
		}
	}
	return best
}

// outdated reports whether a may not account for what own does: it may be ahead of
// what has been promised since.
func outdated(a, own *clusterpb.Response) bool {
	if own.Term == 0 {
		return a.Index < own.Index
	}
	return a.Term < own.Term
}
