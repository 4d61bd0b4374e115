package fsm

import "time"

// Entry is a key as a reader sees it. Value must not be modified.
type Entry struct {
	Namespace string
	Key       string
	Value     []byte // JSON, as it was sent less insignificant white space
	Version   uint64
	Revision  uint64    // of the change that wrote it
	CreatedAt time.Time // of the key's present life
	UpdatedAt time.Time
	ExpiresAt time.Time // zero: no expiry
	SessionID string    // of the last writer; may be empty
}

// Point says which state an answer comes from.
type Point struct {
	Index    uint64 // last log entry applied
	Revision uint64 // last change made
}

// Query selects keys of one namespace, in byte order.
type Query struct {
	Prefix    string
	After     string // exclusive, in the direction of the list; empty: from its start
	Reverse   bool
	Limit     int     // most entries; 0: all
	MaxBytes  int     // stop once keys and values passed this many bytes; 0: never
	SessionID *string // only keys last written by this session

	// Admit is asked once before n entries are made, which is where a long list
	// takes its memory: if it says no, none are. For a list that may be long it is
	// asked without a lock, for others with one that holds up Apply. nil: any
	// number.
	Admit func(n int) bool
}

// Page is what a Query found.
type Page struct {
	Entries []Entry
	More    bool // the list was cut; the last entry's key goes into After
	Refused bool // by Admit: there are no entries
	Point   Point
}

// Get returns the key as it is now; false if it is absent.
func (s *State) Get(ns, name string) (Entry, bool, Point) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	k, ok := s.get(ns, name)
	if !ok {
		return Entry{}, false, s.where()
	}
	return s.entry(k), true, s.where()
}

// GetAll returns keys of ns, all from one state. Of those that are absent the
// entry's version is 0.
func (s *State) GetAll(ns string, names []string) ([]Entry, Point) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	entries := make([]Entry, len(names))
	for i, name := range names {
		if k, ok := s.get(ns, name); ok {
			entries[i] = s.entry(k)
		}
	}
	return entries, s.where()
}

// Point returns where the state stands.
func (s *State) Point() Point {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.where()
}

// Shown returns the instant that users see for a cluster time in µs.
func (s *State) Shown(t int64) time.Time {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.shown(t)
}

func (d *data) where() Point { return Point{Index: d.index, Revision: d.revision} }

func (d *data) entry(k *key) Entry {
	return Entry{
		Namespace: k.ns, Key: k.name, Value: k.value,
		Version: k.version, Revision: k.revision, SessionID: k.sessionID,
		CreatedAt: d.shown(k.created), UpdatedAt: d.shown(k.updated), ExpiresAt: d.shown(k.deadline),
	}
}
