package matrix

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/report"
)

// fake is a tester whose runs all keep their promises, but for those of the
// named rows.
type fake struct {
	t       *testing.T
	build   string
	loop    bool   // on loopback
	broken  string // row whose runs break a promise
	failing string // row whose runs do not come about
	ran     []string
}

func (f *fake) torture(_ context.Context, dir string, args []string) error {
	id := args[slices.Index(args, "--faults")+1]
	f.ran = append(f.ran, id)
	if id == f.failing {
		return errors.New("no cluster")
	}
	r := &report.Result{
		Build: f.build, Isolated: !f.loop, Faults: 3, Operations: 1000, Unknown: 2, Writes: report.Gaps{Most: 1500, Lengths: []int64{300, 1500}},
		Verdicts: []report.Verdict{{Check: "linearizable"}},
	}
	if id == f.broken {
		r.Verdicts[0].Violations = 1
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		f.t.Fatal(err)
	}
	return r.Save(filepath.Join(dir, report.ResultFile))
}

func newPass(t *testing.T, rows string) (*Pass, *fake) {
	t.Helper()
	selected, err := Select(rows)
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{t: t, build: "b1"}
	return &Pass{
		Rows: selected, Seeds: []uint64{1, 2}, Duration: time.Minute, Dir: t.TempDir(), Build: "b1", Isolated: true,
		Out: &bytes.Buffer{}, Torture: f.torture,
	}, f
}

// Ensure a pass leaves out what is done for the same server, and only that.
func TestPassGoesOn(t *testing.T) {
	p, f := newPass(t, "P1,P2,P3")
	f.failing = "P2"
	for _, tt := range []struct {
		name   string
		change func()
		want   string
	}{
		{"first", func() {}, "P1 P2 P3 P1 P2 P3"},
		{"what could not be tested is tried again", func() {}, "P2 P2"},
		{"everything is done", func() { f.failing = ""; f.ran = nil; p.Run(t.Context()) }, ""},
		{"shorter runs say no more", func() { p.Duration = time.Second }, ""},
		{"longer runs do", func() { p.Duration = time.Hour }, "P1 P2 P3 P1 P2 P3"},
		{"another build", func() { p.Build, f.build = "b2", "b2" }, "P1 P2 P3 P1 P2 P3"},
		{"on loopback", func() { p.Isolated, f.loop = false, true }, "P1 P2 P3 P1 P2 P3"},
		{"from an older build, which these rows do not begin with", func() { p.Old = "older" }, ""},
		{"by force", func() { p.Force = true }, "P1 P2 P3 P1 P2 P3"},
	} {
		tt.change()
		f.ran = nil
		if err := p.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(f.ran, " "); got != tt.want {
			t.Errorf("%s: ran %q, want %q", tt.name, got, tt.want)
		}
	}
}

// Ensure a broken promise does not stop the pass, is told, and keeps its
// report; those of the others go.
func TestPassTellsWhatBroke(t *testing.T) {
	p, f := newPass(t, "P1,P2,P3,P4")
	p.Rows[3].ID = "P0" // no fault has this row
	f.broken, f.failing = "P1", "P2"
	if err := p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if ok, err := p.OK(); ok || err != nil {
		t.Errorf("all is well, %v", err)
	}
	table, err := p.Table()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| P1 | SIGKILL of one, the leader, a majority, all | 3 | 2 | 6 | 2000 | 4 | 4, 300 ms / 1.5 s / 1.5 s | 0 ms | **broken**: linearizable (seed 1); **broken**: linearizable (seed 2) |",
		"no test: no cluster (seed 1)",
		"| P3 | SIGTERM | 3 | 2 | 6 | 2000 | 4 | 4, 300 ms / 1.5 s / 1.5 s | 0 ms | kept |",
		"not covered: no fault does this",
	} {
		if !strings.Contains(table, want) {
			t.Errorf("the table lacks %q:\n%s", want, table)
		}
	}
	for dir, want := range map[string]bool{"P1-1-b1": true, "P3-1-b1": false} {
		if _, err := os.Stat(filepath.Join(p.Dir, dir)); (err == nil) != want {
			t.Errorf("report %s is there: %t, want %t", dir, err == nil, want)
		}
	}
}

// Ensure a pass that is interrupted keeps what was done, and nothing of the run
// that was cut short.
func TestPassIsInterrupted(t *testing.T) {
	p, f := newPass(t, "P1,P2,P3")
	ctx, cancel := context.WithCancel(t.Context())
	p.Torture = func(ctx context.Context, dir string, args []string) error {
		if len(f.ran) == 1 {
			cancel()
		}
		return f.torture(ctx, dir, args)
	}
	if err := p.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	all, err := p.Records()
	if err != nil || len(all) != 1 || len(all["P1"]) != 1 {
		t.Errorf("records %v, %v", all, err)
	}
}

func TestWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "doc.md")
	if err := Write(path, ""); err == nil {
		t.Error("wrote into nothing")
	}
	for _, old := range []string{"", "an older table\n"} {
		os.WriteFile(path, []byte("before\n"+tableBegin+"\n"+old+tableEnd+"\nafter\n"), 0o644)
		if err := Write(path, "table\n"); err != nil {
			t.Fatal(err)
		}
		if got, _ := os.ReadFile(path); string(got) != "before\n"+tableBegin+"\ntable\n"+tableEnd+"\nafter\n" {
			t.Errorf("got %q", got)
		}
	}
	os.WriteFile(path, []byte("no marks"), 0o644)
	if err := Write(path, "table"); err == nil {
		t.Error("wrote without marks")
	}
}

func TestSelect(t *testing.T) {
	if rows, err := Select("n1,D10"); err != nil || len(rows) != 2 || rows[1].ID != "D10" {
		t.Errorf("%v, %v", rows, err)
	}
	if _, err := Select("N1,never"); err == nil {
		t.Error("there is a row never")
	}
}

// Ensure only rows that upgrade begin with the older build.
func TestOldBuild(t *testing.T) {
	for _, r := range Rows {
		if got, want := slices.Contains(r.args("older"), "older"), r.ID == "U1" || r.ID == "U2"; got != want {
			t.Errorf("row %s begins with the older build: %t, want %t", r.ID, got, want)
		}
		if slices.Contains(r.args(""), "--old") {
			t.Errorf("row %s names an older build where there is none", r.ID)
		}
	}
}

// Ensure a row that upgrades is done for one older build, which the table names.
func TestPassFromOldBuild(t *testing.T) {
	p, f := newPass(t, "P1,U1")
	p.Seeds = p.Seeds[:1]
	for _, tt := range []struct{ old, want, caption string }{
		{"", "P1 U1", "rows that upgrade begin with the same build."},
		{"", "", "rows that upgrade begin with the same build."},
		{"e3f4303", "U1", "rows that upgrade begin with e3f4303."},
	} {
		p.Old, f.ran = tt.old, nil
		if err := p.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(f.ran, " "); got != tt.want {
			t.Errorf("from %q: ran %q, want %q", tt.old, got, tt.want)
		}
		if table, err := p.Table(); err != nil || !strings.Contains(table, tt.caption) {
			t.Errorf("the table lacks %q, %v:\n%s", tt.caption, err, table)
		}
	}
}
