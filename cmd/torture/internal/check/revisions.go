package check

import (
	"cmp"
	"slices"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
)

// Revisions checks, in all workloads, the order of revisions against that of
// time: what was asked for after an answer had come is answered from no older
// state, whatever the node, and no answer is older than the token that was
// asked with. Stale reads may be older.
func Revisions(h *history.History) *Verdict {
	v := &Verdict{Name: "revisions", Promise: "revisions follow the order of time"}
	var calls []history.Op
	for _, op := range h.Ops {
		// A copy of a write gets its first answer.
		if op.Revision > 0 && op.Outcome == history.OK && op.Idempotency == "" && op.Kind != history.Restore && op.Kind != history.Resume {
			calls = append(calls, op)
		}
	}
	returns := slices.Clone(calls)
	slices.SortFunc(calls, func(a, b history.Op) int { return cmp.Compare(a.Call, b.Call) })
	slices.SortFunc(returns, func(a, b history.Op) int { return cmp.Compare(a.Return, b.Return) })
	var newest history.Op
	for _, op := range calls {
		v.Checked++
		for len(returns) > 0 && returns[0].Return < op.Call {
			if returns[0].Revision > newest.Revision {
				newest = returns[0]
			}
			returns = returns[1:]
		}
		if !op.Stale && op.Revision < newest.Revision {
			v.Fail("the %s was answered from revision %d, after the %s had been from %d", describe(op), op.Revision, describe(newest), newest.Revision)
		}
	}
	return v
}
