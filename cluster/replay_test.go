package cluster_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/proto"

	"github.com/stateraft/stateraft/cluster"
	"github.com/stateraft/stateraft/cluster/clustertest"
	"github.com/stateraft/stateraft/cluster/logstore"
	"github.com/stateraft/stateraft/fsm"
	"github.com/stateraft/stateraft/fsm/fsmpb"
)

// A backup taken under load is, byte for byte, that of the log replayed up to
// its revision; the hash at the end is the replayed log's too; and a cluster
// that it is restored into holds its keys but those that end soon.
func TestBackupIsOfItsLog(t *testing.T) {
	t.Parallel()
	source := clustertest.New(t, 3, func(c *cluster.Config) { c.Tuning.SnapshotThreshold = math.MaxUint64 })
	from := source.Follower()
	var backups []*fsm.Backup
	var files [][]byte
	stop := everything(t, from)
	defer stop()
	for range 10 {
		if err := from.WaitChange(within(t, clustertest.Patience), from.State().Stats().Revision+50); err != nil {
			t.Fatal(err)
		}
		backups = append(backups, from.Backup(""))
	}
	for _, b := range backups {
		files = append(files, saved(t, b)) // late: the state has gone on
	}
	stop()
	source.WaitEqual()
	last := from.State().Stats()
	from.Stop(t)

	// Several entries may have the revision of a backup: a new leader's first one
	// changes no key, but the instants at which keys end.
	s, next, equal := fsm.New(), 0, make([]bool, len(backups))
	replay(t, from.Config.DataDir, last.Index, s, func() {
		revision := s.Stats().Revision
		for next < len(backups) && backups[next].Info().Revision < revision {
			next++
		}
		if next < len(backups) && !equal[next] && backups[next].Info().Revision == revision {
			info := backups[next].Info()
			equal[next] = bytes.Equal(saved(t, s.Backup(info.ClusterID, info.Created, "")), files[next])
		}
	})
	for i, b := range backups {
		if !equal[i] {
			t.Errorf("the backup of revision %d is not that of the log up to there", b.Info().Revision)
		}
	}
	if st := s.Stats(); st.Hash != last.Hash {
		t.Errorf("hash %x after the log, %x at the node", st.Hash, last.Hash)
	}

	target := clustertest.New(t, 1, nil).Nodes[0]
	data := files[len(files)-1]
	if _, err := restore(target, bytes.NewReader(data), asIs); err != nil {
		t.Fatal(err)
	}
	if got, want := lasting(t, saved(t, target.Backup(""))), lasting(t, data); !proto.Equal(got, want) {
		t.Errorf("%d keys are there, %d were saved, or they differ", len(got.Keys), len(want.Keys))
	}
}

// everything writes, deletes and lets end until stop is called.
func everything(t *testing.T, n *clustertest.Node) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var writers sync.WaitGroup
	for w := range 16 {
		writers.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				cmd := clustertest.Set(fmt.Sprint("w", i%7), fmt.Sprint("k", w, i%50), fmt.Sprint(i))
				switch op := cmd.Ops[0]; {
				case i%5 == 0:
					cmd.Ops[0] = &fsmpb.Op{Kind: fsmpb.Op_DELETE, Key: op.Key}
				case i%9 == 0:
					op.Ttl = int64(50 * time.Millisecond / time.Microsecond)
				case i%2 == 0:
					op.Ttl = int64(time.Hour / time.Microsecond)
				}
				_, _ = n.Propose(ctx, cmd)
			}
		})
	}
	return func() { cancel(); writers.Wait() }
}

func saved(t *testing.T, b *fsm.Backup) []byte {
	t.Helper()
	var file bytes.Buffer
	if err := b.Save(&file); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

// replay applies the log of a stopped node up to an index, and calls after
// behind each entry.
func replay(t *testing.T, dir string, last uint64, s *fsm.State, after func()) {
	t.Helper()
	log, err := logstore.Open(logstore.Config{Dir: dir, Logger: slog.New(slog.DiscardHandler), Fatal: func(error) {}})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	for i := uint64(1); i <= last; i++ {
		var l raft.Log
		if err := log.GetLog(i, &l); err != nil {
			t.Fatal(err)
		}
		if l.Type != raft.LogCommand {
			continue
		}
		if _, err := s.Apply(l.Index, l.Data); err != nil {
			t.Fatal(err)
		}
		after()
	}
}

// lasting returns a backup's keys that do not end within half an hour.
func lasting(t *testing.T, file []byte) *fsmpb.Image {
	t.Helper()
	r, err := fsm.NewBackupReader(bytes.NewReader(file), "")
	if err != nil {
		t.Fatal(err)
	}
	found := new(fsmpb.Image)
	for {
		keys, _, err := r.Next()
		if err == io.EOF {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range keys {
			if k.Deadline == 0 || k.Deadline > r.Info().Created.Add(30*time.Minute).UnixMicro() {
				found.Keys = append(found.Keys, k)
			}
		}
	}
}
