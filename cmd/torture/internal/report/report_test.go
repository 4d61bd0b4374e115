package report_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/check"
	"github.com/stateraft/stateraft/cmd/torture/internal/history"
	"github.com/stateraft/stateraft/cmd/torture/internal/report"
)

// run is one of 10 s in which n1 answers a write every 100 ms, but for 2 s
// around a fault.
func run() *report.Run {
	h := &history.History{}
	for at := time.Duration(0); at < 10*time.Second; at += 100 * time.Millisecond {
		op := history.Op{Workload: "probe", Node: "n1", Kind: history.Set, Call: at, Return: at + time.Millisecond, Outcome: history.OK}
		if at > 3*time.Second && at < 5*time.Second {
			op.Outcome = history.Unknown
		}
		h.Ops = append(h.Ops, op)
	}
	good, bad := &check.Verdict{Name: "good", Promise: "all is well"}, &check.Verdict{Name: "bad", Promise: "nothing is <wrong>"}
	bad.Fail("key %s is <lost>", "k")
	var used []history.Sample
	for at := time.Duration(0); at < 10*time.Second; at += time.Second {
		used = append(used, history.Sample{Node: "n1", At: at, Resident: 5e7, Disk: 1e6, Goroutines: 70, Files: 30})
	}
	d := report.NewDigest(10*time.Second, []string{"n1"})
	d.Add(h, "probe", 0, 10*time.Second)
	return &report.Run{
		Command: "torture --seed 1", Seed: 1, Duration: 10 * time.Second, Nodes: []string{"n1"}, Digest: d, Probe: "probe", Samples: used,
		Epochs:   []report.Epoch{{Begin: 0, End: 10 * time.Second}},
		Faults:   []report.Fault{{Round: 1, Name: "kill", Kind: "process", What: "killed n1", Begin: 3 * time.Second, End: 4 * time.Second, Whole: 5 * time.Second}},
		Verdicts: []*check.Verdict{good, bad},
	}
}

func TestFigures(t *testing.T) {
	r := run()
	if a := r.Availability(); len(a) != 3 || a[0].Longest.Length() != 2*time.Second || a[2].Longest != a[0].Longest {
		t.Errorf("availability %+v", a)
	}
	if f := r.FaultFigures(); len(f) != 1 || f[0].Longest != 2*time.Second || f[0].Whole != time.Second || f[0].Times != 1 {
		t.Errorf("faults %+v", f)
	}
	if f := r.Figures()[0]; f.Ops != 100 || f.OK != 81 || f.Unknown != 19 || f.Median != time.Millisecond {
		t.Errorf("figures %+v", f)
	}
}

// Ensure a fault after which the cluster was never whole is told as such.
func TestNeverWhole(t *testing.T) {
	r := run()
	r.Faults[0].Whole, r.Faults[0].Error = 0, "no such node"
	if f := r.FaultFigures(); !f[0].Never || f[0].Whole != 0 || f[0].Failed != 1 || r.Failed() != 1 {
		t.Errorf("faults %+v", f)
	}
	var text bytes.Buffer
	if err := r.Text(&text); err != nil || !strings.Contains(text.String(), "never") {
		t.Errorf("%v, the summary does not tell:\n%s", err, &text)
	}
}

// Ensure a run that cannot be judged does not look like one that was kept.
func TestUnusable(t *testing.T) {
	r := run()
	r.Verdicts, r.Unusable = r.Verdicts[:1], errors.New("no fault could be had")
	var page, text bytes.Buffer
	if err := errors.Join(r.HTML(&page), r.Text(&text)); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(page.String(), "No test: no fault could be had") || strings.Contains(page.String(), "Every promise was kept") {
		t.Error("the page does not tell")
	}
	if !strings.Contains(text.String(), "no test: no fault could be had") {
		t.Error("the summary does not tell")
	}
}

func TestQuantile(t *testing.T) {
	for _, tt := range []struct {
		sorted []int64
		q      float64
		want   int64
	}{
		{nil, 0.5, 0},
		{[]int64{1}, 0.95, 1},
		{[]int64{1, 2}, 0.5, 1},
		{[]int64{1, 2}, 0.95, 2},
		{[]int64{1, 2, 3}, 0.5, 2},
		{[]int64{1, 2, 3}, 0, 1},
		{[]int64{1, 2, 3}, 1, 3},
	} {
		if got := report.Quantile(tt.sorted, tt.q); got != tt.want {
			t.Errorf("%v of %v is %d, want %d", tt.q, tt.sorted, got, tt.want)
		}
	}
}

func TestPages(t *testing.T) {
	var page, text bytes.Buffer
	r := run()
	if err := r.HTML(&page); err != nil {
		t.Fatal(err)
	}
	if err := r.Text(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Promises were broken", "key k is &lt;lost&gt;", "<svg", "50.0 MB", `class="node0"`, "killed n1", "torture --seed 1"} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for _, want := range []string{"VIOLATION of bad", "kill", "torture --seed 1"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the summary lacks %q", want)
		}
	}
	if strings.Contains(page.String(), "ZgotmplZ") {
		t.Error("the page holds what the template did not trust")
	}
}
