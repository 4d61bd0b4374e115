package main

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stateraft/stateraft/cmd/torture/internal/check"
	"github.com/stateraft/stateraft/cmd/torture/internal/history"
	"github.com/stateraft/stateraft/cmd/torture/internal/node"
	"github.com/stateraft/stateraft/cmd/torture/internal/report"
)

// Ensure what the run itself finds has the history of its epoch kept, and no
// other's.
func TestBlame(t *testing.T) {
	tester := newTester(&config{}, false, io.Discard, nil)
	for i, tt := range []struct {
		find func()
		want bool
	}{
		{func() {}, false},
		{func() { tester.hashes.Fail("n1 and n2 differ") }, true},
		{func() {}, false},
		{func() { tester.order.Fail("two leaders") }, true},
	} {
		tt.find()
		if got := tester.blame(); got != tt.want {
			t.Errorf("epoch %d is to blame: %t", i, got)
		}
	}
}

// Ensure an end that nobody asked for is told of either cluster.
func TestEndedProcesses(t *testing.T) {
	var out strings.Builder
	tester := newTester(&config{}, false, &out, nil)
	c := &node.Cluster{Ended: make(chan string, 2)}
	c.Ended <- "n1 ended by itself"
	tester.takeEnded(c, "the other cluster: ")
	if want := "VIOLATION of processes: the other cluster: n1 ended by itself\n"; out.String() != want || tester.process.Violations != 1 {
		t.Errorf("told %q, %d violations", &out, tester.process.Violations)
	}
}

// Ensure a checker without an answer breaks no promise, and makes the run one that
// cannot be judged.
func TestUndecided(t *testing.T) {
	tester := newTester(&config{report: t.TempDir()}, false, io.Discard, nil)
	tester.digest, tester.epochs = report.NewDigest(0, nil), []report.Epoch{{}}
	all := check.All
	defer func() { check.All = all }()
	check.All = all[:0:0]
	check.All = append(check.All, all[0])
	check.All[0].Workload, check.All[0].Check = "", func(*history.History) *check.Verdict {
		return &check.Verdict{Name: "linearizable", Undecided: errors.New("too hard")}
	}
	tester.conclude(&epoch{tester: tester, record: history.NewRecorder()})
	if tester.unusable == nil || !check.AllOK(tester.all()) {
		t.Errorf("unusable: %v, all is well: %t", tester.unusable, check.AllOK(tester.all()))
	}
}
