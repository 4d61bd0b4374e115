package stream

import (
	"slices"
	"strconv"
	"sync"

	"github.com/stateraft/stateraft/fsm"
)

// The blocks of a stream that are not events of changes.
const (
	// RetryBlock opens every stream: the ms that a client waits before it
	// connects again.
	RetryBlock = "retry: 1000\n\n"

	resyncBlock  = "event: resync\ndata: {}\n\n"
	aliveComment = ": keep-alive\n"
)

var keepAliveBlock = []byte(aliveComment + "\n")

// opening begins a stream that tells what comes after revision. A block
// without data is no event, but the client remembers its id.
func opening(revision uint64) []byte {
	return append(appendID([]byte("retry: 1000\n"), revision), '\n')
}

// keepAlive is a keep-alive that also moves the client's last event id on, so
// that the history goes on reaching readers of keys that rarely change.
func keepAlive(revision uint64) []byte {
	return append(appendID([]byte(aliveComment), revision), '\n')
}

func synced(revision uint64) []byte {
	b := appendID([]byte("event: synced\n"), revision)
	b = append(b, `data: {"revision":`...)
	b = strconv.AppendUint(b, revision, 10)
	return append(b, "}\n\n"...)
}

func appendID(b []byte, revision uint64) []byte {
	b = append(b, "id: "...)
	b = strconv.AppendUint(b, revision, 10)
	return append(b, '\n')
}

var dataField, blockEnd = []byte("data: "), []byte("\n\n")

// block returns the event of a change, in pieces.
func (h *Hub) block(c *fsm.Change) [][]byte {
	head := append(appendID(nil, c.Revision), dataField...)
	return append(append([][]byte{head}, h.cfg.Change(c)...), blockEnd)
}

// entryBlock returns the event of a present key, in pieces. It has no id: only
// the end of the sequence has one.
func (h *Hub) entryBlock(e *fsm.Entry) [][]byte {
	return append(append([][]byte{dataField}, h.cfg.Entry(e)...), blockEnd)
}

// An event is a change on its way to the subscribers of all shards. Its bytes
// are made when the first of them wants it.
type event struct {
	*fsm.Change
	once sync.Once
	data []byte
}

func (e *event) bytes(h *Hub) []byte {
	e.once.Do(func() { e.data = slices.Concat(h.block(e.Change)...) })
	return e.data
}

// join returns the bytes of events that follow each other.
func join(h *Hub, events []*event) []byte {
	if len(events) == 1 {
		return events[0].bytes(h)
	}
	n := 0
	for _, e := range events {
		n += len(e.bytes(h))
	}
	b := make([]byte, 0, n)
	for _, e := range events {
		b = append(b, e.data...)
	}
	return b
}

// appendWindow appends what stands behind the first skip bytes of the pieces,
// as far as b's capacity goes. It returns how much that was, and whether
// nothing is left.
func appendWindow(b []byte, pieces [][]byte, skip int) (out []byte, taken int, all bool) {
	for _, p := range pieces {
		if skip >= len(p) {
			skip -= len(p)
			continue
		}
		p = p[skip:]
		skip = 0
		n := min(len(p), cap(b)-len(b))
		b = append(b, p[:n]...)
		taken += n
		if n < len(p) {
			return b, taken, false
		}
	}
	return b, taken, true
}
