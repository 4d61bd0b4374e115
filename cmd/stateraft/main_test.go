package main

import (
	"cmp"
	"errors"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/stateraft/stateraft/internal/parallel"
)

// TestMain makes this test binary the command itself when it is called by the
// command's name; the scripts and the other tests find it in PATH. The race
// detector has a process sleep for a second before it exits, which nobody
// waits for here.
func TestMain(m *testing.M) {
	os.Setenv("GORACE", os.Getenv("GORACE")+" atexit_sleep_ms=0")
	testscript.Main(withPlainDir{m}, map[string]func(){"stateraft": main})
}

// plainDirEnv names the directory of the plain build, which is one for the
// tests' process and those that isolated starts.
const plainDirEnv = "STATERAFT_TEST_PLAIN"

// withPlainDir runs tests that have the directory, more of them at once than
// there are processors: they wait for other processes most of the time.
type withPlainDir struct{ *testing.M }

func (m withPlainDir) Run() int {
	parallel.AtLeast(4)
	if os.Getenv(plainDirEnv) == "" {
		dir, err := os.MkdirTemp("", "stateraft-plain-")
		if err != nil {
			log.Fatal(err)
		}
		defer os.RemoveAll(dir)
		os.Setenv(plainDirEnv, dir)
	}
	return m.M.Run()
}

// A program is what a node runs. The zero value is the tests' own build.
type program struct {
	path string   // empty: it is found in PATH
	env  []string // beyond the tests' own
}

// plainBuild returns what users run: the race detector makes a node several
// times as slow. Its build is cached for scripts/test.sh too, which builds the
// same.
func plainBuild(t *testing.T) program {
	t.Helper()
	plain := program{path: filepath.Join(os.Getenv(plainDirEnv), "stateraft")}
	buildingPlain.Lock()
	defer buildingPlain.Unlock()
	if _, err := os.Stat(plain.path); err == nil {
		return plain
	}
	built := filepath.Join(t.TempDir(), "stateraft") // a process that isolated has started may build it, too
	cmd := exec.Command("go", "build", "-o", built, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := os.Rename(built, plain.path); err != nil {
		t.Fatal(err)
	}
	return plain
}

var buildingPlain sync.Mutex // held by the test that builds, or looks whether one has

// command runs the program, by way of another command if one is given.
func (p program) command(by []string, args ...string) *exec.Cmd {
	by = append(slices.Clone(by), cmp.Or(p.path, "stateraft"))
	cmd := exec.Command(by[0], append(by[1:], args...)...)
	cmd.Env = append(os.Environ(), p.env...)
	return cmd
}

// TestScripts runs testdata/script/*.txtar. A script that names $ENDPOINT is
// given the URL of a running node, one for all of them: each uses a workflow
// of its own. "exits CODE COMMAND…" runs a command that must exit so.
func TestScripts(t *testing.T) {
	const dir = "testdata/script"
	endpoint := sync.OnceValue(func() string { return startNode(t, t.TempDir()).url })
	testscript.Run(t, testscript.Params{
		Dir:                 dir,
		RequireExplicitExec: true,
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
		Setup: func(env *testscript.Env) error {
			env.Setenv("GORACE", os.Getenv("GORACE"))
			name := filepath.Base(env.T().(interface{ Name() string }).Name())
			source, err := os.ReadFile(filepath.Join(dir, name+".txtar"))
			if err == nil && strings.Contains(string(source), "$ENDPOINT") {
				env.Setenv("ENDPOINT", endpoint())
			}
			return err
		},
	})
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND [ARGUMENT...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit := (*exec.ExitError)(nil)
		if !errors.As(err, &exit) {
			ts.Fatalf("run: %v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}
