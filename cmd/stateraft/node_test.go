package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// testTimeout bounds every wait for a process.
const testTimeout = 30 * time.Second

// process is "stateraft serve" as a process of its own.
type process struct {
	url  string
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	log  *processLog
}

// startNode starts a node on free ports and waits until it is ready. It is
// killed at the end of the test if it still runs.
func startNode(t *testing.T, dataDir string, flags ...string) *process {
	t.Helper()
	p := startProcess(t, append([]string{
		"serve", "--data-dir", dataDir, "--node-id", "n1", "--log-format", "json",
		"--http-addr", "127.0.0.1:0", "--raft-addr", "127.0.0.1:0", "--gossip-addr", "127.0.0.1:0",
	}, flags...)...)
	p.waitServing(t)
	p.waitReady(t)
	return p
}

// startProcess starts the command and discards what it writes to stdout.
func startProcess(t *testing.T, args ...string) *process {
	t.Helper()
	return startProcessWith(t, nil, args...)
}

func startProcessWith(t *testing.T, stdout io.Writer, args ...string) *process {
	t.Helper()
	cmd := exec.Command("stateraft", args...)
	cmd.Stdout = stdout
	return startCommand(t, cmd)
}

// startCommand starts a command that is, or becomes, stateraft. The test fails
// if the race detector finds anything in it.
func startCommand(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{cmd: cmd, done: make(chan struct{}), log: &processLog{serving: make(chan string, 1)}}
	p.cmd.Stderr = p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.cmd.Wait() // its outcome stays in ProcessState
		close(p.done)
	}()
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.done
		if strings.Contains(p.log.String(), "WARNING: DATA RACE") {
			t.Errorf("a data race in %v: %s", p.cmd.Args, p.log)
		}
	})
	return p
}

// waitServing waits until the process says where it serves.
func (p *process) waitServing(t *testing.T) {
	t.Helper()
	select {
	case p.url = <-p.log.serving:
	case <-p.done:
		t.Fatalf("the node has ended: %s", p.log)
	case <-time.After(testTimeout):
		t.Fatalf("the node does not serve: %s", p.log)
	}
}

// waitEnd waits until the process has ended.
func (p *process) waitEnd(t *testing.T) {
	t.Helper()
	select {
	case <-p.done:
	case <-time.After(testTimeout):
		t.Fatalf("the process does not end: %s", p.log)
	}
}

func (p *process) waitReady(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(testTimeout); p.status("/ready") != http.StatusOK; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the node is not ready: %s", p.log)
		}
	}
}

// status returns the status of a GET, 0 for none.
func (p *process) status(path string) int {
	resp, err := http.Get(p.url + path)
	if err != nil {
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}

// stop sends a signal and returns the exit code and how long the end took.
func (p *process) stop(t *testing.T, sig syscall.Signal) (code int, took time.Duration) {
	t.Helper()
	begin := time.Now()
	if err := p.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
	p.waitEnd(t)
	return p.cmd.ProcessState.ExitCode(), time.Since(begin)
}

// processLog is what a process writes to stderr, and picks the API's address
// from it.
type processLog struct {
	serving chan string // the URL, once

	mu     sync.Mutex // guards the fields below
	text   bytes.Buffer
	parsed int // bytes of text, whole lines
}

// Write takes what one read from a pipe gives, which may end within a line.
func (l *processLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(p)
	for {
		line, _, whole := bytes.Cut(l.text.Bytes()[l.parsed:], []byte("\n"))
		if !whole {
			return len(p), nil
		}
		l.parsed += len(line) + 1
		var entry struct{ Msg, HTTP string }
		if json.Unmarshal(line, &entry) == nil && entry.Msg == "serving" {
			l.serving <- "http://" + entry.HTTP
		}
	}
}

func (l *processLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
