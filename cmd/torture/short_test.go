package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// shortSeeds and shortDuration are two minutes of faults in all. The schedules
// of these seeds begin with many kinds of faults.
var shortSeeds = []string{"2", "5", "6"}

const (
	shortDuration = "40s"
	shortHold     = "2s"
	// slack is for machines that do much else: what takes three times as long as
	// is promised is broken there, too.
	slack = "3"
)

// Ensure the server keeps its promises under all workloads and all faults that
// the machine allows, as far as short runs can tell, and that each run leaves a
// report and no data.
func TestShortRuns(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes minutes")
	}
	dir := t.TempDir()
	binary, err := control()
	if err != nil {
		t.Fatal(err)
	}
	for _, seed := range shortSeeds {
		t.Run("seed "+seed, func(t *testing.T) {
			report := filepath.Join(dir, seed)
			r, output := tortured(t, report, "--binary", binary, "--seed", seed, "--duration", shortDuration, "--hold", shortHold, "--slack", slack)
			t.Logf("%s: %d operations, %d faults, of which %d could not be carried out, %d unknown outcomes; longest without a write %d ms, without a read %d ms",
				r.Command, r.Operations, r.Faults, r.Failed, r.Unknown, r.Writes.Most, r.Reads.Most)
			if n := len(r.Broken()); n > 0 {
				t.Errorf("%d promises were broken:\n%s\n%s", n, output, logs(report))
			}
			if r.Operations == 0 || r.Faults == r.Failed {
				t.Errorf("nothing was tested:\n%s", output)
			}
			for _, name := range []string{"index.html", "summary.txt", "history.jsonl", "n1.log"} {
				if info, err := os.Stat(filepath.Join(report, name)); err != nil || info.Size() == 0 {
					t.Errorf("%s is empty or not there: %v", name, err)
				}
			}
			if _, err := os.Stat(filepath.Join(report, "data")); err == nil {
				t.Error("the nodes' data is still there")
			}
		})
	}
}

// logs is the end of what each node logged.
func logs(dir string) string {
	const most = 20_000
	var all []byte
	paths, _ := filepath.Glob(filepath.Join(dir, "n*.log")) // the pattern is right
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return err.Error()
		}
		all = fmt.Appendf(all, "%s:\n%s\n", filepath.Base(path), text[max(0, len(text)-most):])
	}
	return string(all)
}
