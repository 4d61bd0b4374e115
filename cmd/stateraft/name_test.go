package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// serveFlags are for a node of its own on free ports.
func serveFlags(dir string, more ...string) []string {
	return append([]string{
		"serve", "--data-dir", dir, "--log-format", "json",
		"--http-addr", "127.0.0.1:0", "--raft-addr", "127.0.0.1:0", "--gossip-addr", "127.0.0.1:0",
	}, more...)
}

// Ensure a node that is given another name than its data directory's ends with
// a line that says so, whichever way it is given.
func TestNodeIDOfAnotherDataDir(t *testing.T) {
	t.Parallel()
	dir, config := t.TempDir(), filepath.Join(t.TempDir(), "config.yaml")
	startNode(t, dir).stop(t, syscall.SIGTERM)
	if err := os.WriteFile(config, []byte("node-id: n2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		args []string
		env  []string
	}{
		{"flag", []string{"--node-id", "n2"}, nil},
		{"environment", nil, []string{"STATERAFT_NODE_ID=n2"}},
		{"file", []string{"--config", config}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cmd := exec.Command("stateraft", serveFlags(dir, tt.args...)...)
			cmd.Env = append(os.Environ(), tt.env...)
			p := startCommand(t, cmd)
			select {
			case <-p.done:
			case <-p.log.serving:
				t.Fatal("the node serves")
			case <-time.After(testTimeout):
				t.Fatalf("the node runs: %s", p.log)
			}
			want := "stateraft: the data directory " + dir + ` is that of node "n1", not of "n2"; give --node-id n1, or this node's own directory` + "\n"
			if got := p.log.String(); got != want {
				t.Errorf("stderr is %q, want %q", got, want)
			}
			if code := p.cmd.ProcessState.ExitCode(); code != exitFailure {
				t.Errorf("exit code %d, want %d", code, exitFailure)
			}
		})
	}
}

// Ensure a node that is given no name takes its host's when it is new, and
// goes by what it is called from then on.
func TestNodeIDIsKept(t *testing.T) {
	t.Parallel()
	named := t.TempDir()
	startNode(t, named).stop(t, syscall.SIGTERM)
	for dir, want := range map[string]string{named: "n1", t.TempDir(): hostName()} {
		p := startProcess(t, serveFlags(dir)...)
		p.waitServing(t)
		p.waitReady(t)
		wantMember(t, p, want)
		if !strings.Contains(p.log.String(), fmt.Sprintf(`"node":%q`, want)) {
			t.Errorf("the log does not name %s: %s", want, p.log)
		}
	}
}

// wantMember ensures that the node is the only member, and goes by that name.
func wantMember(t *testing.T, p *process, name string) {
	t.Helper()
	resp, err := http.Get(p.url + "/v1/cluster")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var st struct {
		Leader string
		Nodes  []struct{ ID string }
	}
	if err := json.NewDecoder(resp.Body).Decode(&st); err != nil || st.Leader != name || len(st.Nodes) != 1 {
		t.Errorf("the cluster is %+v, %v; want %s alone", st, err, name)
	}
}
