package faults

import "testing"

// Ensure what may change the cluster for good comes after all other faults.
func TestLastTurn(t *testing.T) {
	for seed := range uint64(20) {
		s := NewSchedule(seed, append(upgradeFaults, processFaults...), false)
		for n := 1; n <= 2*len(s.faults); n++ {
			name, last := s.Next().Faults[0].Name, n%len(s.faults) == 0
			if (name == "upgrade-all") != last {
				t.Fatalf("seed %d: %s is number %d of %d", seed, name, n, len(s.faults))
			}
		}
	}
}

// Ensure it is no companion of another fault either.
func TestLastTurnIsNoCompanion(t *testing.T) {
	s := NewSchedule(1, append(upgradeFaults, networkFaults...), true)
	for range 200 {
		if r := s.Next(); len(r.Faults) == 2 && r.Faults[1].Name == "upgrade-all" {
			t.Fatalf("%v", r)
		}
	}
}
