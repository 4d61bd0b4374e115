package check

import (
	"strconv"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
)

// Counter checks counters that clients raise by one on condition of the version
// that they read: no two raises got the same number, and in the end a counter
// shows every raise that was acknowledged and none that was refused.
func Counter(h *history.History) *Verdict {
	v := &Verdict{Name: "counter", Promise: "increments on condition of a version are neither lost nor done twice"}
	acked, unknown := map[slot]int{}, map[slot]int{}
	winners := map[slot]map[string]history.Op{}
	for _, op := range h.Of("counter") {
		s := slotOf(op)
		switch {
		case op.Kind != history.SetAt:
		case op.Outcome == history.Unknown:
			unknown[s]++
		case op.Wrote():
			v.Checked++
			acked[s]++
			if winners[s] == nil {
				winners[s] = map[string]history.Op{}
			}
			if first, taken := winners[s][op.Value]; taken {
				v.Fail("two clients raised it to %s: the %s and the %s", op.Value, describe(first), describe(op))
			}
			winners[s][op.Value] = op
		}
	}
	for s, least := range acked {
		forEachFinal(h, v, s, func(node string, e history.Entry) {
			n, _ := strconv.Atoi(e.Value)
			if n < least || n > least+unknown[s] {
				v.Fail("%s is %s on %s in the end, want %d acknowledged and at most %d more of unknown outcome", s, e.Value, node, least, unknown[s])
			}
		})
	}
	return v
}

// forEachFinal looks at a key that must be there on each node in the end. The
// entry of one that is not is zero.
func forEachFinal(h *history.History, v *Verdict, s slot, look func(node string, e history.Entry)) {
	for node, entries := range h.Final {
		var at history.Entry
		for _, e := range entries {
			if placeOf(e) == s {
				at = e
			}
		}
		v.Checked++
		look(node, at)
	}
}
