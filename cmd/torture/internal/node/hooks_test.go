package node

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// scripted is a node whose process is a shell script.
func scripted(t *testing.T, script string) *Node {
	t.Helper()
	log, err := os.OpenFile(filepath.Join(t.TempDir(), "n1.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	n := &Node{Name: "n1", binary: "sh", args: []string{"-c", script}, log: log, ended: make(chan string, 1), dir: t.TempDir()}
	t.Cleanup(func() {
		n.Tend(false)
		n.Kill()
		log.Close()
	})
	return n
}

func start(t *testing.T, n *Node) {
	t.Helper()
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
}

// waitLog waits for what a process says.
func waitLog(t *testing.T, n *Node, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := n.WaitLog(ctx, 0, text); err != nil {
		t.Fatal(err)
	}
}

// heard returns what a node tells next.
func heard(t *testing.T, told <-chan string) string {
	t.Helper()
	select {
	case text := <-told:
		return text
	case <-time.After(10 * time.Second):
		t.Fatal("nothing was told for 10 s")
		return ""
	}
}

// Ensure a process that is tended is started again when it ends, and nobody is
// told; and that one which is not is told of.
func TestTend(t *testing.T) {
	n := scripted(t, "echo up >> lives; wc -l < lives; [ $(wc -l < lives) -ge 3 ] && sleep 60; exit 3")
	told := make(chan string, 1)
	n.ended, n.wrapper = told, []string{"env", "-C", n.dir}
	n.Tend(true)
	start(t, n)
	waitLog(t, n, "\n3\n")
	if len(told) > 0 {
		t.Errorf("told: %s", <-told)
	}
	n.Tend(false)
	if err := n.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got := heard(t, told); !strings.Contains(got, "n1 ended by itself") {
		t.Errorf("told: %s", got)
	}
}

// Ensure a node that is tended, and killed just when it ends by itself, never is
// two processes. A shell that is killed may leave its flock behind for a moment.
func TestTendRunsOneProcess(t *testing.T) {
	n := scripted(t, "exec 9>lock; flock -w 3 9 || echo twice; echo up; exec sleep 60")
	n.wrapper = []string{"env", "-C", n.dir}
	for turn := range 40 { // more and more behind that
		n.Tend(true)
		await(t, n, "up\n")
		p := n.proc.cmd.Process
		for p.Signal(syscall.SIGKILL) == nil { // until its end is known
			runtime.Gosched()
		}
		for range turn {
			runtime.Gosched()
		}
		n.Kill()
		n.Tend(false)
		await(t, n, "up\n")
		n.Kill()
		if n.HasLogged(0, "twice") {
			t.Fatal("there were two processes")
		}
	}
}

// Ensure a tended node that cannot be started again is told of.
func TestTendTellsOfFailedStart(t *testing.T) {
	n := scripted(t, "echo up; exec sleep 60")
	told := make(chan string, 1)
	n.ended = told
	n.Tend(true)
	await(t, n, "up\n")
	n.use("no such program")
	if err := n.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if got := heard(t, told); !strings.Contains(got, "start n1") {
		t.Errorf("told: %s", got)
	}
}

// Ensure WaitLog finds a text behind the mark only, also one that comes in
// pieces, and says what it missed.
func TestWaitLog(t *testing.T) {
	n := scripted(t, "")
	say := func(text string) { fmt.Fprint(n.log, text) }
	say("needle\n")
	mark := n.LogMark()
	if n.HasLogged(mark, "needle") || !n.HasLogged(0, "needle") {
		t.Error("the mark does not count")
	}
	found := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	go func() { found <- n.WaitLog(ctx, mark, "needle") }()
	say(strings.Repeat("hay ", 64<<10/4-1) + "nee")
	time.Sleep(3 * logPause)
	say("dle")
	if err := <-found; err != nil {
		t.Error(err)
	}
	ended, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := n.WaitLog(ended, mark, "pin"); err == nil || !strings.Contains(err.Error(), `n1 has not logged "pin"`) {
		t.Errorf("got %v", err)
	}
}

func TestLimit(t *testing.T) {
	n := scripted(t, "echo up; sleep 60; true")
	start(t, n)
	waitLog(t, n, "up")
	before := limitOf(t, n)
	lift, err := n.Limit("nofile", 64)
	if err != nil {
		t.Skipf("no limits: %v", err)
	}
	if got := limitOf(t, n); got != "64" {
		t.Errorf("the limit is %s", got)
	}
	if err := lift(); err != nil {
		t.Error(err)
	}
	if got := limitOf(t, n); got == "64" {
		t.Errorf("the limit is %s, and was %s", got, before)
	}
	if has, err := n.DataBytes(); err != nil || has == 0 || has > 1<<30 {
		t.Errorf("a shell has %d bytes of data: %v", has, err)
	}
	n.Kill()
	if err := lift(); err != nil {
		t.Errorf("lifting the limit of a process that has ended: %v", err)
	}
}

// limitOf is the soft limit of open files.
func limitOf(t *testing.T, n *Node) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", n.proc.cmd.Process.Pid))
	if err != nil {
		t.Skip(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "Max open files"); ok {
			return strings.Fields(rest)[0]
		}
	}
	return ""
}

func TestHook(t *testing.T) {
	n := scripted(t, "")
	if err := n.hook(Config{}); err != nil || n.hooks != "" || n.env != nil {
		t.Errorf("without need: %q, %q, %v", n.hooks, n.env, err)
	}
	if err := n.hook(Config{Tuning: []string{"a 1", "b 2"}}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(n.hooks, "tuning"))
	if err != nil || string(text) != "a 1\nb 2" {
		t.Errorf("%q, %v", text, err)
	}
	fmt.Fprintln(n.log, clockHeeded)
	ctx, cancel := context.WithCancel(t.Context())
	var node sync.WaitGroup
	defer node.Wait()
	defer cancel()
	node.Go(func() {
		for ; ctx.Err() == nil && !n.HasLogged(0, "set"); time.Sleep(logPause) {
			if text, err := os.ReadFile(filepath.Join(n.hooks, "clock")); err == nil && string(text) == "wall -1h0m0s\nrate 0.99\n" {
				fmt.Fprintln(n.log, "set, "+clockHeeded)
			}
		}
	})
	if err := n.SetClock(Clock{-time.Hour, 0.99}); err != nil {
		t.Error(err)
	}
}

func TestLogFigures(t *testing.T) {
	n := scripted(t, "")
	n.token = "secret"
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go answerFigures(listener)
	n.URL = "http://" + listener.Addr().String()
	if first, last, err := n.Log(t.Context()); first != 92 || last != 102 || err != nil {
		t.Errorf("from %d to %d, %v", first, last, err)
	}
	n.token = ""
	if _, _, err := n.Log(t.Context()); err == nil {
		t.Error("no figures, and no error")
	}
}

// answerFigures answers as a node does, to whoever has the key.
func answerFigures(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		answer := "HTTP/1.0 401 Unauthorized\r\n\r\n"
		for lines := bufio.NewScanner(conn); lines.Scan() && lines.Text() != ""; {
			if lines.Text() == "Authorization: Bearer secret" {
				answer = "HTTP/1.0 200 OK\r\nDate: now\r\n\r\n# TYPE stateraft_log_entries gauge\nstateraft_log_entries 11\nstateraft_log_last_index 1.02e+02\n"
			}
		}
		fmt.Fprint(conn, answer)
		conn.Close()
	}
}
