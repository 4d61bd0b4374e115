package cluster

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/stateraft/stateraft/fsm"
	"github.com/stateraft/stateraft/fsm/fsmpb"
)

// Config says how one node runs. Name, DataDir and the addresses are required.
type Config struct {
	Name    string // display name, unique in the cluster; at most 64 bytes; [StoredName] if there is one
	DataDir string // created 0700; one process at a time

	RaftAddr        string // host:port of Raft and node calls; port 0 picks one
	GossipAddr      string // host:port of memberlist, TCP and UDP; port 0 picks one
	AdvertiseRaft   string // what others are told; empty: the listener's
	AdvertiseGossip string
	AdvertiseHTTP   string

	Join            []string // gossip addresses of other nodes
	BootstrapExpect int      // voters that found a new cluster; 0: only join
	Replica         bool     // never becomes a voter

	GossipKey []byte      // 16, 24 or 32 bytes; nil: plain
	TLS       *tls.Config // mutual TLS between nodes; nil: plain

	Settings Settings
	Binary   string // version of the build, for people

	Logger  *slog.Logger
	Metrics prometheus.Registerer

	// OnFatal is called once, from any goroutine, when the node must stop: it
	// met something that it cannot apply, or its store failed. It must not
	// call the node.
	OnFatal func(error)

	Tuning Tuning
}

// Settings shape the replicated state. Those of the node that leads are in
// force.
type Settings struct {
	HistoryEvents  uint64        // changes that streams can resume over
	HistoryBytes   uint64        // and their bytes
	FloorRetention time.Duration // how long an emptied namespace's versions are remembered
}

// Tuning holds what has one right value in production. Zero fields take it.
type Tuning struct {
	Heartbeat, Election, Lease time.Duration // 2 × Lease ≤ Heartbeat ≤ Election
	CommitTimeout              time.Duration

	SnapshotThreshold uint64 // entries since the last snapshot that ask for one
	SnapshotInterval  time.Duration
	SnapshotScrub     time.Duration // between two looks for damage
	TrailingLogs      uint64        // entries kept behind a snapshot, for followers that lag

	PromoteAfter time.Duration // how long a learner must have been level
	WatchTick    time.Duration // between a leader's looks at its followers and its writes; much longer than Heartbeat / 5
	RestoreIdle  time.Duration // how long a restore may stand still; longer than a step's patience
	ClockCheck   time.Duration // between measurements of the wall clock against the leader's
	MaxVersion   uint32        // newest protocol version that this node claims to speak

	BeforeWrite func() error // runs ahead of every write of the log: see logstore.Config
	BeforeApply func()       // runs ahead of every batch of applied entries; tests slow a node with it

	BeforeReplicate func(nodeID string) error // runs ahead of every AppendEntries to that node, heartbeats apart; its error is the RPC's

	Wall      func() time.Time     // the wall clock
	Monotonic func() time.Duration // the clock that cluster time follows, since some moment; must never run backwards

	Dial   func(ctx context.Context, network, address string) (net.Conn, error) // of node connections
	Accept func(nodeID string) bool                                             // whether to talk to a node
}

const maxNameBytes = 64

func (c *Config) validate() error {
	switch {
	case c.Name == "" || len(c.Name) > maxNameBytes:
		return fmt.Errorf("the node's name must have 1 to %d bytes", maxNameBytes)
	case c.DataDir == "":
		return errors.New("the data directory must be given")
	case c.BootstrapExpect < 0:
		return errors.New("the number of founding voters must not be negative")
	case c.Replica && c.BootstrapExpect > 0:
		return errors.New("a replica cannot found a cluster")
	case c.Logger == nil || c.Metrics == nil || c.OnFatal == nil:
		return errors.New("logger, metrics and the fatal hook must be given")
	}
	return c.Tuning.validate()
}

func (c *Config) setDefaults() {
	d := fsm.DefaultSettings()
	c.Settings.HistoryEvents = cmp.Or(c.Settings.HistoryEvents, d.HistoryEvents)
	c.Settings.HistoryBytes = cmp.Or(c.Settings.HistoryBytes, d.HistoryBytes)
	c.Settings.FloorRetention = cmp.Or(c.Settings.FloorRetention, time.Duration(d.FloorRetention)*time.Microsecond)
	t := &c.Tuning
	t.Heartbeat = cmp.Or(t.Heartbeat, 250*time.Millisecond)
	t.Election = cmp.Or(t.Election, 250*time.Millisecond)
	t.Lease = cmp.Or(t.Lease, 125*time.Millisecond)
	t.CommitTimeout = cmp.Or(t.CommitTimeout, 50*time.Millisecond)
	t.SnapshotThreshold = cmp.Or(t.SnapshotThreshold, 8192)
	t.SnapshotInterval = cmp.Or(t.SnapshotInterval, 30*time.Second)
	t.SnapshotScrub = cmp.Or(t.SnapshotScrub, 10*time.Minute)
	t.TrailingLogs = cmp.Or(t.TrailingLogs, 16384)
	t.PromoteAfter = cmp.Or(t.PromoteAfter, 2*time.Second)
	t.WatchTick = cmp.Or(t.WatchTick, time.Second)
	t.RestoreIdle = cmp.Or(t.RestoreIdle, 5*time.Minute)
	t.ClockCheck = cmp.Or(t.ClockCheck, 10*time.Second)
	t.MaxVersion = cmp.Or(t.MaxVersion, fsm.MaxVersion)
	if t.Wall == nil {
		t.Wall = time.Now
	}
	if t.Monotonic == nil {
		t.Monotonic = newMonotonic()
	}
	if t.BeforeApply == nil {
		t.BeforeApply = func() {}
	}
}

// validate holds the timeouts to what makes the leader's lease end before
// anybody else can be elected.
func (t *Tuning) validate() error {
	if 2*t.Lease > t.Heartbeat || t.Heartbeat > t.Election {
		return fmt.Errorf("timeouts must hold 2 × lease (%v) ≤ heartbeat (%v) ≤ election (%v)", t.Lease, t.Heartbeat, t.Election)
	}
	return nil
}

func (s Settings) proto() *fsmpb.Settings {
	return &fsmpb.Settings{
		HistoryEvents:  s.HistoryEvents,
		HistoryBytes:   s.HistoryBytes,
		FloorRetention: s.FloorRetention.Microseconds(),
	}
}
