package check

import (
	"cmp"
	"math"
	"slices"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
)

// Versions checks, in all workloads, that a version of a key stands for one
// value for ever, whoever read it and however stale, that versions of writes that
// followed each other in time rise, and that they rise with revisions: who reads
// the state of a revision finds the last version that was written by then, or one
// of a write whose revision nobody knows.
func Versions(h *history.History) *Verdict {
	v := &Verdict{Name: "versions", Promise: "a version of a key stands for one value and never comes back"}
	writes := map[slot][]history.Op{}
	for _, op := range h.Ops {
		// A copy of a write gets its first answer.
		if op.Wrote() && op.Idempotency == "" {
			writes[slotOf(op)] = append(writes[slotOf(op)], op)
		}
	}
	for _, of := range writes {
		rising(v, of)
	}
	for s, of := range sightings(h) {
		v.Checked += len(of)
		oneValueEach(v, s, of)
		inOrder(v, s, of)
	}
	return v
}

// sighting is a key at a version, as a write was answered, or as somebody found
// it.
type sighting struct {
	by       *history.Op // nil: the end
	node     string      // in the end
	value    string
	version  uint64
	revision uint64 // of the state that had it
	isDated  bool   // revision is known
	isWrite  bool
}

func (s sighting) String() string {
	if s.by == nil {
		return "end at " + s.node
	}
	return describe(*s.by)
}

// sightings returns all, by key. The end is behind all revisions.
func sightings(h *history.History) map[slot][]sighting {
	all := map[slot][]sighting{}
	for i := range h.Ops {
		op := &h.Ops[i]
		if op.Outcome != history.OK || op.Conflict {
			continue
		}
		add := func(key, value string, version uint64, isWrite bool) {
			of := slotOf(*op)
			of.key = key
			isDated := op.Dated() && op.Idempotency == ""
			all[of] = append(all[of], sighting{op, "", value, version, op.Revision, isDated, isWrite})
		}
		switch {
		case op.Wrote():
			add(op.Key, op.Value, op.Version, true)
		case op.Kind == history.Get && op.Found:
			add(op.Key, op.Value, op.Version, false)
		case op.Kind == history.List:
			for _, e := range op.Entries {
				add(e.Key, e.Value, e.Version, false)
			}
		case op.Kind == history.Atomic:
			for _, step := range op.Steps {
				if step.Kind == history.Set {
					add(step.Key, step.Value, step.Version, true)
				}
			}
		}
	}
	for node, entries := range h.Final {
		for _, e := range entries {
			all[placeOf(e)] = append(all[placeOf(e)], sighting{nil, node, e.Value, e.Version, math.MaxUint64, true, false})
		}
	}
	return all
}

func oneValueEach(v *Verdict, s slot, of []sighting) {
	values := map[uint64]sighting{}
	for _, found := range of {
		first, known := values[found.version]
		if !known {
			values[found.version] = found
		} else if first.value != found.value {
			v.Fail("version %d of %s is %s in the %v and %s in the %v", found.version, s, first.value, first, found.value, found)
		}
	}
}

// inOrder compares what was found with the writes of the revisions before and
// behind.
func inOrder(v *Verdict, s slot, of []sighting) {
	var writes []sighting
	for _, w := range of {
		if w.isWrite && w.isDated {
			writes = append(writes, w)
		}
	}
	slices.SortFunc(writes, func(a, b sighting) int { return cmp.Compare(a.revision, b.revision) })
	for i, w := range writes[min(1, len(writes)):] {
		if before := writes[i]; w.version <= before.version {
			v.Fail("%s got version %d at revision %d, in the %v, and %d at %d, in the %v", s, w.version, w.revision, w, before.version, before.revision, before)
			return // what is to be found is unknown
		}
	}
	for _, found := range of {
		if found.isWrite || !found.isDated {
			continue
		}
		next, _ := slices.BinarySearchFunc(writes, found.revision, func(w sighting, revision uint64) int {
			if w.revision <= revision {
				return -1
			}
			return 1
		})
		if next > 0 && found.version < writes[next-1].version {
			v.Fail("%s was at version %d, as of revision %d, in the %v, and the %v had made it %d at %d", s, found.version, found.revision, found, writes[next-1], writes[next-1].version, writes[next-1].revision)
		}
		if next < len(writes) && found.version >= writes[next].version {
			v.Fail("%s was at version %d, as of revision %d, in the %v, and the %v made it %d at %d", s, found.version, found.revision, found, writes[next], writes[next].version, writes[next].revision)
		}
	}
}

// rising compares each write with those that had returned before its call.
func rising(v *Verdict, writes []history.Op) {
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
