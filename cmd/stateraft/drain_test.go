package main

import (
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Ensure a node that has been told to end says that it is not ready, and still
// serves those who have not noticed, each on a connection that ends with the
// answer, for --drain-delay.
func TestServeLingers(t *testing.T) {
	const delay = 2 * time.Second
	p := startNode(t, t.TempDir(), "--drain-delay", delay.String())
	begin := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for p.status("/ready") != http.StatusServiceUnavailable {
		if time.Since(begin) > delay {
			t.Fatal("/ready does not answer 503")
		}
	}
	resp, err := http.Post(p.url+"/v1/state/wf/key", "application/json", strings.NewReader(`{"value":1}`))
	if err != nil {
		t.Fatalf("a write while the node drains: %v", err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK || !resp.Close {
		t.Errorf("a write while the node drains: %s, connection closed: %v", resp.Status, resp.Close)
	}
	<-p.done
	if took := time.Since(begin); took < delay || p.cmd.ProcessState.ExitCode() != exitOK {
		t.Errorf("exit code %d after %v, want 0 after %v", p.cmd.ProcessState.ExitCode(), took, delay)
	}
}
