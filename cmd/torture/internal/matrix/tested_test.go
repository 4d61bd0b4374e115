package matrix

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stateraft/stateraft/cmd/torture/internal/report"
)

// Ensure a row counts as kept only if most of its faults were carried out.
func TestPassKnowsUntestedRows(t *testing.T) {
	for _, tt := range []struct {
		faults, failed int
		want           string
	}{
		{4, 0, "kept |"},
		{4, 2, "kept; 4 faults could not be carried out |"},
		{4, 3, "not tested; 6 faults could not be carried out |"},
		{0, 0, "not tested |"},
	} {
		p, _ := newPass(t, "P1")
		p.Torture = func(_ context.Context, dir string, _ []string) error {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return err
			}
			return (&report.Result{Build: p.Build, Isolated: true, Faults: tt.faults, Failed: tt.failed}).Save(filepath.Join(dir, report.ResultFile))
		}
		if err := p.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		ok, err := p.OK()
		if isKept := strings.HasPrefix(tt.want, "kept"); err != nil || ok != isKept {
			t.Errorf("%d of %d faults failed: all is well %t, %v", tt.failed, tt.faults, ok, err)
		}
		if table, err := p.Table(); err != nil || !strings.Contains(table, tt.want) {
			t.Errorf("%d of %d faults failed: the table lacks %q, %v:\n%s", tt.failed, tt.faults, tt.want, err, table)
		}
	}
}

// Ensure what another tester did is done again.
func TestPassOfAnotherTester(t *testing.T) {
	p, _ := newPass(t, "P1")
	runs, tester := 0, ""
	p.Torture = func(_ context.Context, dir string, _ []string) error {
		runs++
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		return (&report.Result{Build: p.Build, Tester: tester, Isolated: true, Faults: 1}).Save(filepath.Join(dir, report.ResultFile))
	}
	for _, tt := range []struct {
		tester string
		want   int
	}{{"", 2}, {"t1", 4}, {"t1", 4}, {"t2", 6}} {
		p.Tester, tester = tt.tester, tt.tester
		if err := p.Run(t.Context()); err != nil || runs != tt.want {
			t.Errorf("tester %q: %d runs, want %d, %v", tt.tester, runs, tt.want, err)
		}
	}
}
