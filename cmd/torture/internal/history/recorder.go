package history

import (
	"bufio"
	"encoding/json"
	"maps"
	"os"
	"slices"
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
	return &Recorder{start: time.Now(), history: History{Final: map[string][]Entry{}, Subscribers: map[string]Subscriber{}}}
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

// Subscriber records that there is one, which may never record an event, and
// begins now.
func (r *Recorder) Subscriber(name string, s Subscriber) {
	s.Begun = r.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.history.Subscribers[name] = s
}

// Followed returns the workflows that have a subscriber who follows them to
// the end.
func (r *Recorder) Followed() []Subscriber {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := map[string]Subscriber{}
	for _, s := range r.history.Subscribers {
		if s.Follows {
			seen[s.Workflow] = s
		}
	}
	return slices.Collect(maps.Values(seen))
}

// Reach records how many changes every node remembers at least.
func (r *Recorder) Reach(changes uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.history.Reach = changes
}

// Remembered is how many changes every node remembers at least.
func (r *Recorder) Remembered() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.history.Remembered()
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

// Save writes operations, events and last all else as lines of JSON.
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
	if err := enc.Encode(rest{h.Final, h.Subscribers, h.Drifts, h.Slack, h.Reach}); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Close()
}

// rest is what a history has beside operations and events.
type rest struct {
	Final       map[string][]Entry    `json:"final"`
	Subscribers map[string]Subscriber `json:"subscribers"`
	Drifts      []Drift               `json:"drifts,omitempty"`
	Slack       int                   `json:"slack,omitempty"`
	Reach       uint64                `json:"reach,omitempty"`
}
