package node

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// hook prepares the node's test hooks, if a fault needs any.
func (n *Node) hook(cfg Config) error {
	if !cfg.Clocks && len(cfg.Tuning) == 0 {
		return nil
	}
	n.hooks = n.dir + ".hooks"
	n.env = append(n.env, "STATERAFT_TEST_HOOKS="+n.hooks)
	if err := os.MkdirAll(n.hooks, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(n.hooks, "tuning"), []byte(strings.Join(cfg.Tuning, "\n")), 0o600)
}

// Clock is how wrong a node's clocks are.
type Clock struct {
	Wall time.Duration // added to the wall clock
	Rate float64       // of the wall clock and the monotonic one; 1: right, 0: they stand still
}

// RightClock is not wrong at all.
var RightClock = Clock{Rate: 1}

const (
	clockHeeded  = "the clocks are wrong now" // what a node logs then
	clockTimeout = 10 * time.Second
)

// SetClock sets the node's clocks, also over restarts, and returns when it has
// heeded it.
func (n *Node) SetClock(c Clock) error {
	path, mark := filepath.Join(n.hooks, "clock"), n.LogMark()
	text := fmt.Sprintf("wall %v\nrate %v\n", c.Wall, c.Rate)
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), clockTimeout)
	defer cancel()
	return n.WaitLog(ctx, mark, clockHeeded)
}

// Limit lowers a resource limit of the process, named as prlimit has it, and
// returns what lifts it again.
func (n *Node) Limit(resource string, soft uint64) (lift func() error, err error) {
	pid, err := n.pid()
	if err != nil {
		return nil, err
	}
	set := func(limit string) error {
		out, err := exec.Command("prlimit", "--pid", fmt.Sprint(pid), "--"+resource+"="+limit+":").CombinedOutput()
		if err != nil && syscall.Kill(pid, 0) == nil { // else there is no limit left to lift
			return fmt.Errorf("limit %s of %s to %s: %w: %s", resource, n.Name, limit, err, out)
		}
		return nil
	}
	hard, err := exec.Command("prlimit", "--pid", fmt.Sprint(pid), "--"+resource, "--noheadings", "--raw", "--output", "HARD").Output()
	if err != nil {
		return nil, fmt.Errorf("limits of %s: %w", n.Name, err)
	}
	return func() error { return set(strings.TrimSpace(string(hard))) }, set(fmt.Sprint(soft))
}

func (n *Node) pid() (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.proc == nil {
		return 0, fmt.Errorf("%s does not run", n.Name)
	}
	return n.proc.cmd.Process.Pid, nil
}

// LogMark is the present end of the node's log.
func (n *Node) LogMark() int64 {
	info, err := n.log.Stat()
	if err != nil {
		return 0
	}
	return info.Size()
}

// logPause is how often a log is looked at.
const logPause = time.Millisecond

// HasLogged reports whether the node's log has a text behind a mark.
func (n *Node) HasLogged(mark int64, text string) bool {
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // one look
	return n.WaitLog(ctx, mark, text) == nil
}

// WaitLog returns once the node's log has a text behind a mark, or ctx ends.
func (n *Node) WaitLog(ctx context.Context, mark int64, text string) error {
	f, err := os.Open(n.log.Name())
	if err != nil {
		return err
	}
	defer f.Close()
	var seen []byte // what a text that is not whole yet may have begun in
	buf := make([]byte, 64<<10)
	return until(ctx, logPause, func() error {
		for {
			k, _ := f.ReadAt(buf, mark)
			if k == 0 {
				return fmt.Errorf("%s has not logged %q", n.Name, text)
			}
			mark += int64(k)
			seen = append(seen, buf[:k]...)
			if bytes.Contains(seen, []byte(text)) {
				return nil
			}
			seen = seen[max(0, len(seen)-len(text)):]
		}
	})
}
