package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/stateraft/stateraft/cluster/logstore"
)

// startAnew gives up a damaged log. What it had acknowledged cannot be told any
// more, so the node must not go on as the voter that it was: it takes a new
// identity, which remembers the old one, and joins as a new node in the old
// one's place, with all data from the others. Nothing is deleted: the files
// move into a directory of their own.
func (n *Node) startAnew(damage error) error {
	aside := filepath.Join(n.cfg.DataDir, fmt.Sprintf("damaged-%d", n.cfg.Tuning.Wall().UnixNano()))
	n.cfg.Logger.Error("the log is damaged; this node starts anew and takes its data from the others",
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
	n.clock = newClock(n.cfg.Tuning.Wall)
	return syncDir(n.cfg.DataDir)
}

// openLog opens the log, a new one in the place of one that is damaged.
func (n *Node) openLog() error {
	store, err := n.openStore()
	if errors.Is(err, logstore.ErrCorrupt) && len(n.id.clusterID())+len(n.id.replaces().ClusterID) > 0 {
		if err := n.startAnew(err); err != nil {
			return fmt.Errorf("start anew: %w", err)
		}
		store, err = n.openStore()
	}
	if err != nil {
		return fmt.Errorf("open the raft log: %w", err)
	}
	n.store = store
	return nil
}

func (n *Node) openStore() (*logstore.Store, error) {
	return logstore.Open(logstore.Config{
		Dir: n.cfg.DataDir, Logger: n.cfg.Logger, Fatal: n.fatal, BeforeWrite: n.cfg.Tuning.BeforeWrite,
	})
}
