package cluster

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing/synctest"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/proto"

	"github.com/stateraft/stateraft/cluster/clusterpb"
	"github.com/stateraft/stateraft/cluster/logstore"
)

// A simWorld is a cluster in one synctest bubble. One goroutine decides,
// by a seeded generator, what happens next: a message arrives, a node dies, a
// client acts. After each such step it waits until every goroutine of the real
// code is blocked, and takes what they have asked for in an order of its own.
// So the scheduler of the Go runtime decides nothing, and a seed stands for one
// schedule.
type simWorld struct {
	rng     *rand.Rand
	trace   xxhash.Digest
	steps   int
	check   *simCheck
	store   *logstore.Store
	metrics *metrics

	historyEvents uint64
	weights       []int // of simSteps

	nodes   []*simNode
	clients []*simClient
	ops     []*simOp // all, by number
	cut     [][]bool // from, to
	wire    []simMessage
	calls   []*simCall
	gates   []*simGate

	mu       sync.Mutex // guards what the goroutines of the real code bring
	arrived  []*simCall
	reached  []*simGate
	finished []*simOp
	broken   error
}

// A simCall is a call of one node to another. It may be carried out late, or
// never, whatever becomes of who waits for it; but not twice, and not once the
// caller was told that it was not sent.
type simCall struct {
	from, to int
	key      string // of what is asked; unique among the calls of one step
	ctx      context.Context
	req      *clusterpb.Request
	resp     *clusterpb.Response
	waiting  bool // for the answer
	left     bool // may still be carried out
	done     chan simAnswer
}

type simAnswer struct {
	resp *clusterpb.Response
	err  error
}

// A simGate is where a goroutine of the real code waits for its turn.
type simGate struct {
	node  int
	place simPlace
	key   uint64
	open  chan bool
}

type simPlace int

const (
	simSend       simPlace = iota // a batch ahead of an attempt
	simSent                       // and behind it
	simPause                      // between two attempts
	simReadFailed                 // between two rounds of reads
)

func newSimWorld(seed uint64, store *logstore.Store, m *metrics) *simWorld {
	w := &simWorld{rng: rand.New(rand.NewPCG(seed, 0)), store: store, metrics: m}
	w.trace.Reset()
	w.historyEvents = []uint64{20, 100_000}[w.rng.IntN(2)]
	w.weights = w.newWeights()
	w.check = newSimCheck(w.op)
	size := 3
	if w.one(4) {
		size = 5
	}
	founding := simEntry{term: 1, kind: raft.LogConfiguration}
	for id := range size {
		r := &simRaft{w: w, id: id, simDisk: simDisk{term: 1, vote: -1}}
		w.nodes = append(w.nodes, &simNode{w: w, id: id, raft: r})
		w.cut = append(w.cut, make([]bool, size))
	}
	founding.data = raft.EncodeConfiguration(w.servers())
	for _, s := range w.nodes {
		s.raft.log = []simEntry{founding}
	}
	for id := range 8 {
		w.clients = append(w.clients, &simClient{id: id})
	}
	if w.one(2) { // one wall clock is wrong
		w.nodes[w.rng.IntN(size)].wall = time.Duration(w.rng.Int64N(int64(2*time.Hour))) - time.Hour
	}
	return w
}

func (w *simWorld) one(n int) bool { return w.rng.IntN(n) == 0 }

func (w *simWorld) isMajority(set []bool) bool {
	n := 0
	for _, in := range set {
		if in {
			n++
		}
	}
	return n > len(set)/2
}

func (w *simWorld) servers() (c raft.Configuration) {
	for id := range w.nodes {
		c.Servers = append(c.Servers, raft.Server{ID: raft.ServerID(simName(id)), Address: raft.ServerAddress(simName(id))})
	}
	return c
}

// note makes numbers part of the trace.
func (w *simWorld) note(numbers ...uint64) {
	var buf [8]byte
	for _, n := range numbers {
		binary.LittleEndian.PutUint64(buf[:], n)
		_, _ = w.trace.Write(buf[:])
	}
}

func (w *simWorld) fatal(node int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.broken = fmt.Errorf("node %d must stop: %w", node, err)
}

// settle waits until the real code has nothing left to do by itself. What only
// has to be passed on is, one at a time: calls that ended, gates behind which
// nothing is decided, the goroutines of processes that died.
func (w *simWorld) settle() {
	for {
		synctest.Wait()
		w.collect()
		if !w.passOn() {
			return
		}
	}
}

// collect takes what has arrived, in an order that does not depend on which
// goroutine was first.
func (w *simWorld) collect() {
	w.mu.Lock()
	defer w.mu.Unlock()
	slices.SortFunc(w.arrived, func(a, b *simCall) int {
		return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to), cmp.Compare(a.key, b.key))
	})
	slices.SortFunc(w.reached, func(a, b *simGate) int {
		return cmp.Or(cmp.Compare(a.node, b.node), cmp.Compare(a.place, b.place), cmp.Compare(a.key, b.key))
	})
	w.calls, w.arrived = append(w.calls, w.arrived...), nil
	w.gates, w.reached = append(w.gates, w.reached...), nil
}

func (w *simWorld) passOn() bool {
	for _, c := range w.calls {
		if c.waiting && (c.ctx.Err() != nil || w.nodes[c.from].real == nil || w.nodes[c.to].real == nil) {
			w.answer(c, nil, fmt.Errorf("%w: %w", errBroken, errSimCut))
			return true
		}
	}
	for _, g := range w.gates {
		if g.place == simSent || w.nodes[g.node].real == nil {
			w.release(g, w.nodes[g.node].real != nil)
			return true
		}
	}
	return false
}

// call is what nodes have in place of transport.call.
func (w *simWorld) call(ctx context.Context, from, to int, req *clusterpb.Request) (*clusterpb.Response, error) {
	if req.Status != nil || ctx.Err() != nil { // nothing here depends on what status tells
		return nil, errNotSent
	}
	key, err := proto.MarshalOptions{Deterministic: true}.Marshal(req)
	if err != nil {
		return nil, err
	}
	if req.Propose.GetOpenSession() != nil {
		key = nil // its boot id is random
	}
	c := &simCall{from: from, to: to, key: string(key), ctx: ctx, req: proto.CloneOf(req), waiting: true, left: true, done: make(chan simAnswer, 1)}
	w.mu.Lock()
	w.arrived = append(w.arrived, c)
	w.mu.Unlock()
	a := <-c.done // also when ctx ends: see passOn
	return a.resp, a.err
}

// carryOut has the called node do what it is asked.
func (w *simWorld) carryOut(c *simCall) {
	n := w.nodes[c.to].real
	go func() {
		resp := n.handle(n.ctx, peer{nodeID: simName(c.from), clusterID: simCluster}, c.req)
		w.mu.Lock()
		defer w.mu.Unlock()
		c.resp = resp
	}()
}

// answer tells the caller.
func (w *simWorld) answer(c *simCall, resp *clusterpb.Response, err error) {
	c.waiting = false
	c.done <- simAnswer{resp, err}
}

// sweep forgets the calls of which nothing can come any more, and the oldest
// that nobody waits for.
func (w *simWorld) sweep() {
	const most = 32
	late := len(w.calls) - most
	w.calls = slices.DeleteFunc(w.calls, func(c *simCall) bool {
		late--
		return !c.waiting && (!c.left || late >= 0)
	})
}

// abandon has everybody outside a node that dies know nothing of it.
func (w *simWorld) abandon(node int) {
	for _, c := range w.calls {
		c.left = c.left && c.to != node
	}
	for _, op := range w.ops {
		if op.running && op.node == node {
			op.orphan = true
			op.cancel()
		}
	}
}

// pass waits until the gate opens and returns whether to go on.
func (w *simWorld) pass(node int, place simPlace, key uint64) bool {
	g := &simGate{node: node, place: place, key: key, open: make(chan bool, 1)}
	w.mu.Lock()
	w.reached = append(w.reached, g)
	w.mu.Unlock()
	return <-g.open
}

func (w *simWorld) release(g *simGate, goOn bool) {
	w.gates = slices.DeleteFunc(w.gates, func(o *simGate) bool { return o == g })
	if g.place == simReadFailed {
		w.failRound(g.node)
	}
	g.open <- goOn
}

// post puts a message of Raft's on the wire, which holds so many at most.
func (w *simWorld) post(m simMessage) {
	const most = 64
	if len(w.wire) == most {
		w.wire = slices.Delete(w.wire, 0, 1)
	}
	w.wire = append(w.wire, m)
}

// publish shows what the simulation has done to goroutines that a timer wakes:
// the race detector takes no timer for an order.
func (w *simWorld) publish() {
	touch := func(mu *sync.Mutex) {
		mu.Lock()
		defer mu.Unlock()
	}
	touch(&w.mu)
	for _, s := range w.nodes {
		touch(&s.raft.mu)
	}
}

// sleep lets virtual time pass.
func (w *simWorld) sleep(d time.Duration) {
	w.publish()
	time.Sleep(d)
	w.settle()
}

// op returns the operation of that number, or nil.
func (w *simWorld) op(number int) *simOp {
	if number < 1 || number > len(w.ops) {
		return nil
	}
	return w.ops[number-1]
}

// up returns a node that runs, or nil.
func (w *simWorld) up() *simNode {
	if s := w.nodes[w.rng.IntN(len(w.nodes))]; s.real != nil {
		return s
	}
	return nil
}
