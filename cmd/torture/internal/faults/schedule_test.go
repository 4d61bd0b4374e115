package faults_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/faults"
)

func selected(t *testing.T, list string, nodes int) []faults.Fault {
	t.Helper()
	chosen, err := faults.Select(list, nodes, true)
	if err != nil {
		t.Fatal(err)
	}
	return chosen
}

func TestScheduleFollowsFromItsSeed(t *testing.T) {
	text := func(seed uint64) (s string) {
		schedule := faults.NewSchedule(seed, selected(t, "", 5), true)
		for range 100 {
			s += fmt.Sprintln(schedule.Next())
		}
		return s
	}
	first, again, other := text(1), text(1), text(2)
	if first != again {
		t.Error("one seed, two schedules")
	}
	if first == other {
		t.Error("two seeds, one schedule")
	}
}

// Ensure every fault comes once before any comes again, and holds are within
// their bounds.
func TestScheduleIsFair(t *testing.T) {
	chosen := selected(t, "", 5)
	schedule := faults.NewSchedule(1, chosen, false)
	for range 3 {
		seen := map[string]bool{}
		for range chosen {
			r := schedule.Next()
			p := r.Faults[0]
			if p.Hold <= 0 || p.Hold > p.Most || r.Rest <= 0 || r.Rest > 2*time.Second {
				t.Errorf("%v", r)
			}
			seen[p.Name] = true
		}
		if len(seen) != len(chosen) {
			t.Errorf("%d different faults in %d rounds", len(seen), len(chosen))
		}
	}
}

func TestScheduleCombines(t *testing.T) {
	schedule := faults.NewSchedule(1, selected(t, "kill,loss", 3), true)
	for range 10 {
		r := schedule.Next()
		if len(r.Faults) != 2 || r.Faults[0].Kind == r.Faults[1].Kind {
			t.Errorf("%v", r)
		}
	}
}

func TestScheduleOfNothing(t *testing.T) {
	if r := faults.NewSchedule(1, selected(t, "none", 3), true).Next(); len(r.Faults) != 0 || r.Rest <= 0 {
		t.Errorf("%v", r)
	}
}

func TestSelectByRow(t *testing.T) {
	if chosen := selected(t, "p1,ring", 5); len(chosen) != 5 {
		t.Errorf("%d faults of row P1 and the ring, want 5", len(chosen))
	}
}

// Ensure a round that did not begin comes next, so that each fault still comes
// once before any comes again.
func TestScheduleKeeps(t *testing.T) {
	chosen := selected(t, "P1", 3)
	schedule := faults.NewSchedule(1, chosen, false)
	seen := map[string]bool{}
	for i := range chosen {
		r := schedule.Next()
		if i == 1 {
			schedule.Keep(r)
			if again := schedule.Next(); again.Number != r.Number || again.String() != r.String() {
				t.Errorf("%v, then %v", r, again)
			}
		}
		seen[r.Faults[0].Name] = true
	}
	if len(seen) != len(chosen) {
		t.Errorf("%d faults of %d", len(seen), len(chosen))
	}
}
