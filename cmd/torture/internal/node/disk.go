package node

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/stateraft/stateraft/client"
	"github.com/stateraft/stateraft/cmd/torture/internal/faultfs"
)

// CanHurtDisks returns nil if nodes can have disks that can be hurt, else why
// not.
func CanHurtDisks() error { return faultfs.Possible() }

// mount lays the data directory on a disk that can be hurt, if a fault needs
// one.
func (n *Node) mount(cfg Config) (err error) {
	if cfg.Disks {
		n.Disk, err = faultfs.Mount(n.dir+".disk", n.dir)
	}
	return err
}

// unmount takes the disks off. No process of a cluster may run: in its copy of
// the mounts it holds those of all nodes.
func unmount(nodes []*Node) error {
	var errs []error
	for _, n := range nodes {
		if n.Disk != nil {
			errs = append(errs, n.Disk.Close())
		}
	}
	return errors.Join(errs...)
}

// Data is the directory where the tester finds the node's files: it must not
// use a mount that it serves itself.
func (n *Node) Data() string {
	if n.Disk != nil {
		return n.Disk.Tree()
	}
	return n.dir
}

// Wipe removes the data of a node that does not run. From then on it can only
// join: a cluster that exists is not founded again.
func (n *Node) Wipe() error {
	if n.Running() {
		return fmt.Errorf("%s runs", n.Name)
	}
	n.founding = nil
	if n.Disk != nil {
		return n.Disk.Empty()
	}
	return os.RemoveAll(n.dir)
}

// LosePower ends processes at the same moment, and takes what their disks had
// not made durable, or some of it. It says how much that was.
func LosePower(nodes []*Node, loss faultfs.Loss, rng *rand.Rand) (string, error) {
	KillAll(nodes)
	sectors, names := 0, 0
	var errs []error
	for _, n := range nodes {
		s, c, err := n.Disk.Crash(loss, rng)
		sectors, names, errs = sectors+s, names+c, append(errs, err)
	}
	return fmt.Sprintf("%v lost, of %d sectors and %d names", loss, sectors, names), errors.Join(errs...)
}

// KillAll ends processes at the same moment with SIGKILL, and waits.
func KillAll(nodes []*Node) {
	var wg sync.WaitGroup
	for _, n := range nodes {
		wg.Go(n.Kill)
	}
	wg.Wait()
}

// KillSoon sends SIGKILL and does not wait, as who is in the middle of an
// operation of the process's disk must not.
func (n *Node) KillSoon() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.proc != nil {
		n.proc.ours = true
		n.proc.cmd.Process.Kill() // an error says that it has ended
	}
}

// Flip flips one bit of a file of the node, which may run. The path is that
// within its data directory.
func (n *Node) Flip(name string, offset int64, bit uint) error {
	if n.Disk != nil {
		return n.Disk.Flip(name, offset, bit)
	}
	return faultfs.FlipBit(filepath.Join(n.dir, name), offset, bit)
}

// ErrRuns says that files cannot be changed below a process.
var ErrRuns = errors.New("runs")

// SwapData exchanges the data of two nodes that do not run.
func SwapData(a, b *Node) error {
	for _, n := range []*Node{a, b} {
		if n.Running() {
			return fmt.Errorf("%s %w", n.Name, ErrRuns)
		}
		n.Settle()
	}
	aside := a.Data() + ".aside"
	for _, r := range [][2]string{{a.Data(), aside}, {b.Data(), a.Data()}, {aside, b.Data()}} {
		if err := os.Rename(r[0], r[1]); err != nil {
			return err
		}
	}
	return nil
}

// CopyData copies the data of a node that does not run to a directory that
// does not exist yet.
func (n *Node) CopyData(to string) error {
	if n.Running() {
		return fmt.Errorf("%s %w", n.Name, ErrRuns)
	}
	return os.CopyFS(to, os.DirFS(n.Data()))
}

// PutBack replaces the data of a node that does not run by a copy.
func (n *Node) PutBack(from string) error {
	if n.Running() {
		return fmt.Errorf("%s %w", n.Name, ErrRuns)
	}
	n.Settle()
	if err := os.RemoveAll(n.Data()); err != nil {
		return err
	}
	return os.Rename(from, n.Data())
}

// Settle makes all durable that the node, which must not run, has written: what
// is changed below the disk then does not come back.
func (n *Node) Settle() {
	if n.Disk != nil {
		n.Disk.Settle()
	}
}

// ErrNotEnded says that a process went on where it must end.
var ErrNotEnded = errors.New("did not end")

// StartToEnd starts the process, which must not run and is to end by itself,
// waits for that, and returns its exit code.
func (n *Node) StartToEnd() (code int, err error) {
	n.mu.Lock()
	err = n.start(true)
	p := n.proc
	n.mu.Unlock()
	if err != nil {
		return 0, err
	}
	if !p.endsWithin(n.endLimit()) {
		return 0, fmt.Errorf("%s %w", n.Name, ErrNotEnded)
	}
	return p.cmd.ProcessState.ExitCode(), nil
}

// Crash returns the line of the node's log, behind a mark, in which Go's runtime
// says why the process crashed; empty: it did not, or with a line that begins as
// one of those that are borne.
func (n *Node) Crash(mark int64, borne ...string) (string, error) {
	text, err := os.ReadFile(n.log.Name())
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text[min(mark, int64(len(text))):])) {
		begins := func(with string) bool { return strings.HasPrefix(line, with) }
		if slices.ContainsFunc(crashes, begins) && !slices.ContainsFunc(borne, begins) {
			return strings.TrimSpace(line), nil
		}
	}
	return "", nil
}

// crashes are what the runtime's lines begin with.
var crashes = []string{"panic: ", "fatal error: ", "unexpected fault address", "SIGBUS: "}

// A key that nobody writes, and a version that it has not.
const (
	diskWorkflow = "torture-disk"
	diskKey      = "k"
)

// TakesSets returns nil if a set at this node is decided, and not refused, such as
// for lack of room. It changes nothing: its condition does not hold.
func (n *Node) TakesSets(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	_, err := n.admin.State.SetWithVersion(ctx, diskWorkflow, diskKey, 1, 1)
	if err == nil || errors.Is(err, client.ErrVersionConflict) { // nil: by a server that a checker must find
		return nil
	}
	return fmt.Errorf("a set at %s: %w", n.Name, err)
}

// TakesDeletesOnly returns nil if a set at this node is refused for lack of
// room, and a delete is not. They change nothing.
func (n *Node) TakesDeletesOnly(ctx context.Context) error {
	_, err := n.admin.State.SetWithVersion(ctx, diskWorkflow, diskKey, 1, 1)
	if !errors.Is(err, client.ErrDiskFull) {
		return fmt.Errorf("a set at %s is not refused for lack of room: %w", n.Name, err)
	}
	if _, err := n.admin.State.Delete(ctx, diskWorkflow, diskKey); err != nil {
		return fmt.Errorf("a delete at %s: %w", n.Name, err)
	}
	return nil
}
