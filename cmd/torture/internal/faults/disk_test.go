package faults_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/stateraft/stateraft/cmd/torture/internal/faults"
	"github.com/stateraft/stateraft/cmd/torture/internal/node"
)

// Ensure what is not promised is hurt only when it is named.
func TestUnsupportedMustBeNamed(t *testing.T) {
	named := selected(t, "D10", 3)
	if len(named) != 1 || !named[0].Unsupported {
		t.Fatalf("row D10 is %v", named)
	}
	for _, f := range selected(t, "", 9) {
		if f.Unsupported {
			t.Errorf("%s is among those that nobody named", f.Name)
		}
	}
}

// Ensure a cluster has disks that can be hurt if a fault hurts disks, and only
// then.
func TestDisksAreMountedForThoseWhoNeedThem(t *testing.T) {
	var with []string
	for _, f := range faults.All {
		var c node.Config
		if f.Needs(&c); c.Disks {
			with = append(with, f.Name)
			if f.Kind != faults.Disk {
				t.Errorf("%s hurts disks and is of kind %s", f.Name, f.Kind)
			}
		}
	}
	for name, want := range map[string]bool{"power-all": true, "stall": true, "kill": false, "flip-log": false, "swap": false} {
		if slices.Contains(with, name) != want {
			t.Errorf("%s has a disk that can be hurt: %v, want %v", name, !want, want)
		}
	}
}

// Ensure two faults at once never both start the same process.
func TestFaultsThatStartProcessesDoNotMeet(t *testing.T) {
	schedule := faults.NewSchedule(1, selected(t, "kill,flip-log,lag,loss", 3), true)
	met := map[string]int{}
	for range 100 {
		r := schedule.Next()
		if len(r.Faults) == 2 {
			met[r.Faults[0].Name+" with "+r.Faults[1].Name]++
		}
	}
	want := []string{"flip-log with loss", "kill with loss", "loss with flip-log", "loss with kill"}
	if got := slices.Sorted(maps.Keys(met)); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
