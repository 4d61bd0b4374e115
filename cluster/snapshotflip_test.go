package cluster_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stateraft/stateraft/cluster"
	"github.com/stateraft/stateraft/cluster/clustertest"
)

// snapshotsOf waits until the node has n snapshots, and too few entries behind
// the last one to take another, and returns their directories, oldest first.
func snapshotsOf(t *testing.T, node *clustertest.Node, n int) []string {
	t.Helper()
	var found []string
	clustertest.Eventually(t, fmt.Sprint(n, " snapshots"), func() error {
		end, covered := node.Raft().LastIndex(), snapshotEnd(t, node)
		if end-covered >= node.Config.Tuning.SnapshotThreshold {
			return fmt.Errorf("a snapshot up to entry %d of %d", covered, end)
		}
		found, _ = filepath.Glob(filepath.Join(node.Config.DataDir, "snapshots/*"))
		if len(found) != n {
			return fmt.Errorf("%q", found)
		}
		return nil
	})
	return found
}

// snapshotEnd returns the last entry that the node's newest snapshot covers.
func snapshotEnd(t *testing.T, node *clustertest.Node) uint64 {
	t.Helper()
	end, err := strconv.ParseUint(node.Raft().Stats()["last_snapshot_index"], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return end
}

// flip flips one bit of a file.
func flip(t *testing.T, path string, at func(data []byte) int) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[at(data)] ^= 1
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// behind finds the byte that follows text for the first time.
func behind(text string) func([]byte) int {
	return func(data []byte) int { return bytes.Index(data, []byte(text)) + len(text) }
}

// Ensure a bit that flips in a snapshot while the node runs is found before
// the snapshot is sent to another node or read at a restart, and that the node
// heals of it, also when nobody writes any more. That it is found wherever it is,
// TestFlippedSnapshots ensures.
func TestSnapshotDamagedWhileRunning(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		file   string
		at     func([]byte) int
		newest bool // of the two; else the one before
	}{
		{"state", "state.bin", func(d []byte) int { return len(d) / 2 }, true},
		{"the one before", "state.bin", func(d []byte) int { return len(d) / 2 }, false},
		{"index, which orders them", "meta.json", behind(`"Index":`), true},
		{"a vote", "meta.json", behind(`"Suffrage":`), true},
		{"a brace, and raft lists it no more", "meta.json", func([]byte) int { return 0 }, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := clustertest.New(t, 3, func(cfg *cluster.Config) {
				cfg.Tuning.SnapshotThreshold, cfg.Tuning.TrailingLogs = 20, 20
				cfg.Tuning.SnapshotInterval, cfg.Tuning.SnapshotScrub = 20*time.Millisecond, 200*time.Millisecond
			})
			leader := c.Leader()
			id, found := leader.ID(), snapshotTwice(t, c, leader)
			damaged := found[0]
			if tt.newest {
				damaged = found[1]
			}
			flip(t, filepath.Join(damaged, tt.file), tt.at)

			joiner := c.Add(nil) // needs a snapshot: the log does not reach back
			c.WaitReady(joiner)
			waitRole(t, c, joiner, "voter")
			c.WaitEqual()
			clustertest.Eventually(t, "another snapshot in its place", func() error {
				if _, err := os.Stat(damaged); !errors.Is(err, fs.ErrNotExist) {
					return fmt.Errorf("%s: %v", damaged, err)
				}
				return nil
			})

			leader.Restart(t)
			c.WaitReady(leader)
			if got := leader.Get(t, "ns", "k42"); got != "42" || leader.ID() != id {
				t.Errorf("after a restart: k42 = %q at %s, want 42 at %s", got, leader.ID(), id)
			}
			c.WaitEqual()
			for _, n := range c.Nodes {
				waitRole(t, c, n, "voter")
			}
		})
	}
}
