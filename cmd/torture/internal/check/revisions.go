package check

import "github.com/stateraft/stateraft/cmd/torture/internal/history"

// Revisions checks, in all workloads, the order of revisions against that of
// time: what was asked for after an answer had come, or an event, is answered from
// no older state, whatever the node, and a write makes a newer one, which is its
// own. No answer is older than the token that was asked with. Stale reads may be
// older than other answers.
func Revisions(h *history.History) *Verdict {
	v := &Verdict{Name: "revisions", Promise: "revisions follow the order of time"}
	var dated []history.Op
	for _, op := range h.Ops {
		// A copy of a write gets its first answer.
		if op.Dated() && op.Idempotency == "" {
			dated = append(dated, op)
		}
	}
	v.Checked = len(dated)
	revision := func(op history.Op) uint64 { return op.Revision }
	afterOthers(dated, append(newestTold(h.Events), dated...), revision, func(op, newest history.Op) {
		isOld := op.Revision < newest.Revision || changed(op) && op.Revision == newest.Revision
		if !op.Stale && isOld {
			v.Fail("the %s was answered from revision %d, after the %s had been from %d", describe(op), op.Revision, describe(newest), newest.Revision)
		}
		if op.Revision < op.MinRevision && op.Workload != "session" { // Session tells of those
			v.Fail("the %s with token %d was answered from revision %d", describe(op), op.MinRevision, op.Revision)
		}
	})
	ownRevisions(h, v)
	return v
}

// newestTold returns events as the answers that they are for those who ask later,
// each newer than all before.
func newestTold(events []history.Event) (newest []history.Op) {
	highest := uint64(0)
	for _, e := range events {
		if e.Revision > highest {
			highest = e.Revision
			newest = append(newest, history.Op{Kind: "event", Workflow: e.Workflow, Key: e.Key, Node: e.Subscriber, Call: e.At, Return: e.At, Revision: e.Revision})
		}
	}
	return newest
}

// changed reports whether the operation is known to have made a change, the last
// of which has its revision. Agent State does not tell it of deletes.
func changed(op history.Op) bool {
	if op.Outcome != history.OK || op.Conflict {
		return false
	}
	for _, step := range op.Steps {
		if step.Kind == history.Set || step.Kind == history.Delete && step.Found {
			return true
		}
	}
	return op.Wrote() || op.Kind == history.Delete && op.Found
}

// ownRevisions checks that no two writes have one revision. Copies of one do.
func ownRevisions(h *history.History, v *Verdict) {
	owners := map[uint64]history.Op{}
	for _, op := range h.Ops {
		if !op.Dated() || op.Revision == 0 || !changed(op) {
			continue
		}
		first, taken := owners[op.Revision]
		if !taken {
			owners[op.Revision] = op
			continue
		}
		isCopy := op.Idempotency != "" && op.Idempotency == first.Idempotency && slotOf(op) == slotOf(first)
		if !isCopy {
			v.Fail("the %s and the %s both made revision %d", describe(first), describe(op), op.Revision)
		}
	}
}
