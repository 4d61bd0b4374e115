package node

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/faultfs"
)

// onDisk returns a node whose process is a shell script, on a disk that can be
// hurt if asked for. $1 is its data directory.
func onDisk(t *testing.T, name, script string, disk bool) *Node {
	t.Helper()
	dir := t.TempDir()
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	n := &Node{
		Name: name, dir: filepath.Join(dir, name), log: log, ended: make(chan string, 1),
		binary: "sh", args: []string{"-c", script, "sh", filepath.Join(dir, name)},
	}
	if err := os.Mkdir(n.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if disk {
		if err := CanHurtDisks(); err != nil {
			t.Skip(err)
		}
		if err := n.mount(Config{Disks: true}); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		n.Kill()
		if err := unmount([]*Node{n}); err != nil {
			t.Error(err)
		}
		log.Close()
	})
	return n
}

// await starts the node and waits until it has logged a text.
func await(t *testing.T, n *Node, text string) {
	t.Helper()
	mark := n.LogMark()
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := n.WaitLog(ctx, mark, text); err != nil {
		t.Fatal(err)
	}
}

func content(t *testing.T, n *Node, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(n.Data(), name))
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(b))
}

// Ensure that power lost takes what a process did not sync, and no more.
func TestLosePower(t *testing.T) {
	n := onDisk(t, "n1", `cd "$1" && echo safe >safe && sync safe . && echo lost >lost && echo done && exec sleep 60`, true)
	await(t, n, "done\n")
	if _, err := LosePower([]*Node{n}, faultfs.All, rand.New(rand.NewPCG(1, 1))); err != nil {
		t.Fatal(err)
	}
	if n.Running() {
		t.Error("the process runs")
	}
	if got := content(t, n, "safe"); got != "safe" {
		t.Errorf("what was synced is %q", got)
	}
	if got := content(t, n, "lost"); !strings.Contains(got, "no such file") {
		t.Errorf("what was not synced is %q", got)
	}
}

// Ensure data are exchanged, copied, put back and removed with either kind of
// disk, and never below a process.
func TestDataOfNodes(t *testing.T) {
	for _, disk := range []bool{false, true} {
		t.Run(fmt.Sprint("disk that can be hurt: ", disk), func(t *testing.T) {
			script := `echo $0 >>"$1/name"; echo started; exec sleep 60`
			a, b := onDisk(t, "a", strings.ReplaceAll(script, "$0", "a"), disk), onDisk(t, "b", strings.ReplaceAll(script, "$0", "b"), disk)
			nodes := []*Node{a, b}
			for _, n := range nodes {
				await(t, n, "started\n")
				if SwapData(a, b) == nil || n.Wipe() == nil || n.CopyData(t.TempDir()+"/x") == nil || n.PutBack("") == nil {
					t.Error("data were changed below a process")
				}
			}
			KillAll(nodes)
			old := filepath.Join(filepath.Dir(a.Data()), "old")
			must(t, a.CopyData(old), SwapData(a, b))
			if got := content(t, a, "name") + content(t, b, "name"); got != "ba" {
				t.Errorf("after an exchange they hold %q", got)
			}
			await(t, b, "started\n")
			b.Kill()
			if got := content(t, b, "name"); got != "a\nb" {
				t.Errorf("after a start with the other's data: %q", got)
			}
			must(t, a.PutBack(old))
			if got := content(t, a, "name"); got != "a" {
				t.Errorf("after it was put back: %q", got)
			}
			must(t, a.Wipe())
			if got := content(t, a, "name"); !strings.Contains(got, "no such file") {
				t.Errorf("after it was wiped: %q", got)
			}
		})
	}
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// Ensure an end that is to come is told of by its code, and by nothing else.
func TestStartToEnd(t *testing.T) {
	ended := make(chan string, 1)
	n := onDisk(t, "n1", "exit 7", false)
	n.ended = ended
	code, err := n.StartToEnd()
	if code != 7 || err != nil {
		t.Errorf("ended with code %d and error %v, want 7", code, err)
	}
	select {
	case told := <-ended:
		t.Errorf("told that %s", told)
	default:
	}
}

func TestCrash(t *testing.T) {
	n := onDisk(t, "n1", "exit 0", false)
	fmt.Fprintln(n.log, "panic: earlier")
	mark := n.LogMark()
	fmt.Fprintln(n.log, `{"msg":"panic: in a message"}`)
	if line, err := n.Crash(mark); line != "" || err != nil {
		t.Errorf("crashed with %q, error %v", line, err)
	}
	fmt.Fprintln(n.log, "panic: it did\n\ngoroutine 1")
	if line, err := n.Crash(mark); line != "panic: it did" || err != nil {
		t.Errorf("crashed with %q, error %v", line, err)
	}
	fmt.Fprintln(n.log, "fatal error: runtime: out of memory")
	if line, err := n.Crash(mark, "panic: it", "fatal error: runtime"); line != "" || err != nil {
		t.Errorf("crashed with %q, which is borne, error %v", line, err)
	}
	if line, err := n.Crash(mark, "panic: it"); line != "fatal error: runtime: out of memory" || err != nil {
		t.Errorf("crashed with %q, error %v", line, err)
	}
}
