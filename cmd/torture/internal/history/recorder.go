package history

import (
	"bufio"
	"encoding/json"
	"os"
	"sync"
	"time"
)

// limit bounds the operations and the events that a run records, each.
const limit = 5_000_000

// Recorder collects a history. Any goroutine may use it.
type Recorder struct {
	start time.Time

	mu      sync.Mutex // guards everything below
	history History
	clients int
	full    bool
}

// NewRecorder begins a history, at time 0.
func NewRecorder() *Recorder {
	return &Recorder{start: time.Now(), history: History{Final: map[string][]Entry{}, Subscribers: map[string]string{}}}
}

// Now returns the monotonic time since the start.
func (r *Recorder) Now() time.Duration { return time.Since(r.start) }

// NewClient returns a number that no other client has.
func (r *Recorder) NewClient() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clients++
	return r.clients
}

// Op records an operation that has returned.
func (r *Recorder) Op(op Op) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.full = r.full || len(r.history.Ops) >= limit; !r.full {
		r.history.Ops = append(r.history.Ops, op)
	}
}

// Event records an event that has arrived.
func (r *Recorder) Event(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.full = r.full || len(r.history.Events) >= limit; !r.full {
		r.history.Events = append(r.history.Events, e)
	}
}

// Subscriber records that there is one, which may never record an event.
func (r *Recorder) Subscriber(name, workflow string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.history.Subscribers[name] = workflow
}

// Final records what a node holds at the end.
func (r *Recorder) Final(node string, entries []Entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.history.Final[node] = entries
}

// Full reports whether something could not be recorded: such a history is
// good for nothing.
func (r *Recorder) Full() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.full
}

// History returns what has been recorded. Nobody records any more.
func (r *Recorder) History() *History {
	r.mu.Lock()
	defer r.mu.Unlock()
	return &r.history
}

// Save writes operations and events as lines of JSON.
func (h *History) Save(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	enc := json.NewEncoder(w)
	for _, op := range h.Ops {
		if err := enc.Encode(op); err != nil {
			return err
		}
	}
	for _, e := range h.Events {
		if err := enc.Encode(e); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Close()
}
