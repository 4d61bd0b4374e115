package check

import "github.com/stateraft/stateraft/cmd/torture/internal/history"

// Revisions checks, in all workloads, the order of revisions against that of
// time: what was asked for after an answer had come is answered from no older
// state, whatever the node, and no answer is older than the token that was
// asked with. Stale reads may be older than other answers.
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
	afterOthers(dated, revision, func(op, newest history.Op) {
		if !op.Stale && op.Revision < newest.Revision {
			v.Fail("the %s was answered from revision %d, after the %s had been from %d", describe(op), op.Revision, describe(newest), newest.Revision)
		}
		if op.Revision < op.MinRevision {
			v.Fail("the %s with token %d was answered from revision %d", describe(op), op.MinRevision, op.Revision)
		}
	})
	return v
}
