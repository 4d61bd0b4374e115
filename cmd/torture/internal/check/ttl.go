package check

import (
	"cmp"
	"slices"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
)

// TTL checks keys that end: none is absent sooner than its TTL after the call
// of its last acknowledged set, by the client's monotonic clock, none that has
// ended is found again, and one whose last set gave no TTL is never absent until
// it is deleted. One client works on a key, always with the same TTL, so that a
// set of unknown outcome can only put the end off, or bring it back to a key that
// had none. While a node's clock is known to be fast, keys may end early by as
// much as that gains. How late keys end is told.
func TTL(h *history.History) *Verdict {
	v := &Verdict{Name: "ttl", Promise: "a key never ends early, and is gone in the end"}
	bySlot := map[slot][]history.Op{}
	for _, op := range h.Of("ttl") {
		bySlot[slotOf(op)] = append(bySlot[slotOf(op)], op)
	}
	var late []time.Duration
	for _, ops := range bySlot {
		slices.SortFunc(ops, func(a, b history.Op) int { return cmp.Compare(a.Call, b.Call) })
		if d, ended := lifetime(v, h, ops); ended {
			late = append(late, d)
		}
	}
	if len(late) > 0 {
		slices.Sort(late)
		v.note("%d keys seen to end; found after their time at most: median %v, worst %v", len(late), late[len(late)/2].Round(time.Millisecond), late[len(late)-1].Round(time.Millisecond))
	}
	return v
}

// lifetime goes through one key's operations, in order. It returns by how much
// the key outlived its time as far as linearizable reads showed, if it is known
// when that was.
func lifetime(v *Verdict, h *history.History, ops []history.Op) (late time.Duration, ended bool) {
	var set history.Op  // the last acknowledged; zero: it may have been deleted
	var gone history.Op // the read that showed its end; zero: none has
	unsure := false     // a set of unknown outcome came after it
	mayComeYet := false // one came at any time
	for _, op := range ops {
		switch {
		case op.Kind == history.Delete && op.Outcome != history.Refused:
			set, gone, ended = history.Op{}, history.Op{}, false
		case op.Wrote():
			set, gone, unsure, ended = op, history.Op{}, false, false
		case op.Outcome == history.Unknown && op.Kind.IsWrite():
			unsure, mayComeYet = true, true
		case op.Kind != history.Get || op.Outcome != history.OK || set.Version == 0:
		case set.TTL == 0:
			v.Checked++
			if !op.Found && !mayComeYet {
				v.Fail("absent in the %s, and the %s had given it no TTL", describe(op), describe(set))
			}
		case op.Found:
			v.Checked++
			if !op.Stale {
				late = max(late, op.Call-set.Return-set.TTL)
			}
			if isLater := !op.Stale || op.Revision >= gone.Revision; gone.Kind != "" && !mayComeYet && isLater {
				v.Fail("found in the %s, after its end had shown in the %s", describe(op), describe(gone))
			}
		default:
			v.Checked++
			ended = !unsure
			if !op.Stale || op.Revision >= set.Revision {
				gone = op
			}
			if early := set.Call + set.TTL - op.Return; early > h.Gained(set.Call, op.Return) {
				v.Fail("absent in the %s, %v before %v were over since the %s", describe(op), early, set.TTL, describe(set))
			}
		}
	}
	return late, ended && !unsure
}
