package cluster

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

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

// gauges are the figures of one moment, in the order in which figures returns
// their values.
var gauges = []*prometheus.Desc{
	gauge("leader", "1 if this node leads."),
	gauge("ready", "1 if this node may get traffic."),
	gauge("term", "Raft term."),
	gauge("log_last_index", "Last index of the log."),
	gauge("log_commit_index", "Commit index."),
	gauge("log_applied_index", "Last entry applied to the state."),
	gauge("apply_lag_entries", "Committed entries not yet applied."),
	gauge("proposer_waiting", "Writes at this node that wait for a batch."),
	gauge("proposer_in_flight", "Batches of this node that are not yet answered."),
	gauge("committer_waiting", "Batches at this node, as the leader, that wait for an entry."),
	gauge("revision", "Changes made since the cluster was founded."),
	gauge("keys", "Keys."),
	gauge("keys_with_ttl", "Keys that have a deadline."),
	gauge("key_bytes", "Bytes of all keys and values."),
	gauge("floors", "Namespaces whose versions are remembered."),
	gauge("idempotency_records", "Kept answers to idempotency keys."),
	gauge("history_events", "Changes that streams can resume over."),
	gauge("history_bytes", "Memory of those changes."),
	gauge("log_entries", "Entries in the log."),
	gauge("log_file_bytes", "Room that the log takes on the disk."),
	gauge("log_reusable_bytes", "Of that, what holds nothing."),
	gauge("log_cache_bytes", "Memory of the newest entries."),
	gauge("disk_free_bytes", "Free room on the disk, beside the log's."),
	gauge("disk_full", "1 while the disk is nearly full and sets are refused."),
	gauge("wall_offset_seconds", "Wall clock minus cluster time, as the state shows it."),
	gauge("clock_offset_seconds", "This node's wall clock minus the leader's."),
	gauge("followers_still", "Followers of this leader that answer it and have taken no entry for seconds."),
	gauge("followers_looping", "Followers of this leader that take one snapshot after the other and no entry."),
	gauge("followers_cut", "Times since the start that this node, leading, cut a follower's connections to start replication anew."),
}

func gauge(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("stateraft_"+name, help, nil, nil)
}

func (c *nodeCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range gauges {
		ch <- d
	}
}

func (c *nodeCollector) Collect(ch chan<- prometheus.Metric) {
	select {
	case <-c.node.started:
	default:
		return
	}
	for i, v := range c.node.figures() {
		ch <- prometheus.MustNewConstMetric(gauges[i], prometheus.GaugeValue, v)
	}
}

func (n *Node) figures() []float64 {
	st, log := n.state.Stats(), n.store.Stats()
	commit := n.raft.CommitIndex()
	waiting, inFlight := n.proposer.depth()
	return []float64{
		oneIf(n.term.Load() != nil), oneIf(n.Ready() == nil), float64(n.raft.CurrentTerm()),
		float64(n.raft.LastIndex()), float64(commit), float64(st.Index), float64(commit - min(commit, st.Index)),
		float64(waiting), float64(inFlight), float64(n.committer.queued()),
		float64(st.Revision), float64(st.Keys), float64(st.KeysWithTTL), float64(st.Bytes),
		float64(st.Floors), float64(st.Records), float64(st.HistoryEvents), float64(st.HistoryBytes),
		float64(log.Entries), float64(log.FileBytes), float64(log.ReusableBytes), float64(log.CacheBytes),
		float64(log.FreeBytes), oneIf(log.Full), float64(st.WallOffset) / 1e6,
		n.offset.get().Seconds(), float64(n.watched.still.Load()), float64(n.watched.loops.Load()), float64(n.watched.cuts.Load()),
	}
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
