package check

import "github.com/stateraft/stateraft/cmd/torture/internal/history"

// Adds checks keys that are each written once: on every node, all that were
// acknowledged are there in the end, and none that was refused.
func Adds(h *history.History) *Verdict {
	v := &Verdict{Name: "adds", Promise: "what was acknowledged is on every node in the end, what was refused on none"}
	ops := h.Of("adds")
	for node, entries := range h.Final {
		there := map[slot]history.Entry{}
		for _, e := range entries {
			there[placeOf(e)] = e
		}
		for _, op := range ops {
			v.Checked++
			e, found := there[slotOf(op)]
			switch {
			case op.Outcome == history.OK && (!found || e.Value != op.Value || e.Version != op.Version):
				v.Fail("lost on %s: the %s, acknowledged with version %d; in the end %s at version %d", node, describe(op), op.Version, e.Value, e.Version)
			case op.Outcome == history.Refused && found:
				v.Fail("there on %s although it was refused (%s): the %s", node, op.Error, describe(op))
			}
		}
	}
	return v
}
