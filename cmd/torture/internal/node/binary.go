package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	// readyTimeout is how long a node may take to be ready after its start,
	// without slack: as long as the longest fault of the network lasts, and then
	// some.
	readyTimeout = 20 * time.Second
	readyPause   = 20 * time.Millisecond
	// mostSaid bounds what is kept of a process's last words.
	mostSaid = 4 << 10
)

// Build is what a binary says of itself.
type Build struct {
	Version  string
	Commit   string
	Protocol struct{ Min, Max uint32 }
}

// Describe asks a binary.
func Describe(binary string) (Build, error) {
	var b Build
	out, err := exec.Command(binary, "version", "--output", "json").Output()
	if err == nil {
		err = json.Unmarshal(out, &b)
	}
	if err != nil {
		return b, fmt.Errorf("%s does not tell its version: %w", binary, err)
	}
	return b, nil
}

// BuildCommit builds the server as a commit of this repository has it, from a
// copy of that commit's files, and returns the binary's path in dir, where one
// built before is found again. The work tree is left alone.
func BuildCommit(ctx context.Context, commit, dir string, stderr io.Writer) (string, error) {
	out, err := exec.CommandContext(ctx, "git", "rev-parse", "--verify", "--quiet", commit+"^{commit}").Output()
	if err != nil {
		return "", fmt.Errorf("%q is neither a file nor a commit of this repository: %w", commit, err)
	}
	hash := strings.TrimSpace(string(out))
	binary, err := filepath.Abs(filepath.Join(dir, "stateraft-"+hash))
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(binary); err == nil {
		return binary, nil
	}
	source, err := os.MkdirTemp(dir, "source-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(source)
	if err := extract(ctx, hash, source, stderr); err != nil {
		return "", fmt.Errorf("take the files of %s: %w", commit, err)
	}
	ldflags := fmt.Sprintf("-X main.version=%s -X main.commit=%s", hash[:7], hash)
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-trimpath", "-ldflags", ldflags, "-o", binary, "./cmd/stateraft")
	cmd.Dir, cmd.Stderr = source, stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("build %s: %w", commit, err)
	}
	return binary, nil
}

// extract puts the files of a commit into a directory.
func extract(ctx context.Context, commit, into string, stderr io.Writer) error {
	root, err := exec.CommandContext(ctx, "git", "rev-parse", "--show-toplevel").Output()
	if err != nil {
		return err
	}
	archive := filepath.Join(into, "source.tar")
	for _, args := range [][]string{
		{"git", "-C", strings.TrimSpace(string(root)), "archive", "--output", archive, commit},
		{"tar", "-x", "-f", archive, "-C", into},
	} {
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		cmd.Stderr = stderr
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%s: %w", args[0], err)
		}
	}
	return nil
}

// Step is a node's process ended by SIGTERM and one of some binary started.
type Step struct {
	Node     string
	From, To string // binaries
	Led      bool   // the node led when it was told to end
	Begin    time.Time
	Ended    time.Time
	Ready    time.Time
}

// ErrNotReady says that a node was not ready in time after its start.
var ErrNotReady = errors.New("is not ready")

// Replace ends the node by SIGTERM, does something in between, starts it with
// the binary, and waits until it says that it is ready, as whoever upgrades a
// cluster would. A step that succeeds is added to Steps.
func (c *Cluster) Replace(ctx context.Context, n *Node, binary string, between func() error) error {
	leader, _ := c.Leader(ctx) // none is known: nil
	s := Step{Node: n.Name, From: n.runs(), To: binary, Led: leader == n, Begin: time.Now()}
	if err := n.Terminate(); err != nil {
		return errors.Join(err, n.Start())
	}
	s.Ended = time.Now()
	wrong := between()
	n.use(binary)
	if err := n.Start(); err != nil {
		return errors.Join(wrong, err)
	}
	limit := readyTimeout * time.Duration(max(n.slack, 1))
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := until(ctx, readyPause, func() error { return n.Ready(ctx) }); err != nil {
		return errors.Join(wrong, fmt.Errorf("%s %w %v after its start: %w", n.Name, ErrNotReady, limit, err))
	}
	s.Ready = time.Now()
	c.stepsMu.Lock()
	defer c.stepsMu.Unlock()
	c.steps = append(c.steps, s)
	return wrong
}

// Steps returns what Replace has done.
func (c *Cluster) Steps() []Step {
	c.stepsMu.Lock()
	defer c.stepsMu.Unlock()
	return append([]Step(nil), c.steps...)
}

// use makes the next start run another binary.
func (n *Node) use(binary string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.binary = binary
}

func (n *Node) runs() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.binary
}

// Try runs the node's command, which must not run, with another binary until
// that ends by itself or ctx ends, and returns its exit code and its last words.
func (n *Node) Try(ctx context.Context, binary string) (code int, said string, err error) {
	n.mu.Lock()
	args := n.commandOf(binary)
	n.mu.Unlock()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.SysProcAttr = childAttributes()
	fmt.Fprintf(n.log, "--- tried %s\n", binary)
	var words tail
	cmd.Stdout, cmd.Stderr = n.log, io.MultiWriter(n.log, &words)
	err = cmd.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && ctx.Err() == nil {
		err = nil
	}
	return cmd.ProcessState.ExitCode(), words.line(), errors.Join(err, ctx.Err())
}

// tail keeps the end of what is written to it.
type tail []byte

func (t *tail) Write(p []byte) (int, error) {
	*t = append(*t, p...)
	*t = (*t)[max(0, len(*t)-mostSaid):]
	return len(p), nil
}

// line returns the last line.
func (t *tail) line() string {
	lines := strings.Split(strings.TrimSpace(string(*t)), "\n")
	return lines[len(lines)-1]
}
