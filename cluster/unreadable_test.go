package cluster_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stateraft/stateraft/cluster"
	"github.com/stateraft/stateraft/cluster/clustertest"
)

// Ensure a node that cannot read its snapshots for a reason that may pass refuses
// to start, and does not give up its disk: the next start may read them.
func TestSnapshotsThatCannotBeRead(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 1, func(cfg *cluster.Config) {
		cfg.Tuning.SnapshotThreshold, cfg.Tuning.TrailingLogs = 20, 10
		cfg.Tuning.SnapshotInterval = 20 * time.Millisecond
	})
	n := c.Nodes[0]
	for range 100 {
		n.Set(t, "ns", "k", "1")
	}
	snapshotsOf(t, n, 2)
	id := n.ID()
	n.Stop(t)
	for _, file := range []string{"state.bin", "meta.json"} {
		snapshots, err := filepath.Glob(filepath.Join(n.Config.DataDir, "snapshots", "*", file))
		if err != nil || len(snapshots) == 0 {
			t.Fatalf("no snapshot: %v", err)
		}
		for _, path := range snapshots { // opening a socket fails for everybody, root too
			if err := errors.Join(os.Rename(path, path+".away"), syscall.Mknod(path, syscall.S_IFSOCK|0o600, 0)); err != nil {
				t.Fatal(err)
			}
		}
		if err := n.TryStart(); !errors.Is(err, syscall.ENXIO) {
			t.Fatalf("it starts with %v, want %v", err, syscall.ENXIO)
		}
		for _, path := range snapshots {
			if err := errors.Join(os.Remove(path), os.Rename(path+".away", path)); err != nil {
				t.Fatal(err)
			}
		}
	}
	n.Start(t)
	if n.ID() != id || n.Get(t, "ns", "k") != "1" {
		t.Errorf("the node is %s, which was %s, and its key %q", n.ID(), id, n.Get(t, "ns", "k"))
	}
}
