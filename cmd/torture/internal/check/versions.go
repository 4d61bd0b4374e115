package check

import (
	"cmp"
	"slices"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
)

// Versions checks, in all workloads, that a version of a key stands for one
// value for ever, whoever read it and however stale, and that versions of
// writes that followed each other in time rise.
func Versions(h *history.History) *Verdict {
	v := &Verdict{Name: "versions", Promise: "a version of a key stands for one value and never comes back"}
	bySlot := map[slot][]history.Op{}
	for _, op := range h.Ops {
		isSeen := op.Kind == history.Get && op.Outcome == history.OK && op.Found
		if op.Wrote() || isSeen {
			bySlot[slotOf(op)] = append(bySlot[slotOf(op)], op)
			v.Checked++
		}
	}
	for _, ops := range bySlot {
		oneValueEach(v, ops)
		rising(v, ops)
	}
	return v
}

func oneValueEach(v *Verdict, ops []history.Op) {
	values := map[uint64]history.Op{}
	for _, op := range ops {
		first, known := values[op.Version]
		if !known {
			values[op.Version] = op
		} else if first.Value != op.Value {
			v.Fail("version %d is %s in the %s and %s in the %s", op.Version, first.Value, describe(first), op.Value, describe(op))
		}
	}
}

// rising compares each write with those that had returned before its call. A
// request with an idempotency key may be a copy, and its answer an old one.
func rising(v *Verdict, ops []history.Op) {
	writes := slices.DeleteFunc(slices.Clone(ops), func(op history.Op) bool { return !op.Wrote() || op.Idempotency != "" })
	version := func(op history.Op) uint64 { return op.Version }
	afterOthers(writes, writes, version, func(op, highest history.Op) {
		if op.Version <= highest.Version {
			v.Fail("the %s got version %d after the %s had got %d", describe(op), op.Version, describe(highest), highest.Version)
		}
	})
}

// afterOthers shows each operation beside the highest, by rank, of those others
// that had returned before its call; the zero one: none had.
func afterOthers(ops, others []history.Op, rank func(history.Op) uint64, show func(op, highest history.Op)) {
	calls, returns := slices.Clone(ops), slices.Clone(others)
	slices.SortFunc(calls, func(a, b history.Op) int { return cmp.Compare(a.Call, b.Call) })
	slices.SortFunc(returns, func(a, b history.Op) int { return cmp.Compare(a.Return, b.Return) })
	var highest history.Op
	for _, op := range calls {
		for len(returns) > 0 && returns[0].Return < op.Call {
			if rank(returns[0]) > rank(highest) {
				highest = returns[0]
			}
			returns = returns[1:]
		}
		show(op, highest)
	}
}
