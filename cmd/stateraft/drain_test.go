package main

import (
	"errors"
	"fmt"
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
	if err := despiteStalls(t, func() error { return lingers(t, 2*time.Second) }); err != nil {
		t.Error(err)
	}
}

// lingers returns an error if a node that is told to end does not serve while
// it should.
func lingers(t *testing.T, delay time.Duration) error {
	t.Helper()
	p := startNode(t, t.TempDir(), "--drain-delay", delay.String())
	begin := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for p.status("/ready") != http.StatusServiceUnavailable {
		if time.Since(begin) > delay {
			return errors.New("/ready does not answer 503")
		}
	}
	resp, err := http.Post(p.url+"/v1/state/wf/key", "application/json", strings.NewReader(`{"value":1}`))
	if err != nil {
		return fmt.Errorf("a write while the node drains: %w", err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK || !resp.Close {
		t.Errorf("a write while the node drains: %s, connection closed: %v", resp.Status, resp.Close)
	}
	p.waitEnd(t)
	if took := time.Since(begin); took < delay || p.cmd.ProcessState.ExitCode() != exitOK {
		t.Errorf("exit code %d after %v, want 0 after %v", p.cmd.ProcessState.ExitCode(), took, delay)
	}
	return nil
}
