package stream

import (
	"time"

	"github.com/stateraft/stateraft/fsm"
)

// Most of a batch. The changes of one atomic write (at most 128) are never
// spread over two batches.
const (
	batchChanges = 1024
	batchBytes   = 4 << 20 // of values; a batch ends with the write that passes it
)

// A batch is what all shards deliver next: the changes after one revision and
// up to another.
type batch struct {
	after, last uint64
	events      []event
	lost        bool      // the history did not reach back to after
	applied     time.Time // when the first of the changes was made here, at the earliest
}

// pump hands all changes after cursor to the shards, as they are made. While
// the shards are busy it waits, and the next batch is the larger for it.
func (h *Hub) pump(cursor uint64) {
	looked := time.Now()
	for {
		level := h.cfg.Source.State().Point().Revision <= cursor
		if err := h.cfg.Source.WaitChange(h.ctx, cursor); err != nil {
			h.End() // nothing more will be told: clients are to look elsewhere
			return
		}
		applied := looked
		if level {
			applied = time.Now()
		}
		looked = time.Now()
		b := h.gather(cursor)
		b.applied = applied
		cursor = b.last
		for _, sh := range h.shards {
			select {
			case sh.batches <- b:
			case <-h.ctx.Done():
				return
			}
		}
	}
}

// gather reads the next batch from the history.
func (h *Hub) gather(after uint64) *batch {
	state := h.cfg.Source.State()
	changes, ok := state.Changes(after, batchChanges)
	if !ok {
		return &batch{after: after, last: state.Point().Revision, lost: true}
	}
	changes = changes[:fitting(changes)]
	b := &batch{after: after, last: after, events: make([]event, len(changes))}
	for i, c := range changes {
		b.events[i].Change = c
		b.last = c.Revision
	}
	return b
}

// fitting returns how many of the changes make one batch.
func fitting(changes []*fsm.Change) int {
	bytes, whole := 0, 0 // whole: up to where no atomic write is cut
	for i, c := range changes {
		bytes += len(c.Old) + len(c.New)
		if c.Last == 0 || c.Last == c.Revision {
			whole = i + 1
			if bytes >= batchBytes {
				break
			}
		}
	}
	if whole == 0 {
		return len(changes) // a write larger than a batch
	}
	return whole
}
