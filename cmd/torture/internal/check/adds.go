package check

import "github.com/stateraft/stateraft/cmd/torture/internal/history"

// Adds checks keys that are each written once: on every node, all that were
// acknowledged are there in the end, none that was refused, and nothing else.
// Whatever is there was written once: nothing of its workflow ever ends, so it is
// at version 1.
func Adds(h *history.History) *Verdict {
	v := &Verdict{Name: "adds", Promise: "what was acknowledged is on every node in the end, what was refused on none"}
	ops := h.Of("adds")
	for _, op := range ops {
		if op.Wrote() && op.Version != 1 {
			v.Fail("the %s, of a key that is written once, got version %d", describe(op), op.Version)
		}
	}
	for node, entries := range h.Final {
		there := map[slot]history.Entry{}
		for _, e := range entries {
			there[placeOf(e)] = e
		}
		v.Checked += len(ops)
		always := func(history.Op) (must, may bool) { return true, true }
		compareAdds(v, ops, there, always, "in the end on "+node)
	}
	return v
}

// compareAdds checks what there is of adds. In says of an acknowledged one whether
// it must and whether it may be there.
func compareAdds(v *Verdict, ops []history.Op, there map[slot]history.Entry, in func(history.Op) (must, may bool), when string) {
	workflows, written := map[string]bool{}, map[slot]bool{}
	for _, op := range ops {
		e, found := there[slotOf(op)]
		workflows[slotOf(op).workflow], written[slotOf(op)] = true, true
		must, may := in(op)
		switch {
		case op.Outcome == history.OK && !found && must:
			v.Fail("lost %s: the %s, acknowledged with version %d at revision %d", when, describe(op), op.Version, op.Revision)
		case op.Outcome == history.OK && found && !may:
			v.Fail("there %s although it came later: the %s, acknowledged at revision %d", when, describe(op), op.Revision)
		case op.Outcome == history.Refused && found:
			v.Fail("there %s although it was refused (%s): the %s", when, op.Error, describe(op))
		case found && (e.Value != op.Value || e.Version != 1):
			v.Fail("there %s as %s at version %d: the %s of %s, which was written once", when, e.Value, e.Version, describe(op), op.Value)
		}
	}
	for s, e := range there {
		if workflows[s.workflow] && !written[s] {
			v.Fail("there %s: %s = %s at version %d, which nobody wrote", when, s, e.Value, e.Version)
		}
	}
}
