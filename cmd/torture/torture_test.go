package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Ensure a cluster whose nodes are killed and paused keeps its promises, as far
// as a short run can tell, and that the report of it is written.
func TestKillAndPause(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes 15 s")
	}
	dir := t.TempDir()
	var stdout, stderr bytes.Buffer
	code := run(context.Background(), []string{
		"--loopback", "--duration", "12s", "--seed", "7", "--report", dir,
		"--faults", "kill,kill-leader,kill-all,pause-leader",
	}, &stdout, &stderr)
	t.Logf("%s%s", &stdout, &stderr)
	if code != exitOK {
		logs, _ := filepath.Glob(filepath.Join(dir, "*.log"))
		for _, path := range logs {
			text, _ := os.ReadFile(path)
			t.Logf("%s:\n%s", filepath.Base(path), text)
		}
		t.Fatalf("exit code %d", code)
	}
	for _, want := range []string{"linearizable", "exactly once", "streams", "kill-leader", "--seed 7"} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("the summary does not speak of %q", want)
		}
	}
	for _, name := range []string{"index.html", "summary.txt", "history.jsonl", "n1.log"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "data")); err == nil {
		t.Error("the nodes' data is still there")
	}
}

func TestUsage(t *testing.T) {
	for _, tt := range []struct {
		name, args, want string
		code             int
	}{
		{"help", "--help", "-seed", exitOK},
		{"unknown flag", "--never", "never", exitNoTest},
		{"argument", "now", `no argument such as "now"`, exitNoTest},
		{"nodes", "--nodes 0", "--nodes must be from 1 to 9", exitNoTest},
		{"duration", "--duration 0s", "--duration must be above 0", exitNoTest},
		{"hold", "--duration 10s --hold 11s", "--hold must be from 1s to the --duration", exitNoTest},
		{"fault", "--loopback --list --faults kill,never", `no fault and no row is named "never"`, exitNoTest},
		{"fault without a network", "--loopback --list --faults cut-leader", "cut-leader needs network namespaces", exitNoTest},
		{"fault that takes more nodes", "--loopback --list --nodes 1 --faults replace", "replace takes 3 nodes", exitNoTest},
		{"workload", "--loopback --list --workloads never", `no workload is named "never"`, exitNoTest},
		{"binary", "--loopback --binary /never --report " + filepath.Join(t.TempDir(), "r"), "/never is no program", exitNoTest},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			code := run(context.Background(), strings.Fields(tt.args), &stdout, &stderr)
			if code != tt.code || !strings.Contains(stderr.String(), tt.want) {
				t.Errorf("exit code %d, %q; want %d, %q", code, &stderr, tt.code, tt.want)
			}
		})
	}
}

// Ensure a seed always gives the same schedule, and the list shows it.
func TestListIsRepeatable(t *testing.T) {
	lists := map[string]bool{}
	for range 2 {
		var stdout, stderr bytes.Buffer
		if code := run(context.Background(), []string{"--loopback", "--list", "--seed", "3"}, &stdout, &stderr); code != exitOK {
			t.Fatalf("exit code %d: %s", code, &stderr)
		}
		lists[stdout.String()] = true
	}
	if len(lists) != 1 {
		t.Error("two lists of one seed differ")
	}
}

// Ensure the command line that a report names repeats the run.
func TestCommand(t *testing.T) {
	args := "--seed 5 --duration 2m0s --nodes 5 --faults kill,P2 --workloads ttl --combined --hold 9s --loopback"
	c, err := parse(strings.Fields(args), &bytes.Buffer{})
	if err != nil {
		t.Fatal(err)
	}
	again, err := parse(strings.Fields(c.command())[1:], &bytes.Buffer{})
	if err != nil {
		t.Fatal(err)
	}
	if *again != *c || c.duration != 2*time.Minute {
		t.Errorf("%+v became %+v", c, again)
	}
}
