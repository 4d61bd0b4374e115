// Package cluster runs one node of a Stateraft cluster: Raft and its log,
// the way of writes to the leader, reads that are linearizable on any node,
// membership, and cluster time. It knows nothing of HTTP.
//
// A write enters at [Node.Propose]: the proposer batches it, the batch travels
// to the leader (rpc.go), the leader's committer puts it into the log, and the
// state machine (package fsm) executes it once, on every node. A read asks
// [Node.ReadIndex] first and then the local [Node.State].
package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/stateraft/stateraft/cluster/clusterpb"
	"github.com/stateraft/stateraft/cluster/logstore"
	"github.com/stateraft/stateraft/fsm"
	"github.com/stateraft/stateraft/fsm/fsmpb"
)

// Node is one node. Its methods may be called by any number of goroutines.
type Node struct {
	cfg   Config
	id    *identity
	state *fsm.State

	fsm        *raftFSM
	clock      *clusterClock
	transport  *transport
	call       func(ctx context.Context, addr string, req *clusterpb.Request) (*clusterpb.Response, error) // another node: transport.call
	rafts      *raftTransport
	store      *logstore.Store
	readLog    func(index uint64, l *raft.Log) error // store.GetLog
	snapshots  *snapshots
	raft       consensus
	gossip     *gossip
	committer  *committer
	proposer   *proposer
	reads      *reader
	leaders    *leaders
	leadership *leadership
	lostLeader signal // the connection to the leader ended, or another voter lost its own
	noteDue    signal // the clock rests on another term
	metrics    *metrics

	watched      watched     // what this node, as the leader, makes of its followers
	steppedAside time.Time   // when it last gave leadership up for one; of a duty of lead, which no two terms run at once
	handedOn     time.Time   // when it last tried to, because it drains; likewise
	offset       clockOffset // of its wall clock

	logEnd      uint64                   // last entry on the disk when the process started
	term        atomic.Pointer[leadTerm] // not nil: this node leads and may answer for it
	draining    atomic.Bool
	caughtUp    atomic.Bool // since the process started
	disks       disks
	fatalOnce   sync.Once
	restoring   sync.Mutex    // held by the one restore that this node is at
	changing    chan struct{} // holds an element while a change of the configuration or a raise of the version is under way
	handingOver chan struct{} // holds an element while leadership is handed over
	started     chan struct{} // closed when all parts are there
	ctx         context.Context
	cancel      context.CancelCauseFunc
	wg          sync.WaitGroup
	closeOnce   sync.Once
	closeErr    error
}

// Open starts a node. It returns once the node listens; whether it has a
// leader and may serve, [Node.Ready] tells.
func Open(cfg Config) (*Node, error) {
	cfg.setDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	id, err := openIdentity(cfg.DataDir)
	if err != nil {
		return nil, err
	}
	n := &Node{cfg: cfg, id: id, state: fsm.New(), started: make(chan struct{}), changing: make(chan struct{}, 1), handingOver: make(chan struct{}, 1)}
	n.ctx, n.cancel = context.WithCancelCause(context.Background())
	n.state.Speak(cfg.Tuning.MaxVersion)
	n.clock = newClock(cfg.Tuning.Wall, cfg.Tuning.Monotonic)
	n.leadership = newLeadership()
	n.lostLeader, n.noteDue = make(signal, 1), make(signal, 1)
	n.goLoop(n.leadership.drain)
	n.metrics = newMetrics(cfg.Metrics, n)
	n.fsm = &raftFSM{
		state: n.state, before: cfg.Tuning.BeforeApply, onApply: n.onApply, onRestore: n.onRestore, fatal: n.fatal,
		logger: cfg.Logger,
	}
	if err := n.open(); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	close(n.started)
	n.goLoop(n.runLeadership)
	n.goLoop(n.runMembership)
	n.goLoop(n.watchLeader)
	n.goLoop(n.noteClock)
	n.goLoop(n.catchUp)
	n.goLoop(n.boundLog)
	n.goLoop(n.scrubSnapshots)
	n.goLoop(n.measureOffset)
	return n, nil
}

func (n *Node) open() error {
	if v := n.id.preparedVersion(); v > n.cfg.Tuning.MaxVersion {
		return &fsm.VersionError{What: "the cluster", Need: v, Min: fsm.MinVersion, Max: n.cfg.Tuning.MaxVersion}
	}
	if err := n.id.setName(n.cfg.Name); err != nil {
		return err
	}
	n.recallClock()
	if err := n.openStorage(); err != nil {
		return err
	}
	if err := n.openTransport(); err != nil {
		return err
	}
	if err := n.openRaft(); err != nil {
		return err
	}
	n.committer = newCommitter(n.raft, n.clock, n.metrics)
	n.leaders = newLeaders(n.raft)
	n.reads = newReader(n.ctx, n.readIndex, n.leaders.pause, &n.fsm.applied)
	n.proposer = &proposer{
		deliver: n.deliver, open: n.openSession, pause: n.leaders.pause, full: n.diskFull, stats: n.metrics, ctx: n.ctx,
		inFlight: make(map[uint64]*flight),
	}
	return n.openGossip()
}

func (n *Node) openTransport() (err error) {
	n.transport, err = newTransport(transportConfig{
		listenAddr: n.cfg.RaftAddr,
		advertise:  n.cfg.AdvertiseRaft,
		tls:        n.cfg.TLS,
		hello: func() *clusterpb.Hello {
			return &clusterpb.Hello{ClusterId: n.id.clusterID(), NodeId: n.id.nodeID()}
		},
		handle: n.handle,
		logger: n.cfg.Logger,
		dial:   n.cfg.Tuning.Dial,
		accept: n.cfg.Tuning.Accept,

		beforeReplicate: n.cfg.Tuning.BeforeReplicate,
		onInstalled:     n.checkInstalled,
		onStamped:       n.clock.arrived,
		onDisconnect:    func(string) { n.lostLeader.signal() }, // whose it was is looked at there
	})
	if err != nil {
		return err
	}
	n.call = n.transport.call
	return nil
}

// openStorage comes before the node listens: damage of the disk makes it another
// node, and whoever has been greeted by the one that it was would go on talking
// to that.
func (n *Node) openStorage() (err error) {
	path := filepath.Join(n.cfg.DataDir, logstore.FileName)
	if _, err := os.Stat(path); len(n.id.clusterID()) > 0 && err != nil {
		return fmt.Errorf("the node belongs to a cluster and its log is gone (%w): remove the node from the cluster, empty the data directory and let it join anew", err)
	}
	if n.snapshots, err = n.openDisk(); err != nil {
		return err
	}
	last, err := n.store.LastIndex()
	n.logEnd = max(n.logEnd, last)
	return err
}

func (n *Node) openRaft() error {
	n.rafts = n.transport.raftTransport()
	r, err := newRaft(n.raftConfig(), n.fsm, n.store, n.snapshots, n.rafts)
	if err != nil {
		return err
	}
	n.raft, n.readLog = r, n.store.GetLog
	n.rafts.serve(r, n.store)
	return nil
}

// raftConfig starts from no default of the library, so that a new one changes
// nothing by itself: what is not named here is off. Pre-votes are on with it, and
// the restoring of committed logs is not, for the reason in package logstore.
func (n *Node) raftConfig() *raft.Config {
	t := n.cfg.Tuning
	return &raft.Config{
		ProtocolVersion:    raft.ProtocolVersionMax,
		HeartbeatTimeout:   t.Heartbeat,
		ElectionTimeout:    t.Election,
		LeaderLeaseTimeout: t.Lease,
		CommitTimeout:      t.CommitTimeout,
		MaxAppendEntries:   64,
		BatchApplyCh:       false, // entries are batched already, and ErrEnqueueTimeout stays unambiguous
		ShutdownOnRemove:   false, // a removed node says so until the operator stops it
		TrailingLogs:       t.TrailingLogs,
		SnapshotInterval:   t.SnapshotInterval,
		SnapshotThreshold:  t.SnapshotThreshold,
		LocalID:            raft.ServerID(n.id.nodeID()),
		Logger:             newRaftLogger(n.cfg.Logger),
		NotifyCh:           n.leadership.notify,
	}
}

func (n *Node) openGossip() (err error) {
	n.gossip, err = startGossip(gossipConfig{
		nodeID:    n.id.nodeID(),
		bind:      n.cfg.GossipAddr,
		advertise: n.cfg.AdvertiseGossip,
		key:       n.cfg.GossipKey,
		join:      n.cfg.Join,
		meta:      n.gossipMeta,
		logger:    n.cfg.Logger,
	})
	n.rafts.gossip.Store(n.gossip)
	return err
}

func (n *Node) goLoop(f func(context.Context)) { n.wg.Go(func() { f(n.ctx) }) }

// onApply is called by Raft's FSM goroutine after every batch of entries.
func (n *Node) onApply(last, stamped *raft.Log) {
	if stamped != nil {
		n.observe(stamped)
		n.clock.accountsFor(stamped.Index, stamped.Term)
	}
	n.clock.accountsFor(last.Index, last.Term)
	t := n.term.Load()
	if t == nil {
		return
	}
	t.applied.signal()
	if n.raft.LastIndex() == last.Index {
		n.transport.noteCommit(last.Index, last.Term) // no entry is on its way to carry the commit index
	}
}

// outage is the age from which an entry's own stamp, which has to be read for it,
// may tell more than the state's clock.
const outage = 100 * time.Millisecond

// observe has the clock take note of an entry that is applied.
func (n *Node) observe(l *raft.Log) {
	now, present := n.state.Clock(), n.clock.monotonic()
	stamp, at := now, present
	if came := n.clock.cameAt(l.Index, l.Term); present-came >= outage {
		own, err := fsm.Stamp(l.Data)
		if err == nil && own+(present-came).Microseconds() > now {
			stamp, at = own, came
		}
	}
	if n.clock.observe(stamp, at, l.Term, l.Index > n.logEnd) {
		n.noteDue.signal()
	}
}

// onRestore is called when a snapshot has replaced the state.
func (n *Node) onRestore(index uint64) {
	n.clock.restored(n.state.Clock(), index, index > n.logEnd)
	n.noteDue.signal()
}

// fatal ends the node's service for good, once.
func (n *Node) fatal(err error) {
	n.fatalOnce.Do(func() {
		n.cfg.Logger.Error("the node must stop", "err", err)
		n.cancel(err)
		go n.cfg.OnFatal(err)
	})
}

// Propose has cmd executed, once, and returns the state machine's answer; a
// command that is refused has an answer too. ctx should have a deadline.
//
// Errors: [ErrNoLeader], [ErrOverloaded], [ErrDiskFull], [ErrTooLarge], [ErrRefused]
// (it is malformed) and [ErrClosed]: cmd did not happen and will not. [ErrOutcomeUnknown]: it may have or may yet.
func (n *Node) Propose(ctx context.Context, cmd *fsmpb.Command) (*fsmpb.Answer, error) {
	return n.proposer.propose(ctx, cmd)
}

// Admits returns [ErrOverloaded] if a command of about size bytes that grows the
// state would be refused at the moment, so that nobody need read it first.
func (n *Node) Admits(size int) error { return n.proposer.admits(size) }

// ReadIndex returns once the local state covers every write that was
// acknowledged, anywhere, before the call. ErrNoLeader if ctx ends first.
func (n *Node) ReadIndex(ctx context.Context) error { return n.reads.read(ctx) }

// WaitRevision returns once the local state has reached revision. Errors:
// [ErrBehind] if ctx ends first, [ErrRevisionUnknown] if the cluster itself
// has not reached it, or had before a restore.
func (n *Node) WaitRevision(ctx context.Context, revision uint64) error {
	err := n.reachRevision(ctx, revision)
	if err == nil && n.state.IsFromBefore(revision) {
		return ErrRevisionUnknown
	}
	return err
}

func (n *Node) reachRevision(ctx context.Context, revision uint64) error {
	if n.fsm.revision.get() >= revision {
		return nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	var asking sync.WaitGroup // its own: a call may come while Close waits for the node's
	defer asking.Wait()
	defer cancel(nil)
	defer context.AfterFunc(n.ctx, func() { cancel(ErrClosed) })()
	asking.Go(func() {
		if n.ReadIndex(ctx) == nil && n.fsm.revision.get() < revision {
			cancel(ErrRevisionUnknown)
		}
	})
	err := n.fsm.revision.wait(ctx, revision)
	if err != nil && !errors.Is(err, ErrRevisionUnknown) {
		return ErrBehind
	}
	return err
}

// WaitChange returns once the local state holds a change after revision, or
// ctx's cause.
func (n *Node) WaitChange(ctx context.Context, revision uint64) error {
	return n.fsm.revision.wait(ctx, revision+1)
}

// State is the local state; to be read only.
func (n *Node) State() *fsm.State { return n.state }

// Name is the node's display name.
func (n *Node) Name() string { return n.cfg.Name }

// ID is the node's Raft id.
func (n *Node) ID() string { return n.id.nodeID() }

// Leading reports whether this node leads and admits writes.
func (n *Node) Leading() bool { return n.term.Load() != nil }

// RaftAddr is where others reach this node's Raft and node calls.
func (n *Node) RaftAddr() string { return n.transport.advertised() }

// GossipAddr is where others reach this node's gossip.
func (n *Node) GossipAddr() string { return n.gossip.addr() }

// Close stops the node at once; [Node.Drain] first makes that graceful. It is
// idempotent.
func (n *Node) Close() error {
	n.closeOnce.Do(func() { n.closeErr = n.close() })
	return n.closeErr
}

// close takes the parts down in the order that lets each finish: who proposes,
// who leads, who is seen by others, then Raft with its log, and last whom others call.
func (n *Node) close() error {
	n.cancel(ErrClosed)
	var errs []error
	if n.proposer != nil {
		n.proposer.close()
	}
	if n.gossip != nil {
		if err := n.gossip.leave(time.Second); err != nil {
			n.cfg.Logger.Debug("nobody heard that this node leaves", "err", err) // all may be leaving
		}
		errs = append(errs, n.gossip.close())
	}
	if n.raft != nil {
		stopped := n.raft.Shutdown()
		// Raft ends when what it has begun does: with the disk, where that may be
		// many syncs, and with others, who have raftTimeout to answer.
		errs = append(errs, n.store.Close())
		n.rafts.Close()
		errs = append(errs, stopped.Error())
	}
	if n.committer != nil {
		close(n.committer.down)
	}
	if n.leaders != nil {
		n.leaders.close()
	}
	if n.transport != nil {
		errs = append(errs, n.transport.close())
	}
	n.wg.Wait()
	if n.store != nil && n.raft == nil {
		errs = append(errs, n.store.Close())
	}
	return errors.Join(append(errs, n.id.close())...)
}
