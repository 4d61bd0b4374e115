package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/stateraft/stateraft/cluster"
	"github.com/stateraft/stateraft/cluster/clustertest"
	"github.com/stateraft/stateraft/fsm/fsmpb"
)

// Ensure reads that alternate between nodes stay linearizable while the leader
// is the last to apply what it committed.
func TestLinearizableSlowLeader(t *testing.T) {
	w := newWorkload(t, quickNotice)
	w.runLong(w.slowLeader)
	w.mustBeLinearizable()
}

// Ensure reads and writes stay linearizable while leaders change.
func TestLinearizableUnderFaults(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fault func(*workload, context.Context)
	}{
		{"leader restarts", (*workload).restartLeader},
		{"leader is cut off", (*workload).cutLeaderOff},
		{"leadership moves", (*workload).moveLeadership},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorkload(t, 0)
			w.runLong(w.repeat(tt.fault))
			w.mustBeLinearizable()
		})
	}
}

// Ensure the checker finds what it is there to find: followers that lag and
// answer from what they happen to have applied.
func TestLinearizabilityCheckFindsStaleReads(t *testing.T) {
	w := newWorkload(t, 0)
	w.confirm = func(ctx context.Context, n *cluster.Node) error {
		if n.Leading() {
			return n.ReadIndex(ctx)
		}
		return nil
	}
	for range 30 {
		w.run(300*time.Millisecond, w.slowFollowers)
		if res, _ := w.check(); res == porcupine.Illegal {
			t.Logf("found after %d operations", len(w.history))
			return
		}
	}
	t.Errorf("local reads at followers that lag pass for linearizable in %d operations", len(w.history))
}

// A workload is clients that read and write a few registers on the nodes of a
// cluster in turn, and the history of what they saw.
type workload struct {
	t       *testing.T
	cluster *clustertest.Cluster
	nodes   [3]atomic.Pointer[cluster.Node] // stays when a node stops
	slow    [3]atomic.Bool                  // the node takes slowApply for each batch of entries
	confirm func(context.Context, *cluster.Node) error

	start  time.Time
	values atomic.Uint64 // the last one written: each is written once
	ids    atomic.Int64  // of clients, given out
	done   atomic.Int64  // operations

	mu      sync.Mutex
	history []porcupine.Operation
}

const (
	// quickNotice is a commit timeout with which followers learn of a commit,
	// and apply it, well before a slow leader has.
	quickNotice = 5 * time.Millisecond

	runTime       = 3500 * time.Millisecond
	clientCount   = 8
	registerCount = 4
	slowApply     = 50 * time.Millisecond
	patience      = 250 * time.Millisecond // of a client; less than some fail-overs take
	checkLimit    = time.Minute

	enoughOperations = 50 // for a history to say something
)

func newWorkload(t *testing.T, commitTimeout time.Duration) *workload {
	w := &workload{t: t, start: time.Now(), confirm: func(ctx context.Context, n *cluster.Node) error { return n.ReadIndex(ctx) }}
	next := 0
	w.cluster = clustertest.New(t, len(w.nodes), func(cfg *cluster.Config) {
		cfg.Tuning.CommitTimeout = commitTimeout
		slow := &w.slow[next]
		cfg.Tuning.BeforeApply = func() {
			if slow.Load() {
				time.Sleep(slowApply)
			}
		}
		next++
	})
	for i, n := range w.cluster.Nodes {
		w.nodes[i].Store(n.Node)
	}
	t.Cleanup(func() { w.slowDown(func(*clustertest.Node) bool { return false }) })
	return w
}

// run lets the clients work for d while during, which returns when its context
// ends, gets in their way.
func (w *workload) run(d time.Duration, during func(context.Context)) {
	ctx, cancel := context.WithTimeout(w.t.Context(), d)
	defer cancel()
	var wg sync.WaitGroup
	for range clientCount {
		wg.Go(func() { w.client(ctx) })
	}
	during(ctx)
	wg.Wait()
}

// runLong is run for runTime, and again if the machine was too busy for enough.
func (w *workload) runLong(during func(context.Context)) {
	w.t.Helper()
	for begin := time.Now(); time.Since(begin) < clustertest.Patience; {
		if w.run(runTime, during); len(w.history) >= enoughOperations {
			return
		}
	}
	w.t.Errorf("only %d operations were answered", len(w.history))
}

// client goes from node to node, one operation at each.
func (w *workload) client(ctx context.Context) {
	id := int(w.ids.Add(1)) - 1
	read := make(map[string]uint64) // version by key
	for i := id; ctx.Err() == nil; i++ {
		node := i % len(w.nodes)
		q := w.request(w.cluster.Nodes[node].Config.Name, read)
		op := porcupine.Operation{ClientId: id, Input: q, Call: int64(time.Since(w.start))}
		r, err := w.do(w.nodes[node].Load(), q)
		op.Output, op.Return = r, int64(time.Since(w.start))
		switch {
		case errors.Is(err, cluster.ErrOutcomeUnknown):
			op.Output, op.Return = reply{unknown: true}, math.MaxInt64
			id = int(w.ids.Add(1)) - 1 // the client of that operation is for ever in it
		case err != nil:
			rest(ctx, time.Millisecond) // a node that is stopped refuses at once
			continue
		case q.kind == opGet:
			read[q.key] = r.version
		}
		w.record(op)
	}
}

// rest returns after d, or when ctx ends.
func rest(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func (w *workload) record(op porcupine.Operation) {
	w.done.Add(1)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.history = append(w.history, op)
}

// request draws what to ask next of a node, given the versions read last.
func (w *workload) request(node string, read map[string]uint64) request {
	q := request{node: node, key: fmt.Sprint("k", rand.IntN(registerCount))}
	switch p := rand.IntN(10); {
	case p < 5:
		q.kind = opGet
	case p < 7:
		q.kind, q.value = opSet, fmt.Sprint(w.values.Add(1))
	case p < 9:
		q.kind, q.value, q.version = opSetAt, fmt.Sprint(w.values.Add(1)), read[q.key]
	default:
		q.kind = opDelete
	}
	return q
}

// do asks the node. Of a write, an error other than ErrOutcomeUnknown says that
// it did not happen.
func (w *workload) do(n *cluster.Node, q request) (reply, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if q.kind == opGet {
		if err := w.confirm(ctx, n); err != nil {
			return reply{}, err
		}
		e, _, _ := n.State().Get(q.key, q.key)
		return reply{value: string(e.Value), version: e.Version}, nil
	}
	a, err := n.Propose(ctx, q.command())
	switch {
	case err != nil:
		return reply{}, err
	case a.Code == fsmpb.Answer_CONFLICT:
		return reply{conflict: true, version: a.CurrentVersion}, nil
	case a.Code != fsmpb.Answer_OK:
		return reply{}, fmt.Errorf("refused: %v", a.Code)
	}
	return reply{version: a.Results[0].Version, deleted: a.Results[0].Deleted}, nil
}

// A request is one operation on one register, and a reply its answer.
type request struct {
	node    string
	kind    opKind
	key     string
	value   string // to set
	version uint64 // that opSetAt expects; 0: absent
}

type reply struct {
	unknown  bool
	conflict bool
	deleted  bool
	value    string // that opGet found; "": absent
	version  uint64
}

type opKind string

const (
	opGet    opKind = "get"
	opSet    opKind = "set"
	opSetAt  opKind = "set at"
	opDelete opKind = "delete"
)

// command returns q as a write. Each key has a namespace of its own, so that
// its versions do not depend on what becomes of others.
func (q request) command() *fsmpb.Command {
	cmd := clustertest.Set(q.key, q.key, q.value)
	switch op := cmd.Ops[0]; q.kind {
	case opSetAt:
		op.Condition, op.ExpectedVersion = fsmpb.Op_AT_VERSION, q.version
	case opDelete:
		op.Kind, op.Value = fsmpb.Op_DELETE, nil
	}
	return cmd
}

// A register is one key as the wire contract has it: each change, also a
// delete, takes the next version, and none comes back.
type register struct {
	value   string // "": absent
	changes uint64
}

func (r register) version() uint64 {
	if r.value == "" {
		return 0
	}
	return r.changes
}

// do returns what q is answered and the register after it.
func (r register) do(q request) (reply, register) {
	switch {
	case q.kind == opGet:
		return reply{value: r.value, version: r.version()}, r
	case q.kind == opSetAt && q.version != r.version():
		return reply{conflict: true, version: r.version()}, r
	case q.kind == opDelete && r.value == "":
		return reply{}, r
	case q.kind == opDelete:
		return reply{deleted: true, version: r.changes + 1}, register{"", r.changes + 1}
	}
	return reply{version: r.changes + 1}, register{q.value, r.changes + 1}
}

var registerModel = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byKey := make(map[string][]porcupine.Operation)
		for _, op := range history {
			key := op.Input.(request).key
			byKey[key] = append(byKey[key], op)
		}
		return slices.Collect(maps.Values(byKey))
	},
	Init: func() any { return register{} },
	Step: func(state, input, output any) (bool, any) {
		want, next := state.(register).do(input.(request))
		got := output.(reply)
		return got.unknown || got == want, next
	},
	DescribeOperation: func(input, output any) string {
		return fmt.Sprintf("%+v → %+v", input, output)
	},
}

func (w *workload) check() (porcupine.CheckResult, porcupine.LinearizationInfo) {
	return porcupine.CheckOperationsVerbose(registerModel, w.history, checkLimit)
}

// mustBeLinearizable fails the test with a picture of the history if it is
// not. go test -artifacts keeps the picture.
func (w *workload) mustBeLinearizable() {
	w.t.Helper()
	begin := time.Now()
	res, info := w.check()
	w.t.Logf("%v: %s, checked in %v", res, w.summary(), time.Since(begin).Round(time.Millisecond))
	if res == porcupine.Ok {
		return
	}
	path := filepath.Join(w.t.ArtifactDir(), "history.html")
	if err := porcupine.VisualizePath(registerModel, info, path); err != nil {
		w.t.Error(err)
	}
	w.t.Errorf("the history is not linearizable: see %s", path)
}

func (w *workload) summary() string {
	var reads, conflicts, unknown int
	for _, op := range w.history {
		switch r := op.Output.(reply); {
		case op.Input.(request).kind == opGet:
			reads++
		case r.conflict:
			conflicts++
		case r.unknown:
			unknown++
		}
	}
	return fmt.Sprintf("%d operations, of them %d reads, %d conflicts, %d of unknown outcome", len(w.history), reads, conflicts, unknown)
}

// slowDown slows the nodes that are picked, and no others.
func (w *workload) slowDown(picked func(*clustertest.Node) bool) {
	for i, n := range w.cluster.Nodes {
		w.slow[i].Store(picked(n))
	}
}

// slowLeader slows whichever node leads, and moves the leadership once in a
// while.
func (w *workload) slowLeader(ctx context.Context) {
	for ctx.Err() == nil {
		leader := w.cluster.Leader()
		w.slowDown(func(n *clustertest.Node) bool { return n == leader })
		rest(ctx, time.Second)
		w.moveLeadership(ctx)
	}
}

func (w *workload) slowFollowers(ctx context.Context) {
	leader := w.cluster.Leader()
	w.slowDown(func(n *clustertest.Node) bool { return n != leader })
	<-ctx.Done()
}

// repeat does fault again and again, and lets the clients work in between.
func (w *workload) repeat(fault func(*workload, context.Context)) func(context.Context) {
	return func(ctx context.Context) {
		for ctx.Err() == nil {
			fault(w, ctx)
			w.progress(ctx)
		}
	}
}

// progress waits until the clients have seen the cluster work, or ctx ends.
func (w *workload) progress(ctx context.Context) {
	for enough := w.done.Load() + enoughOperations; w.done.Load() < enough && ctx.Err() == nil; {
		rest(ctx, time.Millisecond)
	}
}

func (w *workload) restartLeader(ctx context.Context) {
	old := w.cluster.Leader()
	old.Stop(w.t)
	w.cluster.Leader()
	w.progress(ctx)
	old.Start(w.t)
	w.nodes[slices.Index(w.cluster.Nodes, old)].Store(old.Node)
	w.cluster.WaitReady(old)
}

func (w *workload) cutLeaderOff(ctx context.Context) {
	old := w.cluster.Leader()
	others := w.cluster.Others(old)
	w.cluster.Partition([]*clustertest.Node{old}, others)
	w.cluster.LeaderAmong(others...)
	w.progress(ctx)
	w.cluster.Heal()
	w.cluster.WaitReady(old)
}

func (w *workload) moveLeadership(context.Context) {
	moveTo(w.t, w.cluster, w.cluster.Follower())
}
