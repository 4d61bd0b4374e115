package cluster_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stateraft/stateraft/cluster"
	"github.com/stateraft/stateraft/cluster/clustertest"
	"github.com/stateraft/stateraft/cluster/logstore"
)

// A disk is what a node's log is written to, as far as a test can break it.
type disk struct {
	err  atomic.Pointer[error]
	hang atomic.Pointer[chan struct{}]
	slow atomic.Pointer[time.Duration]
}

func (d *disk) beforeWrite() error {
	if c := d.hang.Load(); c != nil {
		<-*c
	}
	if t := d.slow.Load(); t != nil {
		time.Sleep(*t)
	}
	if err := d.err.Load(); err != nil {
		return *err
	}
	return nil
}

// Ensure a leader whose disk hangs or fails ends, that another leads within 10
// seconds, and that nothing is lost.
func TestLeadersDiskFails(t *testing.T) {
	t.Parallel()
	const after = 10 * time.Second
	for _, tt := range []struct {
		name string
		fail func(d *disk) (undo func())
	}{
		{"hangs", func(d *disk) func() {
			c := make(chan struct{})
			d.hang.Store(&c)
			return func() { d.hang.Store(nil); close(c) }
		}},
		{"fails", func(d *disk) func() {
			err := errors.New("fsync: input/output error")
			d.err.Store(&err)
			return func() { d.err.Store(nil) }
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var took time.Duration
			for range 5 { // the machine may be busy
				if took = replaceLeader(t, tt.fail); took <= after {
					return
				}
				t.Logf("replaced after %v", took)
			}
			t.Errorf("a leader with a broken disk was replaced after %v, want %v at most", took, after)
		})
	}
}

// replaceLeader has the disk of a leader fail, in a cluster of its own, and
// returns how long it took until a write succeeded.
func replaceLeader(t *testing.T, fail func(d *disk) (undo func())) (took time.Duration) {
	t.Run("cluster", func(t *testing.T) {
		disks := make([]disk, 3)
		next := 0
		c := clustertest.New(t, 3, func(cfg *cluster.Config) {
			cfg.Tuning.BeforeWrite = disks[next].beforeWrite
			next++
		})
		c.Nodes[0].Set(t, "ns", "k", "1")
		old := c.Leader()
		lives := c.Others(old)[0]
		undo := fail(&disks[slices.Index(c.Nodes, old)])
		begin := time.Now()
		written := proposed(t, lives, clustertest.Patience, clustertest.Set("ns", "k", "2"))
		if err := awaitFatal(t, old); err == nil {
			t.Error("the node ends without an error")
		}
		undo() // only so that the process that all nodes share can go on
		old.Kill()
		if err := <-written; err != nil {
			t.Errorf("a write at a node that lives: %v", err)
		}
		took = time.Since(begin)
		old.Start(t)
		c.WaitReady(old)
		if got := old.Get(t, "ns", "k"); got != "2" {
			t.Errorf("k = %q, want 2", got)
		}
		c.WaitEqual()
	})
	return took
}

// Ensure a node whose disk was damaged while it was down finds that before it
// serves anything. A log that is damaged, or both snapshots, make it take its
// data from the others in a new member's place; one snapshot alone is made up
// for by the log.
func TestDamagedDiskHeals(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name      string
		snapshots int // that are damaged, the newest first; none: the log is
		damage    func(t *testing.T, path string)
		renewed   bool
	}{
		{"log", 0, damage, true},
		{"log of no bytes", 0, empty, true},
		{"newest snapshot", 1, damage, false},
		{"all snapshots", 2, damage, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := clustertest.New(t, 3, func(cfg *cluster.Config) {
				cfg.Tuning.SnapshotThreshold, cfg.Tuning.TrailingLogs = 20, 60
				cfg.Tuning.SnapshotInterval = 20 * time.Millisecond
			})
			n := c.Follower()
			oldID := n.ID()
			snapshots := snapshotTwice(t, c, n)
			n.Stop(t)
			damaged := []string{filepath.Join(n.Config.DataDir, "raft.db")}
			if tt.snapshots > 0 {
				damaged = nil
				for _, dir := range snapshots[2-tt.snapshots:] {
					damaged = append(damaged, filepath.Join(dir, "state.bin"))
				}
			}
			for _, path := range damaged {
				tt.damage(t, path)
			}
			n.Config.Join = nil
			for _, other := range c.Running() {
				n.Config.Join = append(n.Config.Join, other.GossipAddr())
			}
			n.Start(t)
			if renewed := n.ID() != oldID; renewed != tt.renewed {
				t.Fatalf("a new identity: %v, want %v", renewed, tt.renewed)
			}
			c.WaitReady(n)
			waitRole(t, c, n, "voter")
			if got := n.Get(t, "ns", "k42"); got != "42" {
				t.Errorf("k42 = %q, want 42", got)
			}
			c.WaitEqual()
			if members := c.Leader().Status(within(t, 5*time.Second)).Nodes; len(members) != 3 {
				t.Errorf("%d members, want 3", len(members))
			}
		})
	}
}

// Ensure a node that founded its cluster alone heals of damage as soon as it is
// told that it has others, and before gives nothing up.
func TestDamagedDiskOfAFounder(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		damage func(t *testing.T, path string)
	}{
		{"damaged", damage},
		{"empty", empty},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := clustertest.New(t, 1, nil)
			founder := c.Nodes[0]
			founder.Set(t, "ns", "k", "1")
			for range 2 {
				n := c.Add(nil)
				c.WaitReady(n)
				waitRole(t, c, n, "voter")
			}
			old := founder.ID()
			founder.Stop(t)
			tt.damage(t, filepath.Join(founder.Config.DataDir, "raft.db"))

			err := founder.TryStart()
			if !errors.Is(err, logstore.ErrCorrupt) || !strings.Contains(err.Error(), "start it with --join") {
				t.Fatalf("as a node that may be alone it starts with %v, want %v and what to do", err, logstore.ErrCorrupt)
			}
			if moved, _ := filepath.Glob(filepath.Join(founder.Config.DataDir, "damaged-*")); len(moved) > 0 {
				t.Errorf("it moved its data to %q", moved)
			}

			founder.Config.BootstrapExpect = 0
			for _, n := range c.Running() {
				founder.Config.Join = append(founder.Config.Join, n.GossipAddr())
			}
			founder.Start(t)
			if founder.ID() == old {
				t.Error("it is still the node that it was")
			}
			c.WaitReady(founder)
			waitRole(t, c, founder, "voter")
			if got := founder.Get(t, "ns", "k"); got != "1" {
				t.Errorf("k = %q, want 1", got)
			}
		})
	}
}

// Ensure a node whose only snapshot is damaged starts from a log that is
// complete, also without others, and replaces the snapshot.
func TestOnlySnapshotIsDamaged(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, file string
		at         func([]byte) int
	}{
		{"state", "state.bin", func(d []byte) int { return len(d) / 2 }},
		{"index", "meta.json", behind(`"Index":`)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := clustertest.New(t, 1, func(cfg *cluster.Config) {
				cfg.Tuning.SnapshotInterval, cfg.Tuning.SnapshotThreshold = time.Hour, 1000
			})
			n := c.Nodes[0]
			id := n.ID()
			n.Set(t, "ns", "covered", "1")
			if err := n.Raft().Snapshot().Error(); err != nil {
				t.Fatal(err)
			}
			n.Set(t, "ns", "behind", "1")
			damaged := snapshotsOf(t, n, 1)[0]
			n.Stop(t)
			flip(t, filepath.Join(damaged, tt.file), tt.at)
			for _, start := range []string{"from the log", "from the new snapshot"} {
				n.Start(t)
				c.WaitReady(n)
				for _, key := range []string{"covered", "behind"} {
					if got := n.Get(t, "ns", key); got != "1" || n.ID() != id {
						t.Errorf("%s: %s = %q at %s, want 1 at %s", start, key, got, n.ID(), id)
					}
				}
				clustertest.Eventually(t, "another snapshot in its place", func() error {
					if found, _ := filepath.Glob(filepath.Join(n.Config.DataDir, "snapshots/*")); len(found) != 1 || found[0] == damaged {
						return fmt.Errorf("%q, and %s is damaged", found, damaged)
					}
					return nil
				})
				n.Stop(t)
			}
		})
	}
}

// Ensure a node whose disk is damaged is there for others only once it is the
// node that it will be.
func TestDamagedDiskIsNotGreeted(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 3, nil)
	n := c.Follower()
	n.Set(t, "ns", "k", "1")
	n.Stop(t)
	damage(t, filepath.Join(n.Config.DataDir, "raft.db"))
	looked := false
	n.Config.Tuning.Wall = func() time.Time { // asked when the node gives its disk up, among others
		if moved, _ := filepath.Glob(filepath.Join(n.Config.DataDir, "damaged-*")); len(moved) == 0 {
			looked = true
			if conn, err := net.Dial("tcp", n.Config.RaftAddr); err == nil {
				conn.Close()
				t.Error("the node listens before it has given its disk up")
			}
		}
		return time.Now()
	}
	n.Start(t)
	if !looked {
		t.Error("the node did not give its disk up")
	}
}

// snapshotTwice writes k0 to k159, waiting for every snapshot that is due, and
// returns the directories of the last two, oldest first. Their indexes have three
// digits, and no more than 40 entries lie between them.
func snapshotTwice(t *testing.T, c *clustertest.Cluster, n *clustertest.Node) []string {
	t.Helper()
	var found []string
	for i := range 160 {
		c.Nodes[i%3].Set(t, "ns", fmt.Sprint("k", i), fmt.Sprint(i))
		if i >= 59 && i%10 == 9 {
			found = snapshotsOf(t, n, 2)
		}
	}
	return found
}

// damage flips a bit in every page of a file: a single one could hit a page of
// the log that is not in use.
func damage(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := 100; at < len(data); at += os.Getpagesize() {
		data[at] ^= 4
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// empty leaves nothing of a file but its name.
func empty(t *testing.T, path string) {
	t.Helper()
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
}
