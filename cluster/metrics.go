package cluster

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/stateraft/stateraft/cluster/logstore"
	"github.com/stateraft/stateraft/fsm"
	"github.com/stateraft/stateraft/fsm/fsmpb"
)

// metrics are what /metrics tells of a node. Names begin with stateraft_.
type metrics struct {
	batchCommands prometheus.Histogram
	entryBatches  prometheus.Histogram
	entryBytes    prometheus.Histogram
	commitSeconds prometheus.Histogram
	expiryLate    prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer, n *Node) *metrics {
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		h := prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "stateraft", Name: name, Help: help, Buckets: buckets})
		reg.MustRegister(h)
		return h
	}
	reg.MustRegister(&nodeCollector{node: n})
	seconds := prometheus.ExponentialBuckets(0.0002, 2, 16) // 0.2 ms to 6.5 s
	return &metrics{
		batchCommands: histogram("batch_commands", "Commands in a batch that this node sent.", prometheus.ExponentialBuckets(1, 2, 10)),
		entryBatches:  histogram("entry_batches", "Batches in a log entry that this node proposed.", prometheus.LinearBuckets(1, 1, 8)),
		entryBytes:    histogram("entry_bytes", "Size of a log entry that this node proposed.", prometheus.ExponentialBuckets(64, 4, 10)),
		commitSeconds: histogram("commit_seconds", "Time from proposing an entry to its application on the leader.", seconds),
		expiryLate:    histogram("expiry_late_seconds", "How long after its deadline a key was ended by an entry of its own.", seconds),
	}
}

func (m *metrics) batch(commands int) { m.batchCommands.Observe(float64(commands)) }

func (m *metrics) committed(took time.Duration, bytes int, e *fsmpb.Entry) {
	m.commitSeconds.Observe(took.Seconds())
	m.entryBytes.Observe(float64(bytes))
	if len(e.Batches) > 0 {
		m.entryBatches.Observe(float64(len(e.Batches)))
	}
}

// A nodeCollector reads a node's figures when they are scraped.
type nodeCollector struct{ node *Node }

// figures are what the gauges are read from, all of about one moment.
type figures struct {
	*Node
	state             fsm.Stats
	log               logstore.Stats
	commit            uint64
	waiting, inFlight int // of the proposer
}

func (n *Node) figures() *figures {
	f := &figures{Node: n, state: n.state.Stats(), log: n.store.Stats(), commit: n.raft.CommitIndex()}
	f.waiting, f.inFlight = n.proposer.depth()
	return f
}

type gauge struct {
	*prometheus.Desc
	value func(*figures) float64
}

func newGauge(name, help string, value func(*figures) float64) gauge {
	return gauge{prometheus.NewDesc("stateraft_"+name, help, nil, nil), value}
}

var gauges = []gauge{
	newGauge("leader", "1 if this node leads.", func(f *figures) float64 { return oneIf(f.term.Load() != nil) }),
	newGauge("ready", "1 if this node may get traffic.", func(f *figures) float64 { return oneIf(f.Ready() == nil) }),
	newGauge("term", "Raft term.", func(f *figures) float64 { return float64(f.raft.CurrentTerm()) }),
	newGauge("log_last_index", "Last index of the log.", func(f *figures) float64 { return float64(f.raft.LastIndex()) }),
	newGauge("log_commit_index", "Commit index.", func(f *figures) float64 { return float64(f.commit) }),
	newGauge("log_applied_index", "Last entry applied to the state.", func(f *figures) float64 { return float64(f.state.Index) }),
	newGauge("apply_lag_entries", "Committed entries not yet applied.", func(f *figures) float64 { return float64(f.commit - min(f.commit, f.state.Index)) }),
	newGauge("proposer_waiting", "Writes at this node that wait for a batch.", func(f *figures) float64 { return float64(f.waiting) }),
	newGauge("proposer_in_flight", "Batches of this node that are not yet answered.", func(f *figures) float64 { return float64(f.inFlight) }),
	newGauge("committer_waiting", "Batches at this node, as the leader, that wait for an entry.", func(f *figures) float64 { return float64(f.committer.queued()) }),
	newGauge("revision", "Changes made since the cluster was founded.", func(f *figures) float64 { return float64(f.state.Revision) }),
	newGauge("keys", "Keys.", func(f *figures) float64 { return float64(f.state.Keys) }),
	newGauge("keys_with_ttl", "Keys that have a deadline.", func(f *figures) float64 { return float64(f.state.KeysWithTTL) }),
	newGauge("key_bytes", "Bytes of all keys and values.", func(f *figures) float64 { return float64(f.state.Bytes) }),
	newGauge("floors", "Namespaces whose versions are remembered.", func(f *figures) float64 { return float64(f.state.Floors) }),
	newGauge("idempotency_records", "Kept answers to idempotency keys.", func(f *figures) float64 { return float64(f.state.Records) }),
	newGauge("history_events", "Changes that streams can resume over.", func(f *figures) float64 { return float64(f.state.HistoryEvents) }),
	newGauge("history_bytes", "Memory of those changes.", func(f *figures) float64 { return float64(f.state.HistoryBytes) }),
	newGauge("log_entries", "Entries in the log.", func(f *figures) float64 { return float64(f.log.Entries) }),
	newGauge("log_file_bytes", "Room that the log takes on the disk.", func(f *figures) float64 { return float64(f.log.FileBytes) }),
	newGauge("log_reusable_bytes", "Of that, what holds nothing.", func(f *figures) float64 { return float64(f.log.ReusableBytes) }),
	newGauge("log_cache_bytes", "Memory of the newest entries.", func(f *figures) float64 { return float64(f.log.CacheBytes) }),
	newGauge("disk_free_bytes", "Free room on the disk, beside the log's.", func(f *figures) float64 { return float64(f.log.FreeBytes) }),
	newGauge("disk_full", "1 while the disk is nearly full and sets are refused.", func(f *figures) float64 { return oneIf(f.log.Full) }),
	newGauge("wall_offset_seconds", "Wall clock minus cluster time, as the state shows it.", func(f *figures) float64 { return float64(f.state.WallOffset) / 1e6 }),
	newGauge("clock_offset_seconds", "This node's wall clock minus the leader's.", func(f *figures) float64 { return f.offset.get().Seconds() }),
	newGauge("followers_still", "Followers of this leader that answer it and have taken no entry for seconds.",
		func(f *figures) float64 { return float64(f.watched.still.Load()) }),
	newGauge("followers_looping", "Followers of this leader that take one snapshot after the other and no entry.",
		func(f *figures) float64 { return float64(f.watched.loops.Load()) }),
	newGauge("followers_cut", "Times since the start that this node, leading, cut a follower's connections to start replication anew.",
		func(f *figures) float64 { return float64(f.watched.cuts.Load()) }),
}

func (c *nodeCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, g := range gauges {
		ch <- g.Desc
	}
}

func (c *nodeCollector) Collect(ch chan<- prometheus.Metric) {
	select {
	case <-c.node.started:
	default:
		return
	}
	f := c.node.figures()
	for _, g := range gauges {
		ch <- prometheus.MustNewConstMetric(g.Desc, prometheus.GaugeValue, g.value(f))
	}
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
