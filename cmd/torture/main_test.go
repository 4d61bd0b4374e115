package main

import (
	"bytes"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stateraft/stateraft/cmd/torture/internal/planted"
	"github.com/stateraft/stateraft/cmd/torture/internal/report"
	"github.com/stateraft/stateraft/internal/parallel"
)

const moduleRoot = "../.."

// buildDir is for programs that several tests run.
var buildDir string

func TestMain(m *testing.M) {
	parallel.AtLeast(4) // runs: they wait for faults to end most of the time
	dir, err := os.MkdirTemp("", "torture")
	if err != nil {
		log.Fatal(err)
	}
	buildDir = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// torture is the program, built once: it starts itself again in namespaces.
var torture = sync.OnceValues(func() (string, error) {
	path := filepath.Join(buildDir, "torture")
	out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

// control is the server without a bug, built once.
var control = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(buildDir, "control")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	return planted.Control.Build(moduleRoot, dir)
})

// tortured runs the program, and returns its report in dir and what it printed.
func tortured(t *testing.T, dir string, args ...string) (*report.Result, string) {
	t.Helper()
	program, err := torture()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, append(args, "--report", dir)...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil && cmd.ProcessState.ExitCode() != exitViolation {
		t.Fatalf("%v: %v\n%s", args, err, &out)
	}
	result, err := report.ReadResult(filepath.Join(dir, report.ResultFile))
	if err != nil {
		t.Fatal(err)
	}
	return result, out.String()
}
