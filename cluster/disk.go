package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft"

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
	if !errors.Is(err, logstore.ErrCorrupt) || !n.hasOthers() {
		return snapshots, err
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
// hold its data.
func (n *Node) hasOthers() bool {
	return len(n.id.clusterID()) > 0 && len(n.id.promised()) != 1 || n.id.replaces() != replaced{}
}

func (n *Node) openLog() (*snapshots, error) {
	snapshots, err := openSnapshots(n.ctx, &n.cfg)
	if err != nil {
		return nil, err
	}
	n.store, err = logstore.Open(logstore.Config{
		Dir: n.cfg.DataDir, Logger: n.cfg.Logger, Fatal: n.fatal, BeforeWrite: n.cfg.Tuning.BeforeWrite,
	})
	if err != nil {
		return nil, fmt.Errorf("open the raft log: %w", err)
	}
	if err := n.alignLog(snapshots); err != nil {
		return nil, err
	}
	return snapshots, n.undoFounding()
}

// alignLog makes the log continue the newest snapshot that is whole, which is
// the one that Raft will start from: see [logstore.Store.Align]. What newer ones
// held that are damaged must be in the log.
func (n *Node) alignLog(snapshots *snapshots) error {
	newest, err := snapshots.newestIndex()
	if err != nil {
		return err
	}
	whole, err := n.newestWhole(snapshots)
	if err != nil {
		return err
	}
	if whole != nil {
		if err := n.store.Align(whole.Index, whole.Term); err != nil || whole.Index == newest {
			return err
		}
	}
	first, err := n.store.FirstIndex()
	if err != nil {
		return err
	}
	if whole == nil && first > 1 {
		return fmt.Errorf("%w: no snapshot is whole, and the log does not begin at its beginning", logstore.ErrCorrupt)
	}
	last, err := n.store.LastIndex()
	if err == nil && last < newest {
		err = fmt.Errorf("%w: a snapshot up to entry %d is not whole, and the log ends with %d", logstore.ErrCorrupt, newest, last)
	}
	return err
}

// newestWhole describes the newest snapshot that is whole; nil: there is none.
func (n *Node) newestWhole(snapshots *snapshots) (*raft.SnapshotMeta, error) {
	list, err := snapshots.List()
	if err != nil {
		return nil, fmt.Errorf("list the snapshots: %w", err)
	}
	for _, meta := range list {
		err := snapshots.check(meta.ID)
		if stopped := context.Cause(n.ctx); stopped != nil {
			return nil, stopped // nothing was read
		}
		if err == nil {
			return meta, nil
		}
		n.cfg.Logger.Error("a snapshot is damaged", "id", meta.ID, "err", err)
	}
	return nil, nil
}

// startAnew gives up a damaged disk. What it had acknowledged cannot be told
// any more, so the node must not go on as the voter that it was: it takes a new
// identity, which remembers the old one, and joins as a new node in the old
// one's place, with all data from the others. Nothing is deleted: the files
// move into a directory of their own.
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
	for _, name := range []string{logstore.FileName, snapshotDir, clockNoteFile} {
		err := os.Rename(filepath.Join(n.cfg.DataDir, name), filepath.Join(aside, name))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	n.clock = newClock(n.cfg.Tuning.Wall, n.cfg.Tuning.Monotonic)
	return syncDir(n.cfg.DataDir)
}
