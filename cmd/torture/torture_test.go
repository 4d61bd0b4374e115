package main

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

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
		{"slack", "--slack 0", "--slack must be from 1 to 10", exitNoTest},
		{"epoch", "--epoch 1h", "--epoch must be from 1s to 10m", exitNoTest},
		{"help of the matrix", "matrix --help", "-seeds", exitOK},
		{"argument of the matrix", "matrix now", `no argument such as "now"`, exitNoTest},
		{"row", "matrix --rows N1,never", `no row "never"`, exitNoTest},
		{"seeds", "matrix --seeds 1,x", `--seeds "1,x" must be numbers`, exitNoTest},
		{"duration of the matrix", "matrix --duration 0s", "--duration must be above 0", exitNoTest},
		{"fault", "--loopback --list --faults kill,never", `no fault and no row is named "never"`, exitNoTest},
		{"fault without a network", "--loopback --list --faults cut-leader", "cut-leader needs network namespaces", exitNoTest},
		{"fault that takes more nodes", "--loopback --list --nodes 1 --faults replace", "replace takes 3 nodes", exitNoTest},
		{"workload", "--loopback --list --workloads never", `no workload is named "never"`, exitNoTest},
		{"workload twice", "--loopback --list --workloads ttl,adds,ttl", "ttl is named twice", exitNoTest},
		{"fault twice", "--loopback --list --faults P3,term", "term is named twice", exitNoTest},
		{"check", "--until never", `--until "never" must be one of`, exitNoTest},
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

// Ensure the matrix tells what is done, without doing anything.
func TestMatrixTells(t *testing.T) {
	var stdout, stderr bytes.Buffer
	code := run(context.Background(), []string{"matrix", "--tell", "--loopback", "--rows", "P1,N1", "--results", t.TempDir()}, &stdout, &stderr)
	if code != exitOK {
		t.Errorf("exit code %d: %s", code, &stderr)
	}
	for _, want := range []string{"| P1 | SIGKILL of one, the leader, a majority, all | | 0 |", "not run", "cut-leader needs network namespaces"} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("it lacks %q:\n%s", want, &stdout)
		}
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
	args := "--seed 5 --duration 2m0s --nodes 5 --faults kill,P2 --workloads ttl --combined --hold 9s --slack 3 --loopback --epoch 20s --until ttl"
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
