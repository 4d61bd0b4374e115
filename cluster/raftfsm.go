package cluster

import (
	"bufio"
	"errors"
	"io"
	"log/slog"
	"time"

	"github.com/hashicorp/raft"

	"github.com/stateraft/stateraft/fsm"
)

// raftFSM is what Raft sees of the state, and the only caller of its Apply and Restore.
// Raft calls it from one goroutine.
type raftFSM struct {
	state     *fsm.State
	applied   watermark // index of the last entry applied; waits end here
	revision  watermark
	before    func()                        // ahead of each batch of entries
	onApply   func(last, stamped *raft.Log) // after each batch of entries; stamped is its last command, nil: it has none; must not block
	onRestore func(index uint64)            // after a snapshot took the state's place; must not block
	fatal     func(error)                   // the node must stop
	logger    *slog.Logger

	broken error // once set, nothing more is applied
}

// outcome is what raft's future carries for one entry of ours.
type outcome struct {
	fsm.Applied
	index, term uint64
	err         error // the node is stopping; the entry was not applied here
}

var (
	_ raft.BatchingFSM        = (*raftFSM)(nil)
	_ raft.ConfigurationStore = (*raftFSM)(nil)
)

// Apply executes one entry.
func (f *raftFSM) Apply(l *raft.Log) any { return f.ApplyBatch([]*raft.Log{l})[0] }

// ApplyBatch executes entries and wakes waiters once for all of them.
func (f *raftFSM) ApplyBatch(logs []*raft.Log) []any {
	f.before()
	outcomes := make([]any, len(logs))
	var stamped *raft.Log
	for i, l := range logs {
		outcomes[i] = f.applyOne(l)
		if l.Type == raft.LogCommand {
			stamped = l
		}
	}
	if f.broken == nil {
		f.onApply(logs[len(logs)-1], stamped) // first: what is applied counts as seen by all
	}
	f.announce()
	return outcomes
}

func (f *raftFSM) applyOne(l *raft.Log) outcome {
	if f.broken != nil {
		return outcome{err: f.broken}
	}
	if l.Type == raft.LogConfiguration {
		f.members(l.Index, raft.DecodeConfiguration(l.Data))
		return outcome{}
	}
	res, err := f.state.Apply(l.Index, l.Data)
	if err != nil {
		f.fail(err)
		return outcome{err: err}
	}
	return outcome{Applied: res, index: l.Index, term: l.Term}
}

// fail stops the node: an entry that it cannot apply is never skipped.
func (f *raftFSM) fail(err error) {
	f.broken = err
	f.fatal(err)
}

// StoreConfiguration makes configuration entries move the applied index too.
func (f *raftFSM) StoreConfiguration(index uint64, c raft.Configuration) {
	if f.broken == nil {
		f.members(index, c)
		f.announce()
	}
}

func (f *raftFSM) members(index uint64, c raft.Configuration) {
	ids := make([]string, len(c.Servers))
	for i, s := range c.Servers {
		ids[i] = string(s.ID)
	}
	f.state.Members(index, ids)
}

// announce tells who waits where the state stands.
func (f *raftFSM) announce() {
	at := f.state.Point()
	f.revision.advance(at.Revision)
	f.applied.advance(at.Index)
}

// Snapshot freezes the state; raft writes it out beside further entries.
func (f *raftFSM) Snapshot() (raft.FSMSnapshot, error) {
	if f.broken != nil {
		return nil, f.broken
	}
	start := time.Now()
	im := f.state.Freeze()
	f.logger.Debug("state frozen", "index", im.Index(), "took", time.Since(start))
	return frozen{im}, nil
}

// Restore replaces the state by a snapshot's, which must not be older: see
// [rpcGate.withoutKnown]. On an error the state is as it was.
func (f *raftFSM) Restore(r io.ReadCloser) error {
	defer r.Close()
	err := f.state.Restore(bufio.NewReaderSize(r, 1<<20))
	if newer := (*fsm.VersionError)(nil); errors.As(err, &newer) || errors.Is(err, fsm.ErrOlder) {
		f.fail(err)
	}
	if err != nil {
		return err
	}
	f.onRestore(f.state.Point().Index)
	f.announce()
	return nil
}

// frozen is one snapshot on its way to the disk.
type frozen struct{ image *fsm.Image }

func (f frozen) Persist(sink raft.SnapshotSink) error {
	w := bufio.NewWriterSize(sink, 1<<20)
	err := f.image.Save(w)
	if err == nil {
		err = w.Flush()
	}
	if err != nil {
		return errors.Join(err, sink.Cancel())
	}
	return sink.Close()
}

func (frozen) Release() {}
