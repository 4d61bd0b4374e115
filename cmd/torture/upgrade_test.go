package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stateraft/stateraft/cmd/torture/internal/node"
)

// oldest is the oldest commit whose data directories this build reads, and
// whose protocol it speaks.
const oldest = "e3f4303"

// oldestBuild returns the server of that commit, which is built once for all
// times: what it says of itself tells that it is whole.
func oldestBuild(t *testing.T) string {
	t.Helper()
	kept, err := filepath.Abs(filepath.Join(moduleRoot, ".cache", "stateraft-"+oldest))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := node.Describe(kept); err == nil && strings.HasPrefix(b.Commit, oldest) {
		return kept
	}
	var stderr bytes.Buffer
	built, err := node.BuildCommit(t.Context(), oldest, t.TempDir(), &stderr)
	if err != nil {
		t.Fatalf("%v: %s", err, &stderr)
	}
	if err := keep(built, kept); err != nil {
		t.Fatal(err)
	}
	return kept
}

// keep copies a program to where it is found next time, whole or not at all.
func keep(program, path string) error {
	text, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", text, 0o755); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// Ensure a cluster of the oldest build can be upgraded node by node, back again
// before its version has risen, and not afterwards, while all promises are kept.
func TestRollingUpgrade(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a minute")
	}
	if out, err := exec.Command("git", "cat-file", "-e", oldest+"^{commit}").CombinedOutput(); err != nil {
		t.Skipf("the history of the repository is not here, so there is no commit %s to upgrade from: %s", oldest, out)
	}
	binary, err := control()
	if err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	code := run(context.Background(), []string{
		"--loopback", "--duration", "30s", "--hold", "1s", "--seed", "2", "--slack", slack, "--report", t.TempDir(),
		"--binary", binary, "--old", oldestBuild(t), "--faults", "upgrade-part,upgrade-all", "--workloads", "register,counter,once,adds,session",
	}, &stdout, &stderr)
	if code != exitOK {
		t.Fatalf("exit code %d\n%s%s", code, &stdout, &stderr)
	}
	for _, want := range []string{
		"upgrade-all", oldest + " ended on", "with code 1: stateraft: the cluster needs protocol version 2 and this build speaks 1 to 1",
	} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("the run does not tell of %q:\n%s", want, &stdout)
		}
	}
	// Of either build: the node that led when the upgrade began may lead no more.
	if !regexp.MustCompile(`the leader, (` + oldest + ` to |.+ to ` + oldest + `: )`).MatchString(stdout.String()) {
		t.Errorf("the run does not tell that a leader was replaced:\n%s", &stdout)
	}
}

// Ensure failures are excused only where the command line says that something
// else may cause them.
func TestExcused(t *testing.T) {
	for args, want := range map[string]float64{"": 0, "--slack 2": 0.5, "--combined": 1, "--slack 2 --combined": 1} {
		c, err := parse(strings.Fields(args), &bytes.Buffer{})
		if err != nil {
			t.Fatal(err)
		}
		if got := c.excused(); got != want {
			t.Errorf("%q: %v, want %v", args, got, want)
		}
	}
}

// Ensure a commit that is none is told.
func TestOldRefused(t *testing.T) {
	var stdout, stderr bytes.Buffer
	code := run(context.Background(), []string{"--loopback", "--old", "never", "--report", t.TempDir()}, &stdout, &stderr)
	if code != exitNoTest || !strings.Contains(stderr.String(), `"never" is neither a file nor a commit`) {
		t.Errorf("exit code %d, %q", code, &stderr)
	}
}
