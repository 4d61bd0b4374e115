package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/planted"
)

const (
	// plantedLimit is how soon each planted bug must be found.
	plantedLimit = 2 * time.Minute
	// plantedSeed is that of all runs, so that the bugs are found, and the control
	// passes, under the same.
	plantedSeed = "1"
)

// Ensure the tester finds bugs that are planted in the server, each with the
// check that is there for it. With STATERAFT_TEST_FULL=1 it plants all of them, and
// looks at a server without, in which it must find nothing.
func TestPlantedBugs(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes minutes")
	}
	bugs := append([]planted.Bug{planted.Control}, planted.Bugs...)
	if os.Getenv("STATERAFT_TEST_FULL") == "" {
		bugs = slices.DeleteFunc(bugs, func(b planted.Bug) bool { return !b.Always })
	}
	if _, err := torture(); err != nil { // built before the time counts
		t.Fatal(err)
	}
	for _, b := range bugs {
		t.Run(b.Name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			binary, err := b.Build(moduleRoot, dir)
			if err != nil {
				t.Fatal(err)
			}
			look(t, b, binary, filepath.Join(dir, "report"))
		})
	}
}

func look(t *testing.T, b planted.Bug, binary, dir string) {
	args := []string{"--binary", binary, "--seed", plantedSeed, "--epoch", "5s", "--duration", "80s"}
	if b.By == "" {
		args = append(args, "--duration", "15s", "--slack", slack)
	}
	for flag, value := range map[string]string{"--faults": b.Faults, "--workloads": b.Workloads, "--until": b.By} {
		if value != "" {
			args = append(args, flag, value)
		}
	}
	begin := time.Now()
	result, output := tortured(t, dir, args...)
	took := time.Since(begin)
	var by []string
	for _, v := range result.Broken() {
		by = append(by, v.Check)
	}
	t.Logf("%s: %v, %d operations, %d faults: found by %s", b.About, took.Round(100*time.Millisecond), result.Operations, result.Faults, strings.Join(by, ", "))
	switch {
	case b.By == "" && len(by) > 0:
		t.Errorf("a server without a bug:\n%s", output)
	case b.By != "" && (!slices.Contains(by, b.By) || took > plantedLimit):
		t.Errorf("not found by %q within %v:\n%s", b.By, plantedLimit, output)
	}
}
