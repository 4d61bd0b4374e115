package cluster_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stateraft/stateraft/cluster"
	"github.com/stateraft/stateraft/cluster/clustertest"
	"github.com/stateraft/stateraft/fsm"
	"github.com/stateraft/stateraft/fsm/fsmpb"
)

const keptNamespace = "k\x00"

var asIs = cluster.Restore{Keep: keptNamespace, Patience: clustertest.Patience}

func takeBackup(t testing.TB, n *clustertest.Node) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), clustertest.Patience)
	defer cancel()
	if err := n.ReadIndex(ctx); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := n.Backup(keptNamespace).Save(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func restore(n *clustertest.Node, r io.Reader, how cluster.Restore) (cluster.Restored, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*clustertest.Patience)
	defer cancel()
	return n.Restore(ctx, r, how)
}

// fill writes that many keys, a hundred a command. Its writers are so few that
// none is refused however slow the machine is.
func fill(t testing.TB, n *clustertest.Node, keys, size int) {
	t.Helper()
	const writers, each = 4, 100
	value := []byte(`"` + strings.Repeat("v", size-2) + `"`)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for c := w; c < keys/each; c += writers {
				cmd := &fsmpb.Command{Namespace: fmt.Sprint("w\x00default\x00", c%100)}
				for i := range each {
					cmd.Ops = append(cmd.Ops, &fsmpb.Op{Kind: fsmpb.Op_SET, Key: fmt.Sprintf("key-%07d", c*each+i), Value: value})
				}
				ctx, cancel := context.WithTimeout(context.Background(), clustertest.Patience)
				if _, err := n.Propose(ctx, cmd); err != nil {
					t.Error(err)
				}
				cancel()
			}
		})
	}
	wg.Wait()
}

// A backup taken under load gives another cluster what there was at its
// revision; nothing but force replaces what is there.
func TestRestoreElsewhere(t *testing.T) {
	t.Parallel()
	source, target := clustertest.New(t, 3, nil), clustertest.New(t, 3, nil)
	from, to := source.Follower(), target.Follower()
	from.Set(t, "w", "before", "1")
	from.Set(t, "w", "before", "2")
	from.Set(t, keptNamespace, "secret", "3")
	before := to.Set(t, keptNamespace, "own", "4").Revision
	ctx, stop := context.WithCancel(context.Background())
	var load sync.WaitGroup
	for w := range 4 {
		load.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				_, _ = from.Propose(ctx, clustertest.Set("load", fmt.Sprint(w, i%100), fmt.Sprint(i)))
			}
		})
	}
	halt := func() { stop(); load.Wait() }
	defer halt()
	data := takeBackup(t, from)
	halt()

	done, err := restore(to, bytes.NewReader(data), asIs)
	if err != nil {
		t.Fatal(err)
	}
	if least := max(before, done.BackupInfo.Revision) + fsm.RestoreGap; done.At < least || done.At >= least+1<<40 {
		t.Errorf("revision is %d, want %d or up to 2^40 more", done.At, least)
	}
	target.WaitEqual()
	for _, n := range target.Nodes {
		e, _, _ := n.State().Get("w", "before")
		if string(e.Value) != "2" || e.Version != 2 {
			t.Errorf("%s holds %s at version %d", n.Config.Name, e.Value, e.Version)
		}
		if n.Get(t, keptNamespace, "own") != "4" || n.Get(t, keptNamespace, "secret") != "" {
			t.Errorf("%s has other keys in the kept namespace", n.Config.Name)
		}
	}
	if err := to.WaitRevision(context.Background(), before); !errors.Is(err, cluster.ErrRevisionUnknown) {
		t.Errorf("a revision from before the restore: %v", err)
	}
	if err := to.WaitRevision(context.Background(), done.At); err != nil {
		t.Errorf("the revision of the restore: %v", err)
	}
	if _, err := restore(to, bytes.NewReader(data), asIs); !errors.Is(err, cluster.ErrRefused) {
		t.Errorf("into a cluster with keys: %v", err)
	}
	to.Set(t, "other", "k", "5")
	force := asIs
	force.Force = true
	if _, err := restore(target.Leader(), bytes.NewReader(data), force); err != nil {
		t.Errorf("forced: %v", err)
	}
	if got := to.Get(t, "other", "k"); got != "" {
		t.Errorf("a key from before is still there: %s", got)
	}
	target.WaitEqual()
	to.Restart(t)
	target.WaitReady(to)
	target.WaitEqual()
}

// Two clusters that begin with the same backup know each other's revisions for
// what they are.
func TestRestoreTwins(t *testing.T) {
	t.Parallel()
	source := clustertest.New(t, 1, nil).Nodes[0]
	source.Set(t, "w", "k", "1")
	data := takeBackup(t, source)
	var twins []*clustertest.Node
	var at []uint64
	for range 2 {
		n := clustertest.New(t, 1, nil).Nodes[0]
		done, err := restore(n, bytes.NewReader(data), asIs)
		if err != nil {
			t.Fatal(err)
		}
		twins, at = append(twins, n), append(at, done.At)
	}
	if max(at[0], at[1])-min(at[0], at[1]) < 100 { // one run in 10^9 or so
		t.Errorf("the revisions are %d", at)
	}
	for i, n := range twins {
		own, other := n.Set(t, "w", "k", "2").Revision, at[1-i]
		ctx := within(t, clustertest.Patience)
		if err := n.WaitRevision(ctx, own); err != nil {
			t.Errorf("revision %d of its own: %v", own, err)
		}
		if err := n.WaitRevision(ctx, other); !errors.Is(err, cluster.ErrRevisionUnknown) {
			t.Errorf("at revision %d that of the other, %d: %v", own, other, err)
		}
	}
}

// A backup without keys is of its revision like any other.
func TestRestoreEmpty(t *testing.T) {
	t.Parallel()
	n := clustertest.New(t, 1, nil).Nodes[0]
	revision := n.Set(t, keptNamespace, "own", "1").Revision
	done, err := restore(n, bytes.NewReader(takeBackup(t, n)), asIs)
	if err != nil || done.BackupInfo.Revision != revision {
		t.Errorf("restored %+v, %v; want revision %d", done.BackupInfo, err, revision)
	}
}

// A damaged file, one that is cut, and a sender that breaks off change nothing
// and leave nothing in the data directory.
func TestRestoreDamaged(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 1, nil)
	n := c.Nodes[0]
	n.Set(t, "w", "k", "1")
	data := takeBackup(t, n)
	force := asIs
	force.Force = true
	broken := errors.New("broken off")
	revision := n.State().Point().Revision
	for i := range data {
		flipped := bytes.Clone(data)
		flipped[i] ^= 0x10
		for _, bad := range [][]byte{data[:i], flipped} {
			if _, err := restore(n, bytes.NewReader(bad), force); !errors.Is(err, cluster.ErrDamaged) {
				t.Fatalf("byte %d: %v", i, err)
			}
		}
	}
	if _, err := restore(n, io.MultiReader(bytes.NewReader(data[:50]), readerFunc(func([]byte) (int, error) { return 0, broken })), force); !errors.Is(err, broken) {
		t.Errorf("broken off: %v", err)
	}
	if got := n.State().Point().Revision; got != revision || n.Get(t, "w", "k") != "1" {
		t.Errorf("revision went from %d to %d", revision, got)
	}
	files, err := os.ReadDir(n.Config.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if strings.HasPrefix(f.Name(), "restore-") {
			t.Errorf("%s is left", f.Name())
		}
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// While a restore is under way nothing of it is seen. The leader's death in the
// middle costs it time, or the whole of it, but never a part.
func TestRestoreLeaderDies(t *testing.T) {
	t.Parallel()
	source := clustertest.New(t, 1, nil)
	fill(t, source.Nodes[0], 2400, 4<<10) // 9 MiB: 10 steps
	data := takeBackup(t, source.Nodes[0])
	keys := source.Nodes[0].State().Stats().Keys
	c := clustertest.New(t, 3, clustertest.Steady) // but for the death
	leader := c.Leader()
	n := c.Others(leader)[0]
	leader.Set(t, keptNamespace, "own", "1")

	result := make(chan error, 1)
	go func() {
		_, err := restore(n, bytes.NewReader(data), asIs)
		result <- err
	}()
	clustertest.Eventually(t, "a part of the restore", func() error {
		switch st := n.State().Stats(); {
		case st.StagedBytes == 0:
			return errors.New("nothing is staged")
		case st.Keys != 1:
			t.Errorf("%d keys in the middle of a restore, want 1", st.Keys)
		}
		return nil
	})
	leader.Kill()
	err := <-result
	t.Logf("the restore over the leader's death: %v", err)
	if err != nil {
		again := asIs
		again.Force = errors.Is(err, cluster.ErrOutcomeUnknown) // it may have happened
		if got := n.State().Stats().Keys; got != 1 && !again.Force {
			t.Errorf("%d keys after a restore that failed (%v)", got, err)
		}
		if _, err := restore(n, bytes.NewReader(data), again); err != nil {
			t.Fatalf("the restore, repeated: %v", err)
		}
	}
	leader.Start(t)
	c.WaitReady(leader)
	c.WaitEqual()
	for _, n := range c.Nodes {
		if st := n.State().Stats(); st.Keys != keys+1 || st.StagedBytes != 0 {
			t.Errorf("%s has %d keys and %d bytes staged, want %d", n.Config.Name, st.Keys, st.StagedBytes, keys+1)
		}
	}
}

// A node that is away during a restore gets it with the log or in a snapshot,
// also one taken in the middle.
func TestRestoreReachesLaggards(t *testing.T) {
	t.Parallel()
	source := clustertest.New(t, 1, nil)
	fill(t, source.Nodes[0], 2400, 4<<10) // 10 steps
	data := takeBackup(t, source.Nodes[0])
	c := clustertest.New(t, 3, func(cfg *cluster.Config) {
		clustertest.Steady(cfg) // the snapshots keep a slow machine busy
		cfg.Tuning.SnapshotThreshold, cfg.Tuning.SnapshotInterval, cfg.Tuning.TrailingLogs = 4, 20*time.Millisecond, 1
	})
	away := c.Follower()
	clustertest.Eventually(t, "protocol version 2", func() error {
		if v := c.Leader().State().Version(); v < fsm.RestoreVersion {
			return fmt.Errorf("version %d", v)
		}
		return nil
	})
	away.Stop(t)
	if _, err := restore(c.Leader(), bytes.NewReader(data), asIs); err != nil {
		t.Fatal(err)
	}
	away.Start(t)
	c.WaitReady(away)
	c.WaitEqual()
}

// What a restore has brought that stands still is dropped everywhere, and the
// restore cannot go on.
func TestAbandonedRestore(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 3, func(cfg *cluster.Config) {
		cfg.Tuning.WatchTick, cfg.Tuning.RestoreIdle = testTick, testTick+50*time.Millisecond
	})
	dropped := func() error {
		for _, n := range c.Nodes {
			if id, _ := n.State().Staged(); id != nil {
				return fmt.Errorf("%s has it still", n.Config.Name)
			}
		}
		return nil
	}
	id := []byte("0123456789abcdef")
	step := func(s *fsmpb.Restore, want fsmpb.RestoreAnswer_Refusal) {
		clustertest.Eventually(t, s.Step.String(), func() error {
			a, err := c.Nodes[0].RestoreStep(within(t, clustertest.Patience), s)
			if err == nil && a.Refusal != want {
				t.Fatalf("%s: %v, want %v", s.Step, a.Refusal, want)
			}
			return err
		})
	}
	step(&fsmpb.Restore{Step: fsmpb.Restore_BEGIN, Id: id}, fsmpb.RestoreAnswer_NONE)
	clustertest.Eventually(t, "dropped", dropped)
	step(&fsmpb.Restore{Step: fsmpb.Restore_ADD, Id: id, Sequence: 1}, fsmpb.RestoreAnswer_OUT_OF_TURN)
	c.WaitEqual()
}

// A cluster with a node that does not know restores refuses them.
func TestRestoreNeedsVersion(t *testing.T) {
	c := clustertest.New(t, 1, func(cfg *cluster.Config) { cfg.Tuning.MaxVersion = 1 })
	data := takeBackup(t, c.Nodes[0])
	soon := asIs
	soon.Patience = time.Second
	if _, err := restore(c.Nodes[0], bytes.NewReader(data), soon); !errors.Is(err, cluster.ErrRefused) || !strings.Contains(err.Error(), "protocol version 2") {
		t.Errorf("got %v", err)
	}
}

// BenchmarkRestore tells what a backup and a restore of a million keys of 256
// bytes take.
func BenchmarkRestore(b *testing.B) {
	const keys = 1_000_000
	source := clustertest.New(b, 1, nil)
	fill(b, source.Nodes[0], keys, 256)
	data := takeBackup(b, source.Nodes[0])
	source.Nodes[0].Stop(b)
	c := clustertest.New(b, 3, nil)
	force := asIs
	force.Force = true
	for b.Loop() {
		if _, err := c.Follower().Restore(context.Background(), bytes.NewReader(data), force); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(data))/(1<<20), "MiB")
}
