package cluster

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"github.com/stateraft/stateraft/cluster/clusterpb"
	"github.com/stateraft/stateraft/fsm"
	"github.com/stateraft/stateraft/fsm/fsmpb"
)

// A simNode is one machine: a disk and a Raft that are simulated, and, while
// the process runs, a real Node over them that has no ports.
type simNode struct {
	w    *simWorld
	id   int
	raft *simRaft
	real *Node // nil: the process is down

	wall   time.Duration // how wrong the machine's wall clock is
	note   *simNote      // see clockNote; nil: the machine has booted since
	tie    int64         // see wallNote
	noted  bool          // there was a note, once
	image  raft.FSMSnapshot
	imaged simMark // what image covers
}

// simNote is cluster time as a process noted it, and when.
type simNote struct {
	cluster int64
	term    uint64
	index   uint64
	at      time.Time
}

var simCluster = []byte("sim")

// start begins a process on what the disk holds.
func (s *simNode) start() {
	w := s.w
	s.raft.simMemory = newSimMemory(len(w.nodes))
	s.raft.commit, s.raft.applied = s.raft.covers.index, s.raft.covers.index
	n := &Node{
		id:    &identity{record: identityRecord{NodeID: simName(s.id), ClusterID: "73696d"}},
		state: fsm.New(), started: make(chan struct{}), store: w.store, metrics: w.metrics, logEnd: s.raft.last(),
		gossip: &gossip{own: simName(s.id)}, leadership: newLeadership(), lostLeader: make(signal, 1), noteDue: make(signal, 1), raft: s.raft,
		cfg: Config{
			Name: simName(s.id), Logger: slog.New(slog.DiscardHandler),
			OnFatal:  func(err error) { w.fatal(s.id, err) },
			Settings: Settings{HistoryEvents: w.historyEvents, HistoryBytes: 1 << 20, FloorRetention: time.Hour},
			Tuning:   Tuning{WatchTick: time.Hour, MaxVersion: fsm.MinVersion, Wall: func() time.Time { return time.Now().Add(s.wall) }},
		},
	}
	n.cfg.setDefaults()
	n.ctx, n.cancel = context.WithCancelCause(context.Background())
	n.transport = &transport{raft: &raftTransport{notices: newCommitNotices(nil)}}
	n.rafts = n.transport.raft
	n.clock = newClock(n.cfg.Tuning.Wall, n.cfg.Tuning.Monotonic)
	n.fsm = &raftFSM{state: n.state, before: func() {}, onApply: n.onApply, onRestore: n.onRestore, fatal: n.fatal, logger: n.cfg.Logger}
	n.call = func(ctx context.Context, addr string, req *clusterpb.Request) (*clusterpb.Response, error) {
		_, name := splitAt(addr)
		return w.call(ctx, s.id, simID(name), req)
	}
	n.readLog = s.raft.read
	n.committer = newCommitter(s.raft, n.clock, n.metrics)
	n.leaders = &leaders{raft: s.raft}
	n.leaders.refresh()
	n.reads = newReader(n.ctx, s.readIndex(n), func(context.Context, time.Duration) { w.pass(s.id, simReadFailed, 0) }, &n.fsm.applied)
	n.proposer = &proposer{
		deliver: s.deliver(n), open: n.openSession, full: n.diskFull, stats: n.metrics, ctx: n.ctx, inFlight: map[uint64]*flight{},
		pause: func(context.Context, time.Duration) { w.pass(s.id, simPause, 0) },
	}
	s.real = n
	n.clock.tied(s.tie)
	if s.note != nil {
		n.clock.recall(s.note.cluster+time.Since(s.note.at).Microseconds(), s.note.term, s.note.index)
	}
	n.clock.startsFrom(s.raft.covers.index, s.raft.covers.term)
	s.restore()
	close(n.started)
	n.goLoop(n.leadership.drain)
	n.goLoop(n.runLeadership)
}

// deliver is the node's own, with a gate ahead and one behind, so that the
// batches of a node move one at a time.
func (s *simNode) deliver(n *Node) func(context.Context, *fsmpb.Batch, time.Duration) (*fsmpb.BatchAnswer, error) {
	return func(ctx context.Context, b *fsmpb.Batch, timeout time.Duration) (*fsmpb.BatchAnswer, error) {
		defer s.w.pass(s.id, simSent, b.Sequence)
		if !s.w.pass(s.id, simSend, b.Sequence) {
			return nil, errNotLeader // no leader was known for the time of an attempt
		}
		return n.deliver(ctx, b, timeout)
	}
}

func (s *simNode) readIndex(n *Node) func(context.Context) (uint64, error) {
	return func(ctx context.Context) (uint64, error) {
		s.w.roundMoves(s.id, simJoined)
		index, err := n.readIndex(ctx)
		if err == nil {
			s.w.roundMoves(s.id, simAsking)
		}
		return index, err
	}
}

// restore has the state machine begin with the snapshot, if there is one.
func (s *simNode) restore() {
	if s.raft.snapshot == nil {
		return
	}
	err := s.real.fsm.Restore(io.NopCloser(bytes.NewReader(s.raft.snapshot)))
	s.w.check.that(err == nil, "node %d cannot restore its snapshot: %v", s.id, err)
	s.w.check.state(s)
	s.image = nil
}

// freeze begins a snapshot, and persist ends it, when more has been applied.
func (s *simNode) freeze() {
	image, err := s.real.fsm.Snapshot()
	s.w.check.that(err == nil, "node %d cannot freeze its state: %v", s.id, err)
	s.image, s.imaged = image, simMark{s.raft.applied, s.raft.termAt(s.raft.applied)}
}

func (s *simNode) persist(keep uint64) {
	var sink simSink
	err := s.image.Persist(&sink)
	s.w.check.that(err == nil, "node %d cannot write its snapshot: %v", s.id, err)
	s.image = nil
	if s.imaged.index > s.raft.covers.index {
		s.raft.snapshot, s.raft.covers = sink.Bytes(), s.imaged
		s.raft.compact(keep)
	}
}

type simSink struct{ bytes.Buffer }

func (*simSink) ID() string    { return "sim" }
func (*simSink) Close() error  { return nil }
func (*simSink) Cancel() error { return nil }

// stop ends the process without a word, and with reboot the machine. What it
// was asked and has not answered nobody will know.
func (s *simNode) stop(reboot bool) {
	s.noteTerm()
	n, gone := s.real, make(chan struct{})
	s.real, s.image = nil, nil
	s.w.abandon(s.id)
	n.cancel(ErrClosed)
	s.w.settle()
	close(n.committer.down)
	n.leaders.end()
	for _, index := range slices.Sorted(maps.Keys(s.raft.futures)) {
		s.raft.resolve(index, nil, raft.ErrRaftShutdown)
	}
	go func() {
		n.proposer.close()
		n.wg.Wait()
		close(gone)
	}()
	s.w.settle()
	select {
	case <-gone:
	default:
		s.w.check.that(false, "node %d does not stop", s.id)
	}
	if reboot {
		s.w.check.booted = true
		s.note = nil
	}
}

// noteTerm is noteClock, too, which notes another term at once. What is in the
// log and not yet applied it does not know of.
func (s *simNode) noteTerm() {
	if term, _ := s.real.clock.restsOn(); s.note == nil || s.note.term != term {
		s.writeNotes()
	}
	if s.note == nil || s.note.term < s.raft.lastCommand() {
		s.w.check.booted = true
	}
}

// writeNotes is noteClock.
func (s *simNode) writeNotes() bool {
	now, live := s.real.clock.now()
	if live {
		term, index := s.real.clock.restsOn()
		s.note, s.tie = &simNote{now, term, index, time.Now()}, now-s.real.clock.wall().UnixMicro()
	}
	return live
}
