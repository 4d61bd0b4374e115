package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/stateraft/stateraft/client"
)

const (
	// askTimeout bounds a question about a node's state.
	askTimeout = time.Second
	// endTimeout is how long a process may take to end: the bound that SIGTERM
	// promises, and a little.
	endTimeout = 11 * time.Second
)

// ErrEndedBadly says that a process did not end as SIGTERM promises.
var ErrEndedBadly = errors.New("did not end well on SIGTERM")

// Node is one process and its data directory. It keeps its addresses over
// restarts.
type Node struct {
	Name  string
	Index int
	URL   string

	dir      string
	command  []string
	founding []string // flags of a node that may found the cluster
	log      *os.File
	ended    chan<- string
	admin    *client.Client

	mu   sync.Mutex // guards everything below
	proc *process   // nil: never started
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
	args := append(append([]string{}, n.command[1:]...), n.founding...)
	cmd := exec.Command(n.command[0], args...)
	cmd.Stdout, cmd.Stderr = n.log, n.log
	cmd.SysProcAttr = childAttributes()
	fmt.Fprintf(n.log, "--- started %s\n", time.Now().Format(time.RFC3339Nano))
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", n.Name, err)
	}
	p := &process{cmd: cmd, done: make(chan struct{})}
	n.proc = p
	go n.wait(p)
	return nil
}

// wait takes note of the process's end.
func (n *Node) wait(p *process) {
	p.cmd.Wait() // its outcome stays in ProcessState
	n.mu.Lock()
	ours := p.ours
	n.mu.Unlock()
	if !ours {
		select {
		case n.ended <- fmt.Sprintf("%s ended by itself: %s", n.Name, p.cmd.ProcessState):
		default:
		}
	}
	close(p.done)
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
// 0 within 10 s.
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
	select {
	case <-p.done:
	case <-time.After(endTimeout):
		p.cmd.Process.Kill()
		<-p.done
	}
	return p
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

// Wipe removes the data of a node that does not run. From then on it can only
// join: a cluster that exists is not founded again.
func (n *Node) Wipe() error {
	if n.Running() {
		return fmt.Errorf("%s runs", n.Name)
	}
	n.founding = nil
	return os.RemoveAll(n.dir)
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

// RemoveMember asks this node to take another out of the cluster.
func (n *Node) RemoveMember(ctx context.Context, name string) error {
	return n.admin.Cluster.RemoveMember(ctx, name)
}
