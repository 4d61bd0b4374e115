package check

import (
	"maps"
	"slices"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
)

// Equal checks that in the end every node holds the same keys, values and
// versions.
func Equal(h *history.History) *Verdict {
	v := &Verdict{Name: "equal", Promise: "in the end all nodes hold the same"}
	nodes := slices.Sorted(maps.Keys(h.Final))
	if len(nodes) == 0 {
		v.Fail("no node was read in the end")
		return v
	}
	first := contents(h.Final[nodes[0]])
	for _, node := range nodes {
		here := contents(h.Final[node])
		v.Checked += len(here)
		for s, e := range here {
			if first[s] != e {
				v.Fail("%s has %s at version %d on %s, and %s at version %d on %s", s, e.Value, e.Version, node, first[s].Value, first[s].Version, nodes[0])
			}
		}
		for s := range first {
			if _, found := here[s]; !found {
				v.Fail("%s is on %s and not on %s", s, nodes[0], node)
			}
		}
	}
	return v
}

func contents(entries []history.Entry) map[slot]history.Entry {
	m := map[slot]history.Entry{}
	for _, e := range entries {
		e.Expires = "" // as instants, which move with the leader's wall clock
		m[placeOf(e)] = e
	}
	return m
}
