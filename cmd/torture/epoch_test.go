package main

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/stateraft/stateraft/cmd/torture/internal/check"
	"github.com/stateraft/stateraft/cmd/torture/internal/history"
	"github.com/stateraft/stateraft/cmd/torture/internal/node"
	"github.com/stateraft/stateraft/cmd/torture/internal/report"
	"github.com/stateraft/stateraft/cmd/torture/internal/workload"
)

// Ensure a workload that does not come to a good end breaks the promise of its
// own check, once, and nobody else's.
func TestBadEnd(t *testing.T) {
	specs := slices.DeleteFunc(slices.Clone(workload.All), func(s workload.Spec) bool { return s.Name != "ttl" && s.Name != "agent" })
	e := &epoch{tester: newTester(&config{}, false, io.Discard, specs), ends: make([]error, len(specs))}
	for i := range specs {
		e.ends[i] = errors.New(specs[i].Name + " has no end")
	}
	h := &history.History{Final: map[string][]history.Entry{"n1": nil}}
	var told []string
	for _, v := range e.check(h) {
		told = append(told, v.Told...)
	}
	slices.Sort(told)
	if want := "in the end: agent has no end;in the end: ttl has no end"; strings.Join(told, ";") != want {
		t.Errorf("told %q", told)
	}
}

// Ensure violations are told while a run goes on, those of the run itself and
// those of an epoch.
func TestViolationsAreTold(t *testing.T) {
	var out strings.Builder
	tester := newTester(&config{}, false, &out, nil)
	tester.liveness.Fail("n1 is gone")
	v := &check.Verdict{Name: "ttl"}
	v.Fail("k ended early")
	tester.merge(0, []*check.Verdict{v})
	for _, want := range []string{"VIOLATION of liveness: n1 is gone\n", "VIOLATION of ttl: k ended early\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q lacks %q", &out, want)
		}
	}
}

// Ensure a run of which no fault came about is none.
func TestNoFaultCameAbout(t *testing.T) {
	for _, tt := range []struct {
		name   string
		faults []report.Fault
		want   bool
	}{
		{"none was wanted", nil, true},
		{"one of two", []report.Fault{{Error: "no such node"}, {}}, true},
		{"none of two", []report.Fault{{Error: "no such node"}, {Error: "no such link"}}, false},
	} {
		tester := newTester(&config{binary: "/never"}, false, io.Discard, nil)
		tester.cluster, tester.digest = new(node.Cluster), report.NewDigest(0, nil)
		tester.epochs, tester.faults = []report.Epoch{{}}, tt.faults
		if r := tester.report(nil); (r.Unusable == nil) != tt.want {
			t.Errorf("%s: %v", tt.name, r.Unusable)
		}
	}
}
