package check_test

import (
	"testing"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/check"
	"github.com/stateraft/stateraft/cmd/torture/internal/history"
)

// Ensure an error is a violation where nothing hurt the cluster from the call to
// the return, of the prober, and unless it may be one of slowness.
func TestCalm(t *testing.T) {
	const ms = time.Millisecond
	calm := []check.Stretch{{From: 1000 * ms, To: 2000 * ms}, {From: 5000 * ms, To: 9000 * ms}}
	for _, tt := range []struct {
		name         string
		workload     string
		call, end    time.Duration
		outcome      history.Outcome
		slack        int
		looked, want int
	}{
		{"success", "probe", 1100 * ms, 1110 * ms, history.OK, 1, 1, 0},
		{"refused", "probe", 1100 * ms, 1110 * ms, history.Refused, 1, 1, 1},
		{"unknown", "probe", 5000 * ms, 7500 * ms, history.Unknown, 1, 1, 1},
		{"unknown after long, where things may take long", "probe", 5000 * ms, 7500 * ms, history.Unknown, 3, 1, 0},
		{"refused at once, where things may take long", "probe", 5000 * ms, 5010 * ms, history.Refused, 3, 1, 1},
		{"called too early", "probe", 900 * ms, 1100 * ms, history.Refused, 1, 0, 0},
		{"until a fault begins", "probe", 1900 * ms, 2000 * ms, history.Refused, 1, 0, 0},
		{"from one stretch to the next", "probe", 1900 * ms, 5100 * ms, history.Refused, 1, 0, 0},
		{"between stretches", "probe", 3000 * ms, 3100 * ms, history.Unknown, 1, 0, 0},
		{"of a workload", "register", 1100 * ms, 1110 * ms, history.Refused, 1, 0, 0},
	} {
		h := &history.History{Slack: tt.slack, Ops: []history.Op{{Workload: tt.workload, Kind: history.Set, Call: tt.call, Return: tt.end, Outcome: tt.outcome}}}
		if v := check.Calm(h, "probe", calm); v.Checked != tt.looked || v.Violations != tt.want {
			t.Errorf("%s: looked at %d, %q", tt.name, v.Checked, v.Told)
		}
	}
}
