package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestServeStopsOnSignal(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			p := startNode(t, t.TempDir())
			if code, took := p.stop(t, sig); code != exitOK || took > 10*time.Second {
				t.Errorf("exit code %d after %s, want 0 within 10s: %s", code, took, p.log)
			}
		})
	}
}

// Ensure a node that is told to end while it reads its data does.
func TestServeStopsWhileItOpens(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	startNode(t, dir).stop(t, syscall.SIGTERM)
	log := filepath.Join(dir, "raft.db")
	if err := os.Remove(log); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(log, 0o600); err != nil { // whoever opens it waits
		t.Fatal(err)
	}
	addr := freeAddrs(t, 1)[0]
	p := startProcess(t, "serve", "--data-dir", dir, "--node-id", "n1",
		"--http-addr", addr, "--raft-addr", "127.0.0.1:0", "--gossip-addr", "127.0.0.1:0")
	for deadline := time.Now().Add(testTimeout); ; { // it listens first
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the node does not listen: %s", p.log)
		}
		select {
		case <-p.done:
			t.Fatalf("the node has ended: %s", p.log)
		case <-time.After(time.Millisecond):
		}
	}
	if code, took := p.stop(t, syscall.SIGTERM); code != exitOK || took > 10*time.Second {
		t.Errorf("exit code %d after %s, want 0 within 10s: %s", code, took, p.log)
	}
}

// A request in flight when the signal comes is answered before the end.
func TestServeAnswersRequestsInFlight(t *testing.T) {
	t.Parallel()
	p := startNode(t, t.TempDir())
	conn, finish := halfRequest(t, p)
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	waitSilent(t, p.url)
	finish()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("request in flight: got %v, %v, want 200", resp, err)
	}
	p.waitEnd(t)
	if code := p.cmd.ProcessState.ExitCode(); code != exitOK {
		t.Errorf("exit code %d, want 0: %s", code, p.log)
	}
}

func TestServeSecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	p := startNode(t, t.TempDir())
	halfRequest(t, p)
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	waitSilent(t, p.url)
	p.stop(t, syscall.SIGTERM)
	if status := p.cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGTERM {
		t.Errorf("got %v, want an end by the second signal", p.cmd.ProcessState)
	}
}

// halfRequest sends a write but for the last byte of its body, which finish
// sends. It returns once the server works on the request.
func halfRequest(t *testing.T, p *process) (conn net.Conn, finish func()) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	const body = `{"value":1}`
	fmt.Fprintf(conn, "POST /v1/state/wf/key HTTP/1.1\r\nHost: n1\r\nContent-Type: application/json\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", len(body))
	// The server asks for the body when the handler begins to read it.
	if _, err := io.ReadFull(conn, make([]byte, len("HTTP/1.1 100 Continue\r\n\r\n"))); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(conn, body[:len(body)-1])
	return conn, func() { fmt.Fprint(conn, body[len(body)-1:]) }
}

func TestServeKeepsDataOverRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/new/data"
	first := startNode(t, dir)
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("data directory: got %v, %v, want mode 0700", info.Mode(), err)
	}
	post(t, first.url+"/v1/state/wf/key", `{"value":"kept"}`)
	if code, _ := first.stop(t, syscall.SIGTERM); code != exitOK {
		t.Fatalf("exit code %d, want 0: %s", code, first.log)
	}

	second := startNode(t, dir)
	if got, want := get(t, second.url+"/v1/state/wf/key"), `"value":"kept"`; !strings.Contains(got, want) {
		t.Errorf("after a restart: got %s, want %s", got, want)
	}
}

func TestServeRefusesDataDirInUse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	startNode(t, dir)
	second := startProcess(t, "serve", "--data-dir", dir, "--http-addr", "127.0.0.1:0", "--raft-addr", "127.0.0.1:0", "--gossip-addr", "127.0.0.1:0")
	second.waitEnd(t)
	if code := second.cmd.ProcessState.ExitCode(); code != exitFailure || !strings.Contains(second.log.String(), "in use by another process") {
		t.Errorf("exit code %d with %q, want 1 with the reason", code, second.log)
	}
}

// Ensure there are the figures that docs/alerts.yml looks at.
func TestServeMetrics(t *testing.T) {
	t.Parallel()
	rules, err := os.ReadFile("../../docs/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`\b(stateraft|process)_[a-z_]+`).FindAllString(string(rules), -1)
	if len(names) < 16 {
		t.Errorf("the rules name %d figures: %q", len(names), names)
	}
	p := startNode(t, t.TempDir())
	get(t, p.url+"/health") // so that there are figures of requests
	text := get(t, p.url+"/metrics")
	for _, name := range append(names, "go_goroutines") {
		if !regexp.MustCompile(`(?m)^` + name + `[ {]`).MatchString(text) {
			t.Errorf("/metrics has no %s", name)
		}
	}
}

func TestServeLimitsValues(t *testing.T) {
	t.Parallel()
	p := startNode(t, t.TempDir(), "--max-value-bytes", "1KiB")
	body := fmt.Sprintf(`{"value":"%s"}`, strings.Repeat("x", 1024))
	resp, err := http.Post(p.url+"/v1/state/wf/key", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("a value over --max-value-bytes: got %s, want 413", resp.Status)
	}
}

func post(t *testing.T, url, body string) {
	t.Helper()
	resp, err := http.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("POST %s: %s", url, resp.Status)
	}
}

func get(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s, %v", url, resp.Status, err)
	}
	return string(body)
}
