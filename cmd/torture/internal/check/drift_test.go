package check_test

import (
	"testing"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/check"
	"github.com/stateraft/stateraft/cmd/torture/internal/history"
)

// Ensure a key may end early by what a fast clock gains while the key is there,
// and not by a microsecond more.
func TestTTLWithDrift(t *testing.T) {
	key := set("v", 1)
	key.TTL = time.Second
	for _, tt := range []struct {
		name       string
		from, to   time.Duration // of a drift of 10 %
		gone       int           // ms
		violations int
	}{
		{"all the time", 0, 2 * time.Second, 910, 0},
		{"all the time, and too early", 0, 2 * time.Second, 909, 1},
		{"half of the time", 0, 500 * ms, 951, 0},
		{"half of the time, and too early", 0, 500 * ms, 949, 1},
		{"before", -time.Second, 0, 999, 1},
		{"after", time.Second, 2 * time.Second, 999, 1},
	} {
		ops := []history.Op{at(0, 5, key), at(tt.gone-1, tt.gone, get("", 0))}
		for i := range ops {
			ops[i].Workload = "ttl"
		}
		h := &history.History{Ops: ops, Drifts: []history.Drift{{From: tt.from, To: tt.to, Gain: 0.1}}}
		if v := check.TTL(h); v.Violations != tt.violations {
			t.Errorf("%s: %d violations %q, want %d", tt.name, v.Violations, v.Told, tt.violations)
		}
	}
}
