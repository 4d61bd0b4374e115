package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/stateraft/stateraft/fsm"
	"github.com/stateraft/stateraft/fsm/fsmpb"
)

// A simClient does one thing after the other, each at any node, and follows the
// history of changes.
type simClient struct {
	id     int
	op     *simOp // the last
	cursor uint64 // revision
}

// A simOp is something that a client wants and what it was told. A write with
// an idempotency key may be tried again, also after an answer.
type simOp struct {
	number  int
	ns      string
	key     string         // of a read; empty: a list
	command *fsmpb.Command // nil: a read
	begun   time.Time      // the first attempt
	floor   uint64         // highest revision acknowledged to anybody before that

	node    int
	stage   int // of a read
	running bool
	orphan  bool // the node died
	cancel  context.CancelFunc
	heard   simHeard // of this attempt; by its goroutine

	answer  *fsmpb.Answer // the first
	unknown bool          // an attempt may have had an effect that nobody was told of
	failed  bool          // it did not happen
}

// simHeard is what came back.
type simHeard struct {
	answer *fsmpb.Answer
	page   fsm.Page
	err    error
}

var (
	simSpaces = []string{"a", "b"}
	simKeys   = []string{"k0", "k1", "k2"}
)

// act has an idle client do something.
func (w *simWorld) act() bool {
	c, s := w.clients[w.rng.IntN(len(w.clients))], w.up()
	if s == nil || c.op != nil && c.op.running {
		return false
	}
	if again := c.op != nil && c.op.command != nil && len(c.op.command.IdempotencyKey) > 0 && !w.one(3); !again {
		c.op = w.newOp()
		w.ops = append(w.ops, c.op)
	}
	w.note(uint64(c.id), uint64(c.op.number), uint64(s.id))
	w.try(c.op, s)
	return true
}

func (w *simWorld) newOp() *simOp {
	op := &simOp{number: len(w.ops) + 1, ns: simSpaces[w.rng.IntN(len(simSpaces))], begun: time.Now(), floor: w.check.acked}
	switch w.rng.IntN(10) {
	case 0:
	case 1, 2, 3:
		op.key = simKeys[w.rng.IntN(len(simKeys))]
	default:
		op.command = w.newCommand(op)
	}
	return op
}

// newCommand changes one key or several.
func (w *simWorld) newCommand(op *simOp) *fsmpb.Command {
	c := &fsmpb.Command{Namespace: op.ns}
	keys := 1
	if c.Atomic = w.one(4); c.Atomic {
		keys = 1 + w.rng.IntN(len(simKeys))
	}
	for _, i := range w.rng.Perm(len(simKeys))[:keys] {
		c.Ops = append(c.Ops, w.newChange(op, simKeys[i], c.Atomic))
	}
	if w.one(4) {
		c.IdempotencyKey = fmt.Appendf(nil, "%016d", op.number)
		c.RequestHash = c.IdempotencyKey
	}
	return c
}

func (w *simWorld) newChange(op *simOp, key string, atomic bool) *fsmpb.Op {
	o := &fsmpb.Op{Kind: fsmpb.Op_SET, Key: key, Value: fmt.Append(nil, op.number)}
	switch {
	case w.one(5):
		o.Kind, o.Value = fsmpb.Op_DELETE, nil
	case atomic && w.one(4):
		o.Kind, o.Value = fsmpb.Op_CHECK, nil
	case w.one(3):
		o.Ttl = (time.Duration(1+w.rng.IntN(3000)) * time.Millisecond).Microseconds()
	}
	switch {
	case w.one(3):
		o.Condition, o.ExpectedVersion = fsmpb.Op_AT_VERSION, w.check.version(op.ns, key)
	case w.one(10):
		o.Condition = fsmpb.Op_EXISTS
	}
	return o
}

// try makes one attempt at op, at that node.
func (w *simWorld) try(op *simOp, s *simNode) {
	ctx, cancel := context.WithCancel(context.Background())
	op.node, op.running, op.orphan, op.stage, op.cancel, op.heard = s.id, true, false, simJoined, cancel, simHeard{}
	n := s.real
	go func() {
		var h simHeard
		if op.command != nil {
			h.answer, h.err = n.Propose(ctx, op.command)
		} else if h.err = n.ReadIndex(ctx); h.err == nil {
			h.page = simRead(n.State(), op)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		op.heard = h
		w.finished = append(w.finished, op)
	}()
}

func simRead(s *fsm.State, op *simOp) fsm.Page {
	if op.key == "" {
		return s.List(op.ns, fsm.Query{})
	}
	e, ok, at := s.Get(op.ns, op.key)
	if !ok {
		return fsm.Page{Point: at}
	}
	return fsm.Page{Entries: []fsm.Entry{e}, Point: at}
}

// hear takes what came back to clients, and has it checked.
func (w *simWorld) hear() {
	w.mu.Lock()
	finished, broken := w.finished, w.broken
	w.finished = nil
	w.mu.Unlock()
	w.check.that(broken == nil, "%v", broken)
	slices.SortFunc(finished, func(a, b *simOp) int { return cmp.Compare(a.number, b.number) })
	for _, op := range finished {
		op.cancel()
		op.running = false
		w.hearOf(op)
	}
}

func (w *simWorld) hearOf(op *simOp) {
	switch err := op.heard.err; {
	case op.orphan, errors.Is(err, ErrOutcomeUnknown):
		op.unknown, op.failed = op.answer == nil, false
	case err != nil:
		op.failed = op.answer == nil && !op.unknown
	case op.command == nil:
		w.check.read(op)
	default:
		w.check.wrote(op)
		op.unknown, op.failed = false, false
	}
	a := op.heard.answer
	w.note(uint64(op.number), a.GetRevision(), op.heard.page.Point.Revision, uint64(len(op.heard.page.Entries)))
}

// lose has a client give up waiting.
func (w *simWorld) lose() bool {
	c := w.clients[w.rng.IntN(len(w.clients))]
	if c.op == nil || !c.op.running {
		return false
	}
	c.op.cancel()
	return true
}

// watch has a client read on in the history, at any node.
func (w *simWorld) watch() bool {
	c, s := w.clients[w.rng.IntN(len(w.clients))], w.up()
	if s == nil {
		return false
	}
	changes, ok := s.real.State().Changes(c.cursor, 1+w.rng.IntN(5))
	if !ok {
		c.cursor = w.check.resync(s.real.State(), c.cursor)
		return true
	}
	w.check.that(len(changes) > 0 || s.real.State().Point().Revision <= c.cursor, "a follower at revision %d is told nothing, and node %d has more", c.cursor, s.id)
	for _, change := range changes {
		c.cursor++
		w.check.told(c.cursor, change)
	}
	if w.one(50) {
		c.cursor = w.rng.Uint64N(c.cursor + 1)
	}
	return true
}

// How far a read has come at its node.
const (
	simJoined = iota // the round after the present one
	simAsking        // its round has begun
	simAsked         // it waits until its index is applied
)

// roundMoves takes note that the node's reads have come from one stage to the
// next.
func (w *simWorld) roundMoves(node, from int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, op := range w.ops {
		if op.command == nil && op.running && op.node == node && op.stage == from {
			op.stage++
		}
	}
}

// failRound gives up the reads of a round that failed, unless there is only one
// and none waits for the next round: which of them the next would be for is for
// the runtime to decide.
func (w *simWorld) failRound(node int) {
	var asking []*simOp
	others := false
	for _, op := range w.ops {
		if op.command == nil && op.running && op.node == node {
			others = others || op.stage == simJoined
			if op.stage == simAsking {
				asking = append(asking, op)
			}
		}
	}
	for _, op := range asking {
		if op.stage = simJoined; others || len(asking) > 1 {
			op.cancel()
		}
	}
	w.settle()
}
