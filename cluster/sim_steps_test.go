package cluster

import (
	"fmt"
	"slices"
	"time"

	"github.com/stateraft/stateraft/fsm"
)

// A simStep is something that can happen. do returns false if it cannot at the
// moment; then something else does.
type simStep struct {
	do     func(*simWorld) bool
	weight int
	fault  bool // each schedule has its own share of them
}

var simSteps = []simStep{
	{(*simWorld).act, 60, false},
	{(*simWorld).watch, 15, false},
	{(*simWorld).openGate, 150, false},
	{(*simWorld).deliverCall, 100, false},
	{(*simWorld).deliverAnswer, 100, false},
	{(*simWorld).deliverMessage, 200, false},
	{(*simWorld).replicate, 120, false},
	{(*simWorld).apply, 120, false},
	{(*simWorld).elect, 8, false},
	{(*simWorld).tellTurn, 60, false},
	{(*simWorld).tellLeader, 60, false},
	{(*simWorld).freeze, 6, false},
	{(*simWorld).persist, 8, false},
	{(*simWorld).writeNotes, 10, false},
	{(*simWorld).restart, 12, false},
	{(*simWorld).heal, 8, false},

	{(*simWorld).lose, 2, true},
	{(*simWorld).breakCall, 4, true},
	{(*simWorld).dropMessage, 10, true},
	{(*simWorld).doubleMessage, 6, true},
	{(*simWorld).stand, 1, true},
	{(*simWorld).resign, 1, true},
	{(*simWorld).crash, 2, true},
	{(*simWorld).crashAll, 1, true},
	{(*simWorld).cutLink, 2, true},
}

// newWeights returns how likely each step is. In one schedule in four all is
// well; in the others each kind of fault is rare, as usual, or frequent.
func (w *simWorld) newWeights() (weights []int) {
	well := w.one(4)
	for _, s := range simSteps {
		weight := 4 * s.weight
		if s.fault {
			weight = s.weight * []int{0, 1, 4, 12}[w.rng.IntN(4)]
			if well {
				weight = 0
			}
		}
		weights = append(weights, weight)
	}
	return weights
}

// step lets one thing happen, and then time pass.
func (w *simWorld) step() {
	i := w.draw()
	if !simSteps[i].do(w) {
		return
	}
	w.settle()
	w.hear()
	w.sweep()
	w.noteFirst()
	w.steps++
	w.note(uint64(i))
	for _, s := range w.nodes {
		w.note(s.raft.term, s.raft.last(), s.raft.commit, s.raft.applied)
	}
	w.note(uint64(len(w.wire)), uint64(len(w.calls)), uint64(len(w.gates)))
	if w.one(3) {
		w.sleep(w.pause())
	}
}

// noteFirst has each process make its first note as soon as it can.
func (w *simWorld) noteFirst() {
	for _, s := range w.nodes {
		if s.real != nil && s.note == nil && s.writeNotes() {
			s.noted = true
		}
	}
	w.check.founded = !slices.ContainsFunc(w.nodes, func(s *simNode) bool { return !s.noted })
}

// draw returns a step, by weight.
func (w *simWorld) draw() (i int) {
	sum := 0
	for _, weight := range w.weights {
		sum += weight
	}
	for n := w.rng.IntN(sum); n >= w.weights[i]; i++ {
		n -= w.weights[i]
	}
	return i
}

// pause is mostly short, so that little times out and much happens at once.
func (w *simWorld) pause() time.Duration {
	longest := 4 * time.Millisecond
	switch w.rng.IntN(40) {
	case 0:
		longest = 2 * time.Second
	case 1, 2, 3:
		longest = 100 * time.Millisecond
	}
	return 1 + time.Duration(w.rng.Int64N(int64(longest)))
}

// pick returns one of those in list that ok accepts.
func pick[T any](w *simWorld, list []T, ok func(T) bool) (picked T, found bool) {
	n := 0
	for _, v := range list {
		if ok(v) {
			if n++; w.one(n) {
				picked = v
			}
		}
	}
	return picked, n > 0
}

func (w *simWorld) openGate() bool {
	g, ok := pick(w, w.gates, func(g *simGate) bool {
		return g.place != simSend || w.nodes[g.node].real.leaders.current().id != ""
	})
	if !ok && w.one(20) { // an attempt without a leader ends, too
		g, ok = pick(w, w.gates, func(*simGate) bool { return true })
		if ok {
			w.release(g, false)
		}
		return ok
	}
	if ok {
		w.release(g, true)
	}
	return ok
}

func (w *simWorld) linked(from, to int) bool {
	return !w.cut[from][to] && w.nodes[from].real != nil && w.nodes[to].real != nil
}

func (w *simWorld) deliverCall() bool {
	c, ok := pick(w, w.calls, func(c *simCall) bool { return c.left && !w.cut[c.from][c.to] && w.nodes[c.to].real != nil })
	if ok {
		c.left = false
		w.carryOut(c)
	}
	return ok
}

func (w *simWorld) deliverAnswer() bool {
	c, ok := pick(w, w.calls, func(c *simCall) bool { return c.waiting && c.resp != nil && w.linked(c.to, c.from) })
	if ok {
		w.answer(c, c.resp, nil)
	}
	return ok
}

// breakCall ends a connection: what was not carried out yet may be later, or the
// caller learns that it never will.
func (w *simWorld) breakCall() bool {
	c, ok := pick(w, w.calls, func(c *simCall) bool { return c.waiting })
	if !ok {
		return false
	}
	if err := errBroken; c.left && w.one(2) {
		c.left, err = false, errNotSent
		w.answer(c, nil, err)
	} else {
		w.answer(c, nil, err)
	}
	return true
}

func (w *simWorld) take(i int) simMessage {
	m := w.wire[i]
	w.wire = slices.Delete(w.wire, i, i+1)
	return m
}

func (w *simWorld) deliverMessage() bool {
	if len(w.wire) == 0 {
		return false
	}
	i := 0
	if w.one(3) {
		i = w.rng.IntN(len(w.wire))
	}
	if m := w.take(i); w.linked(m.from, m.to) {
		w.nodes[m.to].raft.receive(m)
	}
	return true
}

func (w *simWorld) dropMessage() bool {
	if len(w.wire) > 0 {
		w.take(w.rng.IntN(len(w.wire)))
		return true
	}
	return false
}

func (w *simWorld) doubleMessage() bool {
	if len(w.wire) > 0 {
		w.post(w.wire[w.rng.IntN(len(w.wire))])
		return true
	}
	return false
}

func (w *simWorld) leading(s *simNode) bool { return s.real != nil && s.raft.leading }

func (w *simWorld) replicate() bool {
	s, ok := pick(w, w.nodes, w.leading)
	if !ok {
		return false
	}
	if to := w.rng.IntN(len(w.nodes)); to != s.id {
		s.raft.replicate(to, 1+w.rng.IntN(4))
	}
	return true
}

func (w *simWorld) apply() bool {
	s, ok := pick(w, w.nodes, func(s *simNode) bool { return s.real != nil && s.raft.applied < s.raft.commit })
	if ok {
		s.raft.apply(1 + w.rng.IntN(3))
	}
	return ok
}

// elect has a node stand that follows nobody who leads.
func (w *simWorld) elect() bool {
	s, ok := pick(w, w.nodes, func(s *simNode) bool { return s.real != nil })
	if !ok || s.raft.leader >= 0 && w.linked(s.raft.leader, s.id) && w.leading(w.nodes[s.raft.leader]) {
		return false
	}
	s.raft.stand()
	return true
}

func (w *simWorld) stand() bool {
	s := w.up()
	if s == nil || s.raft.leading {
		return false
	}
	s.raft.stand()
	return true
}

// resign is the end of a leader's lease: it steps down in its term.
func (w *simWorld) resign() bool {
	s, ok := pick(w, w.nodes, w.leading)
	if ok {
		s.raft.follow(s.raft.term)
	}
	return ok
}

func (w *simWorld) tellTurn() bool {
	s, ok := pick(w, w.nodes, func(s *simNode) bool { return s.real != nil && len(s.raft.notices) > 0 })
	if ok {
		s.real.leadership.notify <- s.raft.notices[0]
		s.raft.notices = s.raft.notices[1:]
	}
	return ok
}

func (w *simWorld) tellLeader() bool {
	s, ok := pick(w, w.nodes, func(s *simNode) bool { return s.real != nil && s.raft.newsLeader })
	if ok {
		s.raft.newsLeader = false
		s.real.leaders.refresh()
	}
	return ok
}

func (w *simWorld) freeze() bool {
	s := w.up()
	if s == nil || s.image != nil || s.raft.applied == 0 {
		return false
	}
	s.freeze()
	return true
}

func (w *simWorld) persist() bool {
	s, ok := pick(w, w.nodes, func(s *simNode) bool { return s.real != nil && s.image != nil })
	if ok {
		s.persist(w.rng.Uint64N(5))
	}
	return ok
}

func (w *simWorld) writeNotes() bool {
	s := w.up()
	return s != nil && s.writeNotes()
}

func (w *simWorld) crash() bool {
	s := w.up()
	if s == nil {
		return false
	}
	s.stop(w.one(3))
	return true
}

func (w *simWorld) crashAll() bool {
	if !w.one(4) {
		return false
	}
	reboot := w.one(3)
	for _, s := range w.nodes {
		if s.real != nil {
			s.stop(reboot)
		}
	}
	return true
}

func (w *simWorld) restart() bool {
	s, ok := pick(w, w.nodes, func(s *simNode) bool { return s.real == nil })
	if ok {
		s.start()
	}
	return ok
}

func (w *simWorld) cutLink() bool {
	from, to := w.rng.IntN(len(w.nodes)), w.rng.IntN(len(w.nodes))
	w.cut[from][to] = from != to
	if w.one(2) {
		w.cut[to][from] = from != to
	}
	return true
}

// heal mends one link, or all.
func (w *simWorld) heal() bool {
	if w.one(4) {
		w.healAll()
		return true
	}
	from, to := w.rng.IntN(len(w.nodes)), w.rng.IntN(len(w.nodes))
	healed := w.cut[from][to]
	w.cut[from][to] = false
	return healed
}

func (w *simWorld) healAll() {
	for _, row := range w.cut {
		clear(row)
	}
}

// calm ends all faults, and then everything that is under way must end, too:
// every operation, every lag, and every key that has a deadline.
func (w *simWorld) calm() {
	w.healAll()
	for _, s := range w.nodes {
		if s.real == nil {
			s.start()
			w.settle()
		}
	}
	w.calmUntil("the operations end", w.isIdle)
	w.check.calm, w.check.late = w.check.oracle.Clock()+time.Second.Microseconds(), 100*time.Millisecond
	w.calmUntil("the keys with a deadline end", func() bool {
		_, due := w.check.oracle.NextDeadline()
		return !due && w.isIdle()
	})
}

func (w *simWorld) calmUntil(what string, done func() bool) {
	const most = 3000
	for i := range most {
		if done() {
			return
		}
		w.calmRound(i)
	}
	w.check.that(false, "after %d rounds without faults it is not so that %s: %s", most, what, w.picture())
}

// calmRound lets everything move once.
func (w *simWorld) calmRound(i int) {
	leader := slices.IndexFunc(w.nodes, func(s *simNode) bool { return w.leading(s) && s.raft.term == w.newestTerm() })
	if leader < 0 && i%10 == 0 {
		w.nodes[w.rng.IntN(len(w.nodes))].raft.stand()
	}
	if leader >= 0 {
		for to := range w.nodes {
			if to != leader {
				w.nodes[leader].raft.replicate(to, 16)
			}
		}
		w.nodes[leader].raft.advance()
	}
	w.drain(w.deliverMessage)
	for _, s := range w.nodes {
		for s.raft.applied < s.raft.commit {
			s.raft.apply(16)
		}
	}
	w.drain(w.tellTurn)
	w.drain(w.tellLeader)
	w.drain(w.deliverCall)
	w.drain(w.deliverAnswer)
	for range w.gates {
		w.openGate()
		w.settle()
	}
	w.sleep(time.Duration(4+w.rng.IntN(8)) * time.Millisecond)
	w.hear()
	w.sweep()
}

func (w *simWorld) drain(step func() bool) {
	for range 1000 {
		if !step() {
			return
		}
		w.settle()
	}
}

func (w *simWorld) newestTerm() (term uint64) {
	for _, s := range w.nodes {
		term = max(term, s.raft.term)
	}
	return term
}

// isIdle reports whether nothing is under way and all nodes have everything.
func (w *simWorld) isIdle() bool {
	for _, op := range w.ops {
		if op.running {
			return false
		}
	}
	end := w.nodes[0].raft.end()
	for _, s := range w.nodes {
		if s.raft.end() != end || s.raft.applied != end.index {
			return false
		}
	}
	return slices.ContainsFunc(w.nodes, func(s *simNode) bool { return s.real.Leading() })
}

// picture is for whoever looks at a violation.
func (w *simWorld) picture() string {
	text := fmt.Sprintf("%d calls, %d gates", len(w.calls), len(w.gates))
	for _, s := range w.nodes {
		st := fsm.Stats{}
		if s.real != nil {
			st = s.real.state.Stats()
		}
		text += fmt.Sprintf("\nnode %d: up %v, leads %v, term %d, log %d to %d, committed %d, applied %d, revision %d, leader %d",
			s.id, s.real != nil, s.raft.leading, s.raft.term, s.raft.base.index, s.raft.last(), s.raft.commit, s.raft.applied, st.Revision, s.raft.leader)
	}
	return text
}
