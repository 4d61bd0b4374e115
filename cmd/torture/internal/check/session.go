package check

import (
	"cmp"
	"slices"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
)

// Session checks clients that go from node to node with the revision of their
// last answer: what they read is never older than what they have written or
// read before, and in the end all that they have written is there. Keys of that
// workload are only ever set.
func Session(h *history.History) *Verdict {
	v := &Verdict{Name: "sessions", Promise: "a stale read with a revision's token shows the session's own writes and never goes back"}
	ops := h.Of("session")
	slices.SortStableFunc(ops, func(a, b history.Op) int {
		return cmp.Or(cmp.Compare(a.Client, b.Client), cmp.Compare(a.Call, b.Call))
	})
	type place struct {
		client int
		slot   slot
	}
	seen, acked := map[place]history.Op{}, map[slot]uint64{}
	for _, op := range ops {
		if op.Outcome != history.OK {
			continue
		}
		v.Checked++
		at := place{op.Client, slotOf(op)}
		if op.Wrote() {
			acked[at.slot] = max(acked[at.slot], op.Version)
		}
		before := seen[at]
		if op.Kind == history.Get && op.Version < before.Version {
			v.Fail("the %s with token %d found version %d, after the %s had version %d", describe(op), op.MinRevision, op.Version, describe(before), before.Version)
		}
		if op.Revision < op.MinRevision {
			v.Fail("the %s with token %d was answered from revision %d", describe(op), op.MinRevision, op.Revision)
		}
		if op.Version > before.Version {
			seen[at] = op
		}
	}
	for s, version := range acked {
		forEachFinal(h, v, s, func(node string, e history.Entry) {
			if e.Version < version {
				v.Fail("%s is at version %d on %s in the end, and a session had written %d", s, e.Version, node, version)
			}
		})
	}
	return v
}
