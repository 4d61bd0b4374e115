//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stateraft/stateraft/client"
)

// flag returns what the node was given for a flag.
func (n *processNode) flag(name string) string {
	for i, f := range n.flags {
		if f == name {
			return n.flags[i+1]
		}
	}
	return ""
}

// restartOnSmallDisk starts the node again, if small with its data on a file
// system of its own, of 128 MiB. Its caller is isolated: the mount ends with it.
func (n *processNode) restartOnSmallDisk(t *testing.T, small bool) {
	t.Helper()
	n.stop(t, syscall.SIGTERM)
	if dir := n.flag("--data-dir"); small {
		shell(t, `
			mkdir "$1.small"
			mount -t tmpfs -o size=128m none "$1.small"
			cp -a "$1/." "$1.small/"
			mount --move "$1.small" "$1"`, dir)
		t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	}
	n.start(t)
	n.waitReady(t)
}

const (
	fillValue = 128 << 10
	fillLimit = 200 << 20 // bytes of values, more than a small disk has
)

// A fill is keys of fillValue bytes, k1 and so on.
type fill struct {
	sets atomic.Int64 // tried

	mu    sync.Mutex // guards acked
	acked []string
}

// fillDisk writes to all nodes at once, to each until it says DISK_FULL.
func fillDisk(t *testing.T, c *processCluster) *fill {
	t.Helper()
	f := new(fill)
	var wg sync.WaitGroup
	for w := range 2 * len(c.nodes) {
		wg.Go(func() { f.write(t, c.nodes[w%len(c.nodes)]) })
	}
	wg.Wait()
	return f
}

func (f *fill) write(t *testing.T, n *processNode) {
	body := `{"value":"` + strings.Repeat("x", fillValue) + `"}`
	for i := f.sets.Add(1); i*fillValue < fillLimit; i = f.sets.Add(1) {
		key := fmt.Sprint("k", i)
		status, code := ask(n.url+"/v1/state/fill/"+key, body)
		if status == http.StatusInsufficientStorage && code == "DISK_FULL" {
			return
		}
		if status != http.StatusOK {
			t.Errorf("set at %s: status %d, %s", n.flag("--node-id"), status, code)
			return
		}
		f.mu.Lock()
		f.acked = append(f.acked, key)
		f.mu.Unlock()
	}
	t.Errorf("%s takes more than its disk holds", n.flag("--node-id"))
}

// ask posts a body and returns the status, 0 for no answer, and the code of an
// error.
func ask(url, body string) (status int, code string) {
	resp, err := http.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	var problem struct{ Code string }
	_ = json.NewDecoder(resp.Body).Decode(&problem)
	return resp.StatusCode, problem.Code
}

// Ensure a disk that fills, whosever it is, makes the cluster refuse sets
// before it is full, take deletes, answer reads and go on by itself when there
// is room; that no node ends of it, and that nothing acknowledged is lost.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	isolated(t, []string{"ip", "mount"}, func(t *testing.T) {
		plain := plainBuild(t)
		shell(t, `ip link set lo up`)
		for _, tt := range []struct {
			name  string
			small func(isLeader bool) bool // whether a node's disk is small
		}{
			{"leader", func(isLeader bool) bool { return isLeader }},
			{"followers", func(isLeader bool) bool { return !isLeader }},
			{"all", func(bool) bool { return true }},
		} {
			t.Run(tt.name, func(t *testing.T) {
				c := startClusterOf(t, plain)
				leader := c.leader(t)
				for i, n := range c.nodes {
					n.restartOnSmallDisk(t, tt.small(i == leader))
				}
				c.lead(t, leader)
				testFullDisk(t, c, c.nodes[leader])
			})
		}
	})
}

// testFullDisk fills the disk of the leader and frees it again.
func testFullDisk(t *testing.T, c *processCluster, leader *processNode) {
	t.Helper()
	begin := time.Now()
	f := fillDisk(t, c)
	t.Logf("%d of %d sets of %d bytes acknowledged in %v until all were refused", len(f.acked), f.sets.Load(), fillValue, time.Since(begin))
	for _, n := range c.nodes {
		for _, path := range []string{"/health", "/v1/state/fill/" + f.acked[0]} {
			if got := n.status(path); got != http.StatusOK {
				t.Errorf("GET %s at %s: %d", path, n.flag("--node-id"), got)
			}
		}
	}

	begin = time.Now()
	kept, cl := f.acked[:5], leader.client(t)
	for _, key := range f.acked[5:] {
		if deleted, err := cl.State.Delete(t.Context(), "fill", key); err != nil || !deleted {
			t.Fatalf("delete %s: %v, %v", key, deleted, err)
		}
	}
	t.Logf("%d deletes took %v", len(f.acked)-5, time.Since(begin))
	begin = time.Now()
	for _, n := range c.nodes {
		waitWritable(t, n)
	}
	t.Logf("all nodes took sets again %v after the last", time.Since(begin))

	wantKept(t, c, kept)
	for _, n := range c.nodes {
		n.stop(t, syscall.SIGKILL) // fails for one that has ended
	}
	for _, n := range c.nodes {
		n.start(t)
	}
	for _, n := range c.nodes {
		n.waitReady(t)
	}
	wantKept(t, c, kept)
}

func waitWritable(t *testing.T, n *processNode) {
	t.Helper()
	for deadline := time.Now().Add(testTimeout); ; time.Sleep(20 * time.Millisecond) {
		status, code := ask(n.url+"/v1/state/fill/after", `{"value":1}`)
		if status == http.StatusOK {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not take sets again: %d %s: %s", n.flag("--node-id"), status, code, n.log)
		}
	}
}

// wantKept ensures that every node has the keys, and one more.
func wantKept(t *testing.T, c *processCluster, kept []string) {
	t.Helper()
	for _, n := range c.nodes {
		list, err := n.client(t).State.List(t.Context(), "fill", client.Query{})
		if err != nil || len(list.Keys) != len(kept)+1 {
			t.Errorf("%s has %d keys, want %d; %v", n.flag("--node-id"), len(list.Keys), len(kept)+1, err)
		}
		for _, key := range kept {
			e, err := n.client(t).State.Get(t.Context(), "fill", key)
			if err != nil || len(e.Value) != fillValue+len(`""`) {
				t.Errorf("%s has %d bytes of %s, %v", n.flag("--node-id"), len(e.Value), key, err)
			}
		}
	}
}

// Ensure a data directory that cannot be a node's ends the command with one
// line that says why.
func TestDataDirRefused(t *testing.T) {
	t.Parallel()
	isolated(t, []string{"mount"}, func(t *testing.T) {
		for _, tt := range []struct {
			name    string
			prepare string // a script that is given the directory
			want    string
		}{
			{"read-only", `mkdir "$1"; mount -t tmpfs -o ro none "$1"`, "data directory is not writable: "},
			{"read-only with a node's data", `
				mkdir "$1"; mount -t tmpfs none "$1"; touch "$1/LOCK"
				printf '{"format":1,"nodeId":"00000000-0000-4000-8000-000000000000"}' >"$1/identity.json"
				mount -o remount,ro "$1"`, "data directory is not writable: "},
			{"of another program", `mkdir "$1"; touch "$1/PG_VERSION"`, " holds PG_VERSION but no identity.json: "},
			{"of a node that lost its identity", `mkdir "$1"; touch "$1/raft.db"`, " holds raft.db but no identity.json: "},
			{"another program's identity", `mkdir "$1"; echo '{"id":7}' >"$1/identity.json"`, "not an identity file"},
			{"a file", `touch "$1"`, "not a directory"},
		} {
			t.Run(tt.name, func(t *testing.T) {
				dir := filepath.Join(t.TempDir(), "data")
				shell(t, tt.prepare, dir)
				t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
				p := startProcess(t, "serve", "--data-dir", dir, "--http-addr", "127.0.0.1:0", "--raft-addr", "127.0.0.1:0", "--gossip-addr", "127.0.0.1:0")
				select {
				case <-p.done:
				case <-time.After(testTimeout):
					t.Fatalf("the node runs: %s", p.log)
				}
				line, more := strings.CutSuffix(p.log.String(), "\n")
				if !more || strings.Contains(line, "\n") || !strings.HasPrefix(line, "stateraft: ") || !strings.Contains(line, tt.want) {
					t.Errorf("stderr is %q, want one line with %q", p.log, tt.want)
				}
				if code := p.cmd.ProcessState.ExitCode(); code != exitFailure {
					t.Errorf("exit code %d, want %d", code, exitFailure)
				}
			})
		}
	})
}

// Ensure a node with another cluster's data stays out of the cluster that it
// is told to join, and changes nothing of it.
func TestDataDirOfAnotherCluster(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	other := startNode(t, t.TempDir())
	dir := other.cmd.Args[3]
	if _, err := setInt(other.url, "wf", "k", 7); err != nil {
		t.Fatal(err)
	}
	other.stop(t, syscall.SIGTERM)
	again := startNode(t, dir, "--join", c.nodes[0].flag("--join"))
	if got, err := getInt(again.url+"/v1/state/wf/k", ""); err != nil || got != 7 {
		t.Errorf("its own key reads %d, %v; want 7", got, err)
	}
	time.Sleep(time.Second) // for gossip to have met
	for i, n := range c.nodes {
		if got := n.status("/v1/state/wf/k"); got != http.StatusNotFound {
			t.Errorf("the other cluster's key at n%d: status %d, want 404", i+1, got)
		}
		st, err := n.client(t).Cluster.Status(t.Context())
		if err != nil || len(st.Nodes) != len(c.nodes) {
			t.Errorf("n%d knows %d members, %v; want %d", i+1, len(st.Nodes), err, len(c.nodes))
		}
	}
}

// Ensure a node whose log cannot be written ends with code 1 and a line that
// says why, also where the first write to fail is that of a term: Raft would
// panic of that. Only the survivor that the other votes for comes to one.
func TestLogCannotBeWritten(t *testing.T) {
	t.Parallel()
	hooks := t.TempDir()
	c := startClusterOf(t, program{env: []string{testHooksEnv + "=" + hooks}})
	leader := c.leader(t)
	if err := os.WriteFile(filepath.Join(hooks, "disk"), []byte("input/output error"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.nodes[leader].stop(t, syscall.SIGKILL)
	a, b := c.nodes[(leader+1)%3], c.nodes[(leader+2)%3]
	ended := a
	select {
	case <-a.done:
	case <-b.done:
		ended = b
	case <-time.After(testTimeout):
		t.Fatalf("both run: %s", a.log)
	}
	if code := ended.cmd.ProcessState.ExitCode(); code != exitFailure {
		t.Errorf("exit code %d, want %d", code, exitFailure)
	}
	lines := strings.Split(strings.TrimSpace(ended.log.String()), "\n")
	want := "stateraft: write " + filepath.Join(ended.flag("--data-dir"), "raft.db") + ": input/output error"
	if got := lines[len(lines)-1]; got != want {
		t.Errorf("the last line is %q, want %q", got, want)
	}
}
