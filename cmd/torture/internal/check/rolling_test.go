package check

import (
	"strings"
	"testing"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
)

// Ensure a failed request counts if its node counted as ready, and no other.
func TestRolling(t *testing.T) {
	const ms = time.Millisecond
	steps := []Step{
		{Node: "n1", From: "old", To: "new", Begin: 100 * ms, Ended: 200 * ms, Ready: 300 * ms},
		{Node: "n2", From: "new", To: "old", Led: true, Lingers: true, Begin: 400 * ms, Ended: 500 * ms, Ready: 600 * ms},
	}
	ready := []Span{{"n1", 0, 215 * ms}, {"n1", 290 * ms, time.Second}, {"n2", 0, 450 * ms}, {"n3", 0, time.Second}}
	for _, tt := range []struct {
		name       string
		node       string
		call       time.Duration
		outcome    history.Outcome
		err        string
		violations int
	}{
		{"answered", "n3", 120 * ms, history.OK, "", 0},
		{"refused by a ready node", "n3", 120 * ms, history.Refused, "NO_LEADER", 1},
		{"unknown at a ready node", "n3", 120 * ms, history.Unknown, "no answer", 1},
		{"the caller's own fault", "n3", 120 * ms, history.Refused, "TOO_LARGE", 0},
		{"a revision that an answer gave is unknown", "n3", 120 * ms, history.Refused, "REVISION_UNKNOWN", 1},
		{"before any step", "n3", 50 * ms, history.Refused, "NO_LEADER", 0},
		{"between two steps", "n3", 350 * ms, history.Refused, "NO_LEADER", 0},
		{"at a node that ended at once", "n1", 120 * ms, history.Refused, "unreachable", 0},
		{"at a node that ended at once, a moment ago", "n1", 210 * ms, history.Refused, "unreachable", 0},
		{"at the node's next process", "n1", 295 * ms, history.Refused, "unreachable", 1},
		{"at a node that is not ready", "n1", 250 * ms, history.Refused, "unreachable", 0},
		{"at a node that should linger", "n2", 420 * ms, history.Refused, "unreachable", 1},
		{"at a node that was not ready any more", "n2", 470 * ms, history.Refused, "unreachable", 0},
		{"in the client, which may have asked a node that ended at once", "", 120 * ms, history.Unknown, "OUTCOME_UNKNOWN", 0},
		{"in the client", "", 420 * ms, history.Unknown, "OUTCOME_UNKNOWN", 1},
	} {
		op := history.Op{Node: tt.node, Kind: history.Set, Call: tt.call, Return: tt.call + 5*ms, Outcome: tt.outcome, Error: tt.err}
		h := &history.History{Ops: []history.Op{op}}
		if v := Rolling(h, steps, ready, 0); v.Violations != tt.violations {
			t.Errorf("%s: %d violations, want %d: %q", tt.name, v.Violations, tt.violations, v.Told)
		}
		if v := Rolling(h, steps, ready, 1); !v.OK() {
			t.Errorf("%s: a violation although other faults were at work: %q", tt.name, v.Told)
		}
	}
}

// Ensure a process that says, while it ends, that it is ready is excused as one that
// had said so before.
func TestRollingReadyWhileItEnds(t *testing.T) {
	const ms = time.Millisecond
	steps := []Step{{Node: "n1", Begin: 100 * ms, Ended: 200 * ms, Ready: 300 * ms}}
	h := &history.History{Ops: []history.Op{{Node: "n1", Kind: history.Set, Call: 180 * ms, Return: 181 * ms, Outcome: history.Refused, Error: "unreachable"}}}
	if v := Rolling(h, steps, []Span{{"n1", 110 * ms, 215 * ms}}, 0); !v.OK() {
		t.Errorf("told %q", v.Told)
	}
}

// Ensure failures are excused at so many of the steps of a kind as they may
// happen at, and at no more.
func TestRollingExcused(t *testing.T) {
	const ms = time.Millisecond
	var steps []Step
	for at := range time.Duration(8) { // at 100 ms, and so on, of each kind in turn
		begin := (at + 1) * 100 * ms
		steps = append(steps, Step{Node: "n1", Lingers: at%2 == 1, Begin: begin, Ended: begin + 20*ms, Ready: begin + 50*ms})
	}
	for _, tt := range []struct {
		name       string
		failures   []time.Duration // in ms
		excused    float64
		violations int
	}{
		{"at none", nil, 0, 0},
		{"at one of none", []time.Duration{210}, 0, 1},
		{"at half of those that linger", []time.Duration{210, 220, 410}, 0.5, 0},
		{"at most of those that linger", []time.Duration{210, 220, 410, 610}, 0.5, 4},
		{"at half of either kind", []time.Duration{210, 410, 110, 310}, 0.5, 0},
		{"at most of the others", []time.Duration{110, 310, 510}, 0.5, 3},
		{"at all of all", []time.Duration{210, 410, 610, 810}, 1, 0},
	} {
		h := &history.History{}
		for _, at := range tt.failures {
			h.Ops = append(h.Ops, history.Op{Node: "n3", Kind: history.Set, Call: at * ms, Return: (at + 5) * ms, Outcome: history.Refused, Error: "NO_LEADER"})
		}
		ready := []Span{{"n3", 0, time.Second}}
		if v := Rolling(h, steps, ready, tt.excused); v.Violations != tt.violations {
			t.Errorf("%s: %d violations, want %d: %q", tt.name, v.Violations, tt.violations, v.Told)
		}
	}
}

// Ensure the longest time without a write is found, also where it reaches
// beyond the step, and told.
func TestRollingGap(t *testing.T) {
	const ms = time.Millisecond
	h := &history.History{}
	for _, at := range []time.Duration{10, 20, 90, 140, 150, 300} {
		h.Ops = append(h.Ops, history.Op{Node: "n3", Kind: history.Set, Call: at*ms - ms, Return: at * ms, Outcome: history.OK})
	}
	for _, tt := range []struct{ begin, ready, want time.Duration }{
		{100, 130, 50},
		{15, 25, 70},
		{145, 148, 10},
		{1, 400, 150},
	} {
		s := Step{Node: "n1", Begin: tt.begin * ms, Ready: tt.ready * ms}
		if got := longestGap(h, s); got != tt.want*ms {
			t.Errorf("from %v to %v: %v, want %v", s.Begin, s.Ready, got, tt.want*ms)
		}
	}
	v := Rolling(h, []Step{{Node: "n1", Begin: 100 * ms, Ready: 130 * ms}}, nil, 0)
	if len(v.Notes) != 1 || !strings.Contains(v.Notes[0], "no write for 50ms") {
		t.Errorf("told %q", v.Notes)
	}
}
