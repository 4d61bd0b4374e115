package fsm

import (
	"github.com/stateraft/stateraft/fsm/fsmpb"
)

// Change is one change of one key. It must not be modified.
type Change struct {
	Type        fsmpb.Change_Type
	Revision    uint64
	Version     uint64
	Namespace   string
	Key         string
	Old         []byte // nil: there was no value
	New         []byte // nil: there is none
	First, Last uint64 // revisions of the atomic write it is part of, or 0
	Time        int64  // cluster time, µs
}

// history holds the last changes: revisions base+1 to base+len.
type history struct {
	base  uint64
	queue queue[Change]
	bytes uint64
}

// changeOverhead is what a change takes in memory beside its key and values.
const changeOverhead = 160

func (c *Change) cost() uint64 {
	return changeOverhead + uint64(len(c.Key)+len(c.Old)+len(c.New))
}

// record gives c the next revision and the present time and remembers it.
func (d *data) record(c *Change) {
	d.revision++
	c.Revision, c.Time = d.revision, d.clock
	d.history.push(c)
	d.history.trim(d.settings)
}

func (h *history) push(c *Change) {
	h.queue.push(c)
	h.bytes += c.cost()
}

// trim forgets the oldest changes beyond the limits.
func (h *history) trim(limits *fsmpb.Settings) {
	for h.queue.len() > 0 && (uint64(h.queue.len()) > limits.HistoryEvents || h.bytes > limits.HistoryBytes) {
		c := h.queue.pop()
		h.base = c.Revision
		h.bytes -= c.cost()
	}
}

// Changes returns the changes after revision, oldest first, at most n. It
// reports false if the history no longer reaches back to them.
func (s *State) Changes(after uint64, n int) ([]*Change, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	h := &s.history
	if after < h.base {
		return nil, false
	}
	from := after - h.base
	if from >= uint64(h.queue.len()) {
		return nil, true
	}
	n = min(n, h.queue.len()-int(from))
	changes := make([]*Change, n)
	for i := range changes {
		changes[i] = h.queue.at(int(from) + i)
	}
	return changes, true
}
