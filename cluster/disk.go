package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/stateraft/stateraft/cluster/logstore"
)

const (
	// snapshotsKept is how many snapshots stay on the disk: the newest, and the
	// one before, which with the log's trailing entries makes up for damage of
	// it.
	snapshotsKept = 2

	// snapshotDir is the library's name for its directory in the one it is
	// given.
	snapshotDir = "snapshots"
)

// openDisk opens the log and the snapshots. If they are damaged beyond what
// they can make up for together, a node that belongs to a cluster starts anew.
func (n *Node) openDisk() (*snapshots, error) {
	snapshots, err := n.openLog()
	if !errors.Is(err, logstore.ErrCorrupt) {
		return snapshots, err
	}
	if !n.hasOthers() {
		return nil, fmt.Errorf("%w (no other node is known to hold its data: if others have joined this one, start it with --join and without --bootstrap-expect; else restore a backup)", err)
	}
	if n.store != nil {
		if err := n.store.Close(); err != nil {
			return nil, err
		}
	}
	if err := n.startAnew(err); err != nil {
		return nil, fmt.Errorf("start anew: %w", err)
	}
	return n.openLog()
}

// hasOthers reports whether the node is or was of a cluster whose other nodes
// hold its data. One that founded its cluster alone learns from its configuration
// that others have joined: it only joins.
func (n *Node) hasOthers() bool {
	if len(n.id.clusterID()) == 0 {
		return n.id.replaces() != replaced{}
	}
	return len(n.id.promised()) != 1 || n.cfg.BootstrapExpect == 0
}

func (n *Node) openLog() (*snapshots, error) {
	snapshots, err := openSnapshots(n.ctx, &n.cfg)
	if err != nil {
		return nil, err
	}
	n.store, err = logstore.Open(logstore.Config{
		Dir: n.cfg.DataDir, Logger: n.cfg.Logger, Fatal: n.fatal, BeforeWrite: n.cfg.Tuning.BeforeWrite,
		Existing: len(n.id.clusterID()) > 0, // which a node gets with its log open
	})
	if err != nil {
		return nil, fmt.Errorf("open the raft log: %w", err)
	}
	snapshots.watch = n.store.Watch
	if err := n.alignLog(snapshots); err != nil {
		return nil, err
	}
	return snapshots, n.undoFounding()
}

// alignLog makes the log continue the newest snapshot that is whole, which is
// the one that Raft will start from: see [logstore.Store.Align]. If none is, Raft
// starts from the log, which must hold all from the first entry.
//
// A damaged snapshot may reach over the log and be the only one to hold what this
// node has acknowledged. To forget that is safe: it was sent by a leader, after
// its last entry was committed without this node. With an empty log it is not: the
// snapshot then stands also for entries that this node helped to commit.
func (n *Node) alignLog(snapshots *snapshots) error {
	if err := snapshots.describable(); err != nil {
		return err
	}
	list, err := snapshots.List()
	if err != nil {
		return fmt.Errorf("list the snapshots: %w", err)
	}
	for _, meta := range list {
		err := snapshots.check(meta.ID)
		if stopped := context.Cause(n.ctx); stopped != nil {
			return stopped // nothing was read
		}
		if isPassing(err) {
			return err
		}
		if err != nil {
			n.cfg.Logger.Error("a snapshot is damaged", "id", meta.ID, "err", err)
			snapshots.leftOut = append(snapshots.leftOut, meta.ID)
			continue
		}
		if err := n.store.Align(meta.Index, meta.Term); err != nil {
			return err
		}
		n.logEnd = meta.Index
		n.clock.startsFrom(meta.Index, meta.Term)
		return nil
	}
	damaged, err := snapshots.ids()
	if err != nil {
		return fmt.Errorf("list the snapshots: %w", err)
	}
	first, err := n.store.FirstIndex()
	if err != nil || first == 1 || first == 0 && len(damaged) == 0 {
		return err
	}
	return fmt.Errorf("%w: no snapshot is whole, and the log does not begin at its beginning", logstore.ErrCorrupt)
}

// passing are the errors that say nothing of what is on the disk. Others may be
// what a file system says of damage.
var passing = []syscall.Errno{
	syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EACCES, syscall.EPERM, syscall.EINTR, syscall.EAGAIN,
	syscall.ETIMEDOUT, syscall.ESTALE, syscall.ENXIO, syscall.ENODEV,
}

// isPassing reports whether reading failed for such a reason: the node must not
// give its disk up for it, but be started again.
func isPassing(err error) bool {
	no := syscall.Errno(0)
	return errors.As(err, &no) && slices.Contains(passing, no)
}

// startAnew gives up a damaged disk. What it had acknowledged cannot be told
// any more, so the node must not go on as the voter that it was: it takes a new
// identity, which remembers the old one, and joins as a new node in the old
// one's place, with all data from the others. Nothing is deleted: the files
// move into a directory of their own, the log last: if this is cut short, no new
// log begins beside damaged snapshots.
func (n *Node) startAnew(damage error) error {
	aside := filepath.Join(n.cfg.DataDir, fmt.Sprintf("damaged-%d", n.cfg.Tuning.Wall().UnixNano()))
	n.cfg.Logger.Error("the disk is damaged; this node starts anew and takes its data from the others",
		"err", damage, "node", n.id.nodeID(), "moved", aside)
	if err := n.id.renew(); err != nil {
		return err
	}
	if err := os.Mkdir(aside, 0o700); err != nil {
		return err
	}
	for _, name := range []string{snapshotDir, clockNoteFile, logstore.FileName} {
		err := os.Rename(filepath.Join(n.cfg.DataDir, name), filepath.Join(aside, name))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	n.clock = newClock(n.cfg.Tuning.Wall, n.cfg.Tuning.Monotonic)
	return syncDir(n.cfg.DataDir)
}
