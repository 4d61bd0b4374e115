package fsm

import (
	"bytes"
	"slices"

	"github.com/stateraft/stateraft/fsm/fsmpb"
)

// Window is how many sequences from low on a session may use at a time.
const Window = 16

// A session is one node's exactly-once channel into the log. It lasts until
// the node opens another or leaves the configuration.
type session struct {
	number  uint64 // index of the entry that opened it
	bootID  []byte
	node    *fsmpb.Node
	low     uint64                        // sequences below are settled
	answers map[uint64]*fsmpb.BatchAnswer // by sequence, low … low+Window-1
}

// openSession begins a session for the node, in place of the one it had, and
// returns its number. The same boot id finds the session that it opened.
func (d *data) openSession(index uint64, o *fsmpb.OpenSession) uint64 {
	for i, s := range d.sessions {
		if s.node.GetId() != o.Node.GetId() {
			continue
		}
		if bytes.Equal(s.bootID, o.BootId) {
			return s.number
		}
		d.sessions = slices.Delete(d.sessions, i, i+1)
		break
	}
	d.sessions = append(d.sessions, &session{
		number: index, bootID: o.BootId, node: o.Node,
		answers: make(map[uint64]*fsmpb.BatchAnswer),
	})
	return index
}

// endSessions ends the sessions of nodes that are not in ids.
func (d *data) endSessions(ids []string) {
	d.sessions = slices.DeleteFunc(d.sessions, func(s *session) bool {
		return !slices.Contains(ids, s.node.GetId())
	})
}

func (d *data) session(number uint64) *session {
	i, ok := slices.BinarySearchFunc(d.sessions, number, func(s *session, n uint64) int {
		switch {
		case s.number < n:
			return -1
		case s.number > n:
			return 1
		}
		return 0
	})
	if !ok {
		return nil
	}
	return d.sessions[i]
}

// applyBatch executes b unless it was executed before, in which case it gives
// the same answer, or can no longer be told apart from one that was.
func (d *data) applyBatch(b *fsmpb.Batch) *fsmpb.BatchAnswer {
	s := d.session(b.Session)
	if s == nil {
		return &fsmpb.BatchAnswer{Refusal: fsmpb.BatchAnswer_UNKNOWN_SESSION}
	}
	if b.Sequence < s.low {
		return &fsmpb.BatchAnswer{Refusal: fsmpb.BatchAnswer_SEQUENCE_SETTLED}
	}
	s.settle(min(b.Low, b.Sequence))
	if b.Sequence-s.low >= Window {
		return &fsmpb.BatchAnswer{Refusal: fsmpb.BatchAnswer_SEQUENCE_AHEAD}
	}
	if a, ok := s.answers[b.Sequence]; ok {
		return a
	}
	a := &fsmpb.BatchAnswer{Answers: make([]*fsmpb.Answer, len(b.Commands))}
	for i, c := range b.Commands {
		a.Answers[i] = d.execute(c)
	}
	s.answers[b.Sequence] = a
	return a
}

// settle forgets the answers to sequences below low, which only rises.
func (s *session) settle(low uint64) {
	if low-s.low > Window && low > s.low {
		clear(s.answers)
		s.low = low
	}
	for ; s.low < low; s.low++ {
		delete(s.answers, s.low)
	}
}

// Nodes returns what the nodes with a session said of themselves, by session.
func (s *State) Nodes() []*fsmpb.Node {
	s.mu.RLock()
	defer s.mu.RUnlock()
	nodes := make([]*fsmpb.Node, len(s.sessions))
	for i, se := range s.sessions {
		nodes[i] = se.node
	}
	return nodes
}
