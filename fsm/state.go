package fsm

import (
	"sync"
	"time"

	"github.com/stateraft/stateraft/fsm/fsmpb"
)

// State is the replicated state. Apply, Members and Restore are called by one
// goroutine; all other methods may be called by any number of others at the
// same time.
type State struct {
	maxVersion uint32

	mu sync.RWMutex // guards data
	data
}

// data is everything that entries change. Its methods require State.mu, or a
// data that nobody else has.
type data struct {
	version  uint32 // the cluster's protocol version
	index    uint64 // last entry applied
	revision uint64 // last change made
	clock    int64  // cluster time, µs
	offset   int64  // wall clock minus cluster time, µs
	settings *fsmpb.Settings

	contents
	staging  *staging        // of the restore under way; nil: none is
	restored *fsmpb.Restored // the last restore; nil: there was none

	history  history
	records  records
	sessions []*session // by number
}

// New returns an empty State.
func New() *State {
	return &State{maxVersion: MaxVersion, data: newData()}
}

// Speak sets the newest protocol version that the state accepts: tests of
// upgrades lower or raise it. Call it before the first Apply.
func (s *State) Speak(maxVersion uint32) { s.maxVersion = maxVersion }

func newData() data {
	return data{
		version:  MinVersion,
		settings: DefaultSettings(),
		contents: newContents(),
		records:  newRecords(),
	}
}

// DefaultSettings are in force until a leader announces others.
func DefaultSettings() *fsmpb.Settings {
	return &fsmpb.Settings{
		HistoryEvents:  100_000,
		HistoryBytes:   64 << 20,
		FloorRetention: (7 * 24 * time.Hour).Microseconds(),
	}
}

// live reports whether k is present for readers.
func (d *data) live(k *key) bool { return k.deadline == 0 || k.deadline > d.clock }

// get returns the key for readers: absent once its deadline has come.
func (d *data) get(ns, name string) (*key, bool) {
	k, ok := d.keys.Get(&key{ns: ns, name: name})
	return k, ok && d.live(k)
}

// shown turns cluster time into the instant that users see; 0 is none.
func (d *data) shown(t int64) time.Time {
	if t == 0 {
		return time.Time{}
	}
	return time.UnixMicro(t + d.offset).UTC()
}
