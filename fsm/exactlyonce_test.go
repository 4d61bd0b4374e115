package fsm

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/stateraft/stateraft/fsm/fsmpb"
)

// A world is a cluster cut down to what exactly-once rests on: a log that
// leaders put copies of batches into, nodes that apply it each at its own pace
// and restart from their snapshots, senders with the window protocol, and a
// network that loses, doubles, delays and reorders everything between them.
type world struct {
	t       testing.TB
	rng     *rand.Rand
	clock   int64
	log     []logged
	answers []Applied // of each entry, as the first node that applied it said
	nodes   []*replica
	senders []*sender
	wire    []packet
	ids     int // of commands
	boots   int
}

type replica struct {
	state    *State
	applied  int // entries of the log
	snapshot []byte
	at       int // entries that the snapshot covers
}

// A packet is one copy of something on its way to a leader.
type packet struct {
	open  *fsmpb.OpenSession
	batch *fsmpb.Batch
}

// A sender is one node's proposer.
type sender struct {
	node     string
	crashed  bool // at least once
	opening  *fsmpb.OpenSession
	session  uint64
	sequence uint64
	waiting  []int // commands that are not in a batch
	inFlight map[uint64]*flight

	answered map[int]*fsmpb.Answer
	unknown  []int // commands whose fate it cannot know
}

type flight struct {
	batch  *fsmpb.Batch
	ids    []int
	copies int // that left
}

const maxInFlight = 5

func newWorld(t testing.TB, rng *rand.Rand) *world {
	w := &world{t: t, rng: rng}
	for i := range 3 {
		w.nodes = append(w.nodes, &replica{state: New()})
		w.senders = append(w.senders, &sender{node: fmt.Sprint("n", i), inFlight: map[uint64]*flight{}, answered: map[int]*fsmpb.Answer{}})
	}
	return w
}

func (w *world) one(n int) bool { return w.rng.IntN(n) == 0 }

func (w *world) sender() *sender { return w.senders[w.rng.IntN(len(w.senders))] }

func (w *world) node() *replica { return w.nodes[w.rng.IntN(len(w.nodes))] }

// happen lets one thing happen somewhere.
func (w *world) happen() {
	switch w.rng.IntN(12) {
	case 0, 1:
		s := w.sender()
		s.waiting = append(s.waiting, w.ids)
		w.ids++
	case 2, 3:
		w.makeBatch(w.sender())
	case 4, 5:
		w.transmit(w.sender())
	case 6, 7, 8:
		w.deliver()
	case 9, 10:
		n := w.node()
		for range 1 + w.rng.IntN(4) {
			w.applyNext(n)
		}
	default:
		w.mishap()
	}
}

// mishap is what goes wrong now and then.
func (w *world) mishap() {
	n := w.node()
	switch w.rng.IntN(8) {
	case 0, 1:
		n.snapshot, n.at = save(w.t, n.state), n.applied
	case 2, 3:
		w.restart(n)
	case 4: // a snapshot is installed
		if from := w.node(); from.applied > n.applied {
			n.snapshot, n.at = save(w.t, from.state), from.applied
			w.restart(n)
		}
	case 5:
		w.putBack(w.sender())
	case 6:
		if s := w.senders[0]; w.one(3) { // the others live throughout
			s.crash()
		}
	case 7: // all that is on its way is lost
		if w.one(3) {
			w.wire = nil
		}
	}
}

func (w *world) restart(n *replica) {
	n.state, n.applied = New(), n.at
	if n.snapshot != nil {
		n.state = restored(w.t, n.snapshot)
	}
}

// makeBatch makes a batch of what waits, if the window has room.
func (w *world) makeBatch(s *sender) {
	if s.session == 0 || len(s.waiting) == 0 || len(s.inFlight) == maxInFlight {
		return
	}
	b := &fsmpb.Batch{Session: s.session, Sequence: s.sequence + 1, Low: s.sequence + 1}
	for seq := range s.inFlight {
		b.Low = min(b.Low, seq)
	}
	if b.Sequence >= b.Low+Window {
		return
	}
	s.sequence++
	f := &flight{batch: b}
	for len(s.waiting) > 0 && len(f.ids) < 3 {
		f.ids = append(f.ids, s.waiting[0])
		b.Commands = append(b.Commands, increment(s.waiting[0]))
		s.waiting = s.waiting[1:]
	}
	s.inFlight[b.Sequence] = f
}

// increment leaves two traces: its own key at version 1, and one version more
// of a key that all share.
func increment(id int) *fsmpb.Command {
	return command("w", set(fmt.Sprint("command", id), "1"), set("count", "1"))
}

// transmit sends a copy of something that is not answered.
func (w *world) transmit(s *sender) {
	if s.session == 0 && len(s.inFlight) == 0 {
		if s.opening == nil {
			w.boots++
			s.opening = opening(s.node, fmt.Sprint("boot", w.boots))
		}
		w.wire = append(w.wire, packet{open: s.opening})
		return
	}
	if f := w.anyFlight(s); f != nil {
		f.copies++
		w.wire = append(w.wire, packet{batch: f.batch})
	}
}

func (w *world) anyFlight(s *sender) *flight {
	for seq := s.sequence - min(s.sequence, w.rng.Uint64N(Window)); seq <= s.sequence; seq++ {
		if f := s.inFlight[seq]; f != nil {
			return f
		}
	}
	return nil
}

// putBack dissolves a batch of which no copy ever left; its sequence may be
// used again if it was the last.
func (w *world) putBack(s *sender) {
	f := w.anyFlight(s)
	if f == nil || f.copies > 0 {
		return
	}
	delete(s.inFlight, f.batch.Sequence)
	s.waiting = append(f.ids, s.waiting...)
	if s.sequence == f.batch.Sequence && s.session == f.batch.Session {
		s.sequence--
	}
}

// crash ends the process; the next one knows nothing of it.
func (s *sender) crash() {
	for _, f := range s.inFlight {
		s.unknown = append(s.unknown, f.ids...)
	}
	s.crashed = true
	s.session, s.sequence, s.opening, s.inFlight = 0, 0, nil, map[uint64]*flight{}
}

// deliver takes any copies off the wire, in any order: each is lost, or goes
// into the log, and may stay on the wire as well.
func (w *world) deliver() {
	w.clock += w.rng.Int64N(10)
	e := &fsmpb.Entry{Stamp: w.clock}
	for range 1 + w.rng.IntN(3) {
		if len(w.wire) == 0 {
			break
		}
		i := w.rng.IntN(len(w.wire))
		p := w.wire[i]
		if !w.one(4) {
			w.wire[i] = w.wire[len(w.wire)-1]
			w.wire = w.wire[:len(w.wire)-1]
		}
		switch {
		case w.one(5):
		case p.batch != nil:
			e.Batches = append(e.Batches, p.batch)
		default:
			e.OpenSession = p.open
		}
	}
	w.commit(e)
}

func (w *world) commit(e *fsmpb.Entry) {
	index := uint64(1)
	if len(w.log) > 0 {
		index = w.log[len(w.log)-1].index + 1 + w.rng.Uint64N(2)
	}
	w.log = append(w.log, logged{index: index, data: encode(w.t, e)})
}

// applyNext applies a node's next entry and tells the senders, or not.
func (w *world) applyNext(n *replica) {
	if n.applied == len(w.log) {
		return
	}
	l := w.log[n.applied]
	res := l.applyTo(w.t, n.state)
	n.applied++
	if n.applied > len(w.answers) {
		w.answers = append(w.answers, res)
	}
	first := w.answers[n.applied-1]
	if res.Session != first.Session || len(res.Batches) != len(first.Batches) {
		w.t.Errorf("entry %d: nodes say %v and %v", l.index, first, res)
	}
	e, err := decode(l.index, l.data, MaxVersion)
	if err != nil {
		w.t.Fatal(err)
	}
	for i, a := range res.Batches {
		if !proto.Equal(a, first.Batches[i]) {
			w.t.Errorf("entry %d: nodes say %v and %v", l.index, first.Batches[i], a)
		}
		if !w.one(3) {
			w.tell(e.Batches[i], a)
		}
	}
	if o := e.OpenSession; o != nil && !w.one(3) {
		for _, s := range w.senders {
			s.opened(o, res.Session)
		}
	}
}

func (s *sender) opened(o *fsmpb.OpenSession, session uint64) {
	if s.opening != nil && bytes.Equal(s.opening.BootId, o.BootId) {
		s.session, s.sequence, s.opening = session, 0, nil
	}
}

// tell brings an answer to whoever still waits for it.
func (w *world) tell(b *fsmpb.Batch, a *fsmpb.BatchAnswer) {
	for _, s := range w.senders {
		f := s.inFlight[b.Sequence]
		if f == nil || f.batch.Session != b.Session {
			continue
		}
		delete(s.inFlight, b.Sequence)
		if a.Refusal != fsmpb.BatchAnswer_NONE {
			s.unknown = append(s.unknown, f.ids...)
			if s.session == b.Session {
				s.session = 0
			}
			continue
		}
		for i, id := range f.ids {
			if s.answered[id] != nil {
				w.t.Errorf("command %d was answered twice", id)
			}
			s.answered[id] = a.Answers[i]
		}
	}
}

// settle lets everybody finish, then lets the network deliver all the old
// copies that it still has.
func (w *world) settle() {
	for busy := true; busy; {
		busy = false
		for _, s := range w.senders {
			if len(s.waiting)+len(s.inFlight) > 0 {
				busy = true
				w.makeBatch(s)
				w.transmit(s)
			}
		}
		w.deliver()
		w.catchUp()
	}
	for len(w.wire) > 0 {
		w.deliver()
	}
	w.catchUp()
}

func (w *world) catchUp() {
	for _, n := range w.nodes {
		for n.applied < len(w.log) {
			w.applyNext(n)
		}
	}
}

// judge checks that each command was executed once if it was answered, and
// otherwise at most once.
func (w *world) judge() {
	s := w.nodes[0].state
	for i, n := range w.nodes {
		if !bytes.Equal(save(w.t, n.state), save(w.t, s)) {
			w.t.Errorf("nodes 0 and %d differ", i)
		}
	}
	executed, ids := uint64(0), 0
	counts := map[uint64]bool{}
	for _, se := range w.senders {
		ids += len(se.answered) + len(se.unknown)
		for id, a := range se.answered {
			if got := showAnswer(a); len(a.Results) != 2 || a.Results[0].Version != 1 || counts[a.Results[1].Version] {
				w.t.Errorf("command %d was answered %s", id, got)
				continue
			}
			counts[a.Results[1].Version] = true
			if e, _, _ := s.Get("w", fmt.Sprint("command", id)); e.Version != 1 {
				w.t.Errorf("command %d was answered and executed %d times", id, e.Version)
			}
			executed++
		}
		for _, id := range se.unknown {
			e, ok, _ := s.Get("w", fmt.Sprint("command", id))
			if ok {
				executed++
			}
			if e.Version > 1 {
				w.t.Errorf("command %d was executed %d times", id, e.Version)
			}
		}
		if len(se.unknown) > 0 && !se.crashed {
			w.t.Errorf("%s lived throughout and does not know of %d commands", se.node, len(se.unknown))
		}
	}
	if e, _, _ := s.Get("w", "count"); e.Version != executed || ids != w.ids {
		w.t.Errorf("%d executions of %d commands, counted %d of %d", e.Version, w.ids, executed, ids)
	}
}

// Whatever the network and the nodes do, a command is executed once and its
// sender learns the answer; if the sender's process dies, at most once.
func TestExactlyOnce(t *testing.T) {
	eachSeed(t, 4, func(t *testing.T, rng *rand.Rand) {
		w := newWorld(t, rng)
		for range 3000 {
			w.happen()
		}
		w.settle()
		w.judge()
		if w.ids < 300 {
			t.Errorf("only %d commands were sent", w.ids)
		}
	})
}
