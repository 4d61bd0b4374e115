package main

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

func TestLayoutDev(t *testing.T) {
	d := &devCluster{nodes: layoutDev(devConfig{nodes: 3, dataDir: "data", port: 7474})}
	got := strings.Join(d.flags(d.nodes[1]), " ")
	want := "serve --node-id n2 --data-dir data/n2 --http-addr 127.0.0.1:7475 --raft-addr 127.0.0.1:7575 " +
		"--gossip-addr 127.0.0.1:7675 --bootstrap-expect 3 --join 127.0.0.1:7674,127.0.0.1:7676"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestLastLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	for content, want := range map[string]string{
		"":                                   "",
		"one":                                "one",
		"one\ntwo\n":                         "two",
		strings.Repeat("x", 5000) + "\nlast": "last",
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := lastLine(path); got != want {
			t.Errorf("last line of %.20q…: got %q, want %q", content, got, want)
		}
	}
}

// Three processes found a cluster, one dies and the others go on, and what is
// left stops with the parent.
func TestDev(t *testing.T) {
	t.Parallel()
	dir, port := t.TempDir(), freePorts(t)
	p, out := startDevProcess(t, dir, port)
	base := "http://127.0.0.1:"
	post(t, base+strconv.Itoa(port)+"/v1/state/wf/key", `{"value":"shared"}`)
	if got := get(t, base+strconv.Itoa(port+2)+"/v1/state/wf/key"); !strings.Contains(got, `"value":"shared"`) {
		t.Errorf("read on another node: got %s", got)
	}
	if !strings.Contains(out, "curl -X POST "+base+strconv.Itoa(port)+"/v1/state/") {
		t.Errorf("no first curl in %q", out)
	}

	if code, _ := p.stop(t, syscall.SIGINT); code != exitOK {
		t.Errorf("exit code %d, want 0: %s", code, p.log)
	}
	for i := range 3 {
		waitSilent(t, base+strconv.Itoa(port+i))
	}
}

func TestDevChildrenEndWithParent(t *testing.T) {
	t.Parallel()
	dir, port := t.TempDir(), freePorts(t)
	p, _ := startDevProcess(t, dir, port)
	p.stop(t, syscall.SIGKILL)
	for i := range 3 {
		waitSilent(t, "http://127.0.0.1:"+strconv.Itoa(port+i))
	}
}

func TestDevTellsWhyANodeEnded(t *testing.T) {
	t.Parallel()
	port := freePorts(t)
	taken, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port+1))
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	p := startProcess(t, "dev", "--data-dir", t.TempDir(), "--port", strconv.Itoa(port))
	select {
	case <-p.done:
	case <-time.After(testTimeout):
		t.Fatal("goes on without a node")
	}
	if code := p.cmd.ProcessState.ExitCode(); code != exitFailure {
		t.Errorf("exit code %d, want 1", code)
	}
	if got := p.log.String(); !strings.Contains(got, "n2 has ended: exit status 1") || !strings.Contains(got, "address already in use") {
		t.Errorf("got %q, want which node ended and why", got)
	}
}

// startDevProcess returns once the cluster has said that it is ready, with
// what it said.
func startDevProcess(t *testing.T, dir string, port int) (*process, string) {
	t.Helper()
	said := filepath.Join(dir, "said")
	out, err := os.Create(said)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	p := startProcessWith(t, out, "dev", "--nodes", "3", "--data-dir", dir, "--port", strconv.Itoa(port))
	for deadline := time.Now().Add(testTimeout); ; time.Sleep(20 * time.Millisecond) {
		text, err := os.ReadFile(said)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "Ctrl-C") {
			return p, string(text)
		}
		if time.Now().After(deadline) {
			t.Fatalf("not ready: %s%s", text, p.log)
		}
	}
}

// waitSilent waits until nothing answers at url.
func waitSilent(t *testing.T, url string) {
	t.Helper()
	for deadline := time.Now().Add(testTimeout); ; time.Sleep(10 * time.Millisecond) {
		resp, err := http.Get(url + "/health")
		if err != nil {
			return
		}
		resp.Body.Close()
		if time.Now().After(deadline) {
			t.Fatalf("%s still answers", url)
		}
	}
}

// devClusters counts those that freePorts has found room for, or not.
var devClusters atomic.Int64

// freePorts returns a port such that it, the two after it, and those at dev's
// distances are free. They are none of freeAddrs', and no other test's that runs
// at the same time.
func freePorts(t *testing.T) int {
	t.Helper()
	const distance, most = 300, 9
	for range most {
		port := firstFreePort + freePortCount + distance*int(devClusters.Add(1)%most)
		if portsFree(port, 3) && portsFree(port+devRaftOffset, 3) && portsFree(port+devGossipOffset, 3) {
			return port
		}
	}
	t.Fatal("no free ports")
	return 0
}

func portsFree(first, n int) bool {
	for port := first; port < first+n; port++ {
		ln, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err != nil {
			return false
		}
		ln.Close()
	}
	return true
}
