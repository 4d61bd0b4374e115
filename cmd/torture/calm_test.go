package main

import (
	"io"
	"slices"
	"testing"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/check"
	"github.com/stateraft/stateraft/cmd/torture/internal/faults"
	"github.com/stateraft/stateraft/cmd/torture/internal/report"
)

func between(from, to time.Duration) check.Stretch { return check.Stretch{From: from, To: to} }

// Ensure a cluster counts as calm from a second after it was whole until the next
// fault, by the times of the epoch, and not after what may last.
func TestCalmStretches(t *testing.T) {
	const s = time.Second
	kill := report.Fault{Round: 1, Row: "P1", Begin: 20 * s, End: 22 * s, Whole: 23 * s}
	then := report.Fault{Round: 2, Row: "P1", Begin: 30 * s, End: 31 * s, Whole: 32 * s}
	before, failed, forever, clock, beside := kill, kill, kill, kill, kill
	before.Begin, before.End, before.Whole = 5*s, 6*s, 9*s
	failed.Error = "no such node"
	forever.Whole = 0
	clock.Row = "C1"
	beside.Row, beside.Begin = "D4", 19*s
	for _, tt := range []struct {
		name   string
		slack  int
		faults []report.Fault
		want   []check.Stretch
	}{
		{"no faults", 1, nil, []check.Stretch{between(1*s, 30*s)}},
		{"no faults, a slow machine", 3, nil, []check.Stretch{between(3*s, 30*s)}},
		{"one", 1, []report.Fault{kill}, []check.Stretch{between(1*s, 10*s), between(14*s, 30*s)}},
		{"two", 1, []report.Fault{kill, then}, []check.Stretch{between(1*s, 10*s), between(14*s, 20*s), between(23*s, 30*s)}},
		{"of the epoch before", 1, []report.Fault{before}, []check.Stretch{between(1*s, 30*s)}},
		{"could not be carried out", 1, []report.Fault{failed, then}, []check.Stretch{between(1*s, 10*s), between(23*s, 30*s)}},
		{"not whole", 1, []report.Fault{forever}, []check.Stretch{between(1*s, 10*s)}},
		{"may last", 1, []report.Fault{clock, then}, []check.Stretch{between(1*s, 10*s), between(23*s, 30*s)}},
		{"beside one that may last", 1, []report.Fault{kill, beside}, []check.Stretch{between(1*s, 9*s)}},
	} {
		tester := newTester(&config{slack: tt.slack}, false, io.Discard, nil)
		tester.faults, tester.epochs = tt.faults, []report.Epoch{{}, {Begin: 10 * s, End: 40 * s}}
		if got := tester.calm(&epoch{tester: tester, number: 1, begin: 10 * s}); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// Ensure the rows that pass are rows.
func TestRowsThatPass(t *testing.T) {
	for _, row := range passes {
		if !slices.ContainsFunc(faults.All, func(f faults.Fault) bool { return f.Row == row }) {
			t.Errorf("no fault is of row %s", row)
		}
	}
}
