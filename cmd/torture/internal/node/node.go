package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/stateraft/stateraft/client"
	"github.com/stateraft/stateraft/cmd/torture/internal/faultfs"
)

const (
	// askTimeout bounds a question about a node's state.
	askTimeout = time.Second
	// endTimeout is how long a process may take to end, without slack: the bound
	// that SIGTERM promises, and a little.
	endTimeout = 11 * time.Second
)

// ErrNotRefused says that a build too old for its cluster did not refuse to run,
// as it should.
var ErrNotRefused = errors.New("a build that is too old was not refused")

// ErrEndedBadly says that a process did not end as SIGTERM promises.
var ErrEndedBadly = errors.New("did not end well on SIGTERM")

// Node is one process and its data directory. It keeps its addresses over
// restarts.
type Node struct {
	Name  string
	Index int
	URL   string
	Disk  *faultfs.Disk // nil: one that cannot be hurt

	dir      string
	wrapper  []string // what the binary is run by; empty: by nothing
	args     []string // of the binary
	founding []string // flags of a node that may found the cluster
	hooks    string   // directory of its test hooks; empty: it has none
	env      []string // beyond the tester's own
	token    string   // API key of the tester; empty: none is asked for
	log      *os.File
	ended    chan<- string
	slack    int // see Config
	admin    *client.Client

	mu     sync.Mutex // guards everything below
	binary string     // that the next start runs
	proc   *process   // nil: never started
	tended bool       // see Tend
}

type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	ours bool          // its end was asked for
}

// Start starts the process, which must not run.
func (n *Node) Start() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.start(false)
}

// start starts the process. Ours: it is to end by itself. It requires n.mu.
func (n *Node) start(ours bool) error {
	args := n.commandOf(n.binary)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = n.log, n.log
	cmd.Env = append(os.Environ(), n.env...)
	cmd.SysProcAttr = childAttributes()
	fmt.Fprintf(n.log, "--- started %s\n", time.Now().Format(time.RFC3339Nano))
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", n.Name, err)
	}
	p := &process{cmd: cmd, done: make(chan struct{}), ours: ours}
	n.proc = p
	go n.wait(p)
	return nil
}

// commandOf is the node's command line with a binary.
func (n *Node) commandOf(binary string) []string {
	return slices.Concat(n.wrapper, []string{binary}, n.args, n.founding)
}

// wait takes note of the process's end. Whether it is started again is decided
// together with that: whoever kills the node then, kills the new process.
func (n *Node) wait(p *process) {
	defer close(p.done)
	p.cmd.Wait() // its outcome stays in ProcessState
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case p.ours:
	case !n.tended:
		n.tell(fmt.Sprintf("%s ended by itself: %s", n.Name, p.cmd.ProcessState))
	default:
		if err := n.start(false); err != nil {
			n.tell(err.Error())
		}
	}
}

// tell tells who listens, if there is room.
func (n *Node) tell(text string) {
	select {
	case n.ended <- text:
	default:
	}
}

// Tend says whether the process may end by itself, and is started again then,
// as a supervisor would.
func (n *Node) Tend(on bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.tended = on
}

// Signal sends a signal that does not end the process.
func (n *Node) Signal(sig syscall.Signal) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.proc == nil {
		return fmt.Errorf("%s does not run", n.Name)
	}
	return n.proc.cmd.Process.Signal(sig)
}

// Kill ends the process with SIGKILL, if it runs, and waits.
func (n *Node) Kill() { n.end(syscall.SIGKILL) }

// Terminate ends the process with SIGTERM, which it must follow with exit code
// 0 within 10 s, times the slack.
func (n *Node) Terminate() error {
	p := n.end(syscall.SIGTERM)
	switch {
	case p == nil:
		return fmt.Errorf("%s does not run", n.Name)
	case p.cmd.ProcessState.ExitCode() != 0:
		return fmt.Errorf("%s %w: %s", n.Name, ErrEndedBadly, p.cmd.ProcessState)
	}
	return nil
}

// end kills a process that does not follow the signal in time.
func (n *Node) end(sig syscall.Signal) *process {
	n.mu.Lock()
	p := n.proc
	if p == nil {
		n.mu.Unlock()
		return nil
	}
	p.ours = true
	p.cmd.Process.Signal(sig) // an error says that it has ended
	n.mu.Unlock()
	if !p.endsWithin(n.endLimit()) {
		p.cmd.Process.Kill()
		<-p.done
	}
	return p
}

func (n *Node) endLimit() time.Duration { return endTimeout * time.Duration(max(n.slack, 1)) }

func (p *process) endsWithin(d time.Duration) bool {
	select {
	case <-p.done:
		return true
	case <-time.After(d):
		return false
	}
}

// Running reports whether the process runs.
func (n *Node) Running() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.proc == nil {
		return false
	}
	select {
	case <-n.proc.done:
		return false
	default:
		return true
	}
}

// Authorization is the header line, with its end, that a request to the node
// needs; empty: it asks for no API key.
func (n *Node) Authorization() string {
	if n.token == "" {
		return ""
	}
	return "Authorization: Bearer " + n.token + "\r\n"
}

// Status is the cluster as the node sees it.
func (n *Node) Status(ctx context.Context) (client.ClusterStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return n.admin.Cluster.Status(ctx)
}

// Ready returns nil if the node says that it can serve.
func (n *Node) Ready(ctx context.Context) error {
	if !n.Running() {
		return errors.New(n.Name + " does not run")
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if err := n.admin.Ready(ctx); err != nil {
		return fmt.Errorf("%s is not ready: %w", n.Name, err)
	}
	return nil
}

// TransferLeadership asks this node to see to it that another leads; empty:
// the best follower.
func (n *Node) TransferLeadership(ctx context.Context, to string) error {
	return n.admin.Cluster.TransferLeadership(ctx, to)
}

// Removal returns what asks this node to take another out of the cluster, to be
// called until it returns nil. A member that is not found, after an attempt whose
// outcome is unknown, was removed by that.
func (n *Node) Removal(name string) func(context.Context) error {
	maybe := false
	return func(ctx context.Context) error {
		err := n.admin.Cluster.RemoveMember(ctx, name)
		if maybe && errors.Is(err, client.ErrNotFound) {
			return nil
		}
		maybe = maybe || errors.Is(err, client.ErrOutcomeUnknown)
		return err
	}
}

// Set asks this node to give a key a value.
func (n *Node) Set(ctx context.Context, workflow, key string, value any) error {
	_, err := n.admin.State.Set(ctx, workflow, key, value)
	return err
}

// SetAll asks this node to give keys a value, all at once.
func (n *Node) SetAll(ctx context.Context, workflow string, keys []string, value any) error {
	var ops []client.Op
	for _, key := range keys {
		ops = append(ops, client.SetOp(key, value))
	}
	_, err := n.admin.State.Atomic(ctx, workflow, ops)
	return err
}

// DeleteAll asks this node to delete keys, all at once.
func (n *Node) DeleteAll(ctx context.Context, workflow string, keys []string) error {
	var ops []client.Op
	for _, key := range keys {
		ops = append(ops, client.DeleteOp(key))
	}
	_, err := n.admin.State.Atomic(ctx, workflow, ops)
	return err
}

// SetOnce asks this node to give a key a value, if it has none.
func (n *Node) SetOnce(ctx context.Context, workflow, key string, value any) error {
	_, err := n.admin.State.Set(ctx, workflow, key, value, client.IfAbsent())
	if errors.Is(err, client.ErrVersionConflict) {
		return nil
	}
	return err
}
