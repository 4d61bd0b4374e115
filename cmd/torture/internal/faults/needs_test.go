package faults_test

import (
	"testing"

	"github.com/stateraft/stateraft/cmd/torture/internal/faults"
	"github.com/stateraft/stateraft/cmd/torture/internal/node"
)

// Ensure a cluster has what its faults need from the start, and nothing that
// none of them needs: a relay and test hooks change what is tested.
func TestNeeds(t *testing.T) {
	for _, tt := range []struct {
		list           string
		relays, clocks bool
		tuning, spares int
	}{
		{"P1,P2,P3,P5,P6,N1,N2,remove-leader", false, false, 0, 0},
		{"kill,slow", true, false, 0, 0},
		{"N9", true, false, 0, 0},
		{"C1", false, true, 0, 0},
		{"S1", false, false, 3, 0},
		{"S1,S2", true, false, 3, 0},
		{"add-voter,add-replica", false, false, 0, 2},
	} {
		var c node.Config
		for _, f := range selected(t, tt.list, 3) {
			f.Needs(&c)
		}
		if c.Relays != tt.relays || c.Clocks != tt.clocks || len(c.Tuning) != tt.tuning || len(c.Spares) != tt.spares {
			t.Errorf("%s: %+v", tt.list, c)
		}
	}
}

// Ensure names tell faults apart, and only a fast clock may end keys early.
func TestAll(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range faults.All {
		if seen[f.Name] || f.Row == "" || f.About == "" || f.Most <= 0 || f.Least < 1 {
			t.Errorf("%+v", f)
		}
		seen[f.Name] = true
		fast := f.Name == "clock-fast-leader" || f.Name == "clock-fast-follower" || f.Name == "clock-fast-next"
		if (f.Gain != 0) != fast {
			t.Errorf("%s gains %v", f.Name, f.Gain)
		}
	}
}
