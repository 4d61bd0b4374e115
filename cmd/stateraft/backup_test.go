package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stateraft/stateraft/client"
)

// stateraft runs the command and returns its exit code and what it wrote.
func stateraft(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	cmd := exec.Command("stateraft", args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run() // its outcome is in ProcessState
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

func mustRun(t *testing.T, args ...string) string {
	t.Helper()
	code, stdout, stderr := stateraft(args...)
	if code != exitOK {
		t.Fatalf("stateraft %s: exit code %d: %s", strings.Join(args, " "), code, stderr)
	}
	return stdout
}

// everyEntry returns what a node holds of a workflow, as JSON lines.
func everyEntry(t *testing.T, url string) string {
	t.Helper()
	c, err := client.New(client.Config{Endpoints: []string{url}})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for page, err := range c.State.Pages(context.Background(), "wf", client.Query{Values: true}) {
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Entries {
			fmt.Fprintf(&b, "%s %d %s %v\n", e.Key, e.Version, e.Value, e.ExpiresAt)
		}
	}
	return b.String()
}

// A backup made under load by one cluster is restored by another, of other
// processes, whole or not at all.
func TestBackupBetweenProcesses(t *testing.T) {
	t.Parallel()
	source, target := startCluster(t), startCluster(t)
	c := source.nodes[0].client(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for i := range 200 {
		if _, err := c.State.Set(ctx, "wf", fmt.Sprint("k", i), i, client.WithTTL(time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.State.Delete(ctx, "wf", "k0"); err != nil {
		t.Fatal(err)
	}
	want := everyEntry(t, source.nodes[0].url)
	loaded := make(chan int)
	go func() {
		n := 0
		for ; ctx.Err() == nil; n++ {
			_, _ = c.State.Set(ctx, "load", fmt.Sprint("k", n%50), n) // ends by ctx
		}
		loaded <- n
	}()
	file := filepath.Join(t.TempDir(), "test.backup")
	mustRun(t, "backup", file, "--endpoints", source.nodes[1].url)
	cancel()
	if n := <-loaded; n == 0 {
		t.Error("nothing was written meanwhile")
	}
	var found inspectionJSON
	if err := json.Unmarshal([]byte(mustRun(t, "inspect", file, "-o", "json")), &found); err != nil || found.Kind != "backup" || found.Keys < 199 {
		t.Errorf("inspect: %+v, %v", found, err)
	}
	if text := mustRun(t, "inspect", file); !strings.Contains(text, "workflows") {
		t.Errorf("inspect: %s", text)
	}
	to := target.nodes[2].url
	refuseDamaged(t, file, to)
	mustRun(t, "restore", file, "--endpoints", to)
	for _, n := range target.nodes {
		if got := everyEntry(t, n.url); got != want {
			t.Errorf("%s holds\n%s\nwant\n%s", n.url, got, want)
		}
	}
	if code, _, stderr := stateraft("restore", file, "--endpoints", to); code != exitFailure || !strings.Contains(stderr, "--force") {
		t.Errorf("a second restore: exit code %d, %s", code, stderr)
	}
	mustRun(t, "restore", file, "--force", "--endpoints", to)
}

// refuseDamaged restores files cut and changed at some places, which must fail
// and leave nothing behind.
func refuseDamaged(t *testing.T, file, url string) {
	t.Helper()
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "damaged.backup")
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 6 {
		at := rng.IntN(len(whole))
		damaged := bytes.Clone(whole)
		if damaged[at] ^= 1; i%2 == 0 {
			damaged = whole[:at]
		}
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{{"inspect", path}, {"restore", path, "--force", "--endpoints", url}} {
			if code, _, stderr := stateraft(args...); code != exitFailure || !strings.Contains(stderr, "corrupt at byte") {
				t.Errorf("%s with byte %d of %d: exit code %d, %s", args[0], at, len(whole), code, stderr)
			}
		}
		c, err := client.New(client.Config{Endpoints: []string{url}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Cluster.Restore(context.Background(), bytes.NewReader(damaged), true); err == nil || !strings.Contains(err.Error(), "the backup is damaged") {
			t.Errorf("the node, with byte %d of %d: %v", at, len(whole), err)
		}
	}
	if got := everyEntry(t, url); got != "" {
		t.Errorf("a damaged backup left %s", got)
	}
}
