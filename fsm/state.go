package fsm

import (
	"strings"
	"sync"
	"time"

	"github.com/tidwall/btree"

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

	keys    *btree.BTreeG[*key]   // by namespace and key; also those that are due but not yet ended
	due     *btree.BTreeG[*key]   // those with a deadline, by deadline
	floors  *btree.BTreeG[*floor] // by namespace
	emptied *btree.BTreeG[*floor] // those of namespaces without keys, by when that happened
	bytes   uint64                // of all keys and values
	sum     uint64                // of the hashes of all keys and floors

	history  history
	records  records
	sessions []*session // by number
}

// A key is one version of one key. It is immutable once it is in a tree:
// frozen trees share it.
type key struct {
	ns, name  string
	value     []byte
	version   uint64
	revision  uint64
	created   int64
	updated   int64
	deadline  int64 // 0: none
	sessionID string
}

// A floor is the highest version that a delete or an expiry took in a
// namespace. Immutable, like key.
type floor struct {
	ns      string
	version uint64
	emptied int64 // when the namespace lost its last key; 0: it has some
}

// New returns an empty State.
func New() *State {
	return &State{maxVersion: MaxVersion, data: newData()}
}

// Speak narrows or widens the protocol versions that the state accepts, for
// tests of upgrades. Call it before the first Apply.
func (s *State) Speak(maxVersion uint32) { s.maxVersion = maxVersion }

func newData() data {
	return data{
		version:  MinVersion,
		settings: DefaultSettings(),
		keys:     newTree(byName),
		due:      newTree(byDeadline),
		floors:   newTree(func(a, b *floor) bool { return a.ns < b.ns }),
		emptied:  newTree(byEmptied),
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

// newTree returns a tree without a lock of its own: State.mu is the lock.
func newTree[T any](less func(a, b T) bool) *btree.BTreeG[T] {
	return btree.NewBTreeGOptions(less, btree.Options{NoLocks: true})
}

func byName(a, b *key) bool {
	if c := strings.Compare(a.ns, b.ns); c != 0 {
		return c < 0
	}
	return a.name < b.name
}

func byDeadline(a, b *key) bool {
	if a.deadline != b.deadline {
		return a.deadline < b.deadline
	}
	return byName(a, b)
}

func byEmptied(a, b *floor) bool {
	if a.emptied != b.emptied {
		return a.emptied < b.emptied
	}
	return a.ns < b.ns
}

// live reports whether k is present for readers.
func (d *data) live(k *key) bool { return k.deadline == 0 || k.deadline > d.clock }

// get returns the key for readers: absent once its deadline has come.
func (d *data) get(ns, name string) (*key, bool) {
	k, ok := d.keys.Get(&key{ns: ns, name: name})
	return k, ok && d.live(k)
}

// put makes k the present version of its key, in place of old (or nil).
func (d *data) put(old, k *key) {
	d.forget(old)
	d.keys.Set(k)
	if k.deadline != 0 {
		d.due.Set(k)
	}
	d.bytes += k.size()
	d.sum += k.hash()
}

// remove ends old.
func (d *data) remove(old *key) {
	d.forget(old)
	d.keys.Delete(old)
}

// forget takes old (or nil) out of everything but the tree of keys.
func (d *data) forget(old *key) {
	if old == nil {
		return
	}
	if old.deadline != 0 {
		d.due.Delete(old)
	}
	d.bytes -= old.size()
	d.sum -= old.hash()
}

func (k *key) size() uint64 { return uint64(len(k.name) + len(k.value)) }

// shown turns cluster time into the instant that users see; 0 is none.
func (d *data) shown(t int64) time.Time {
	if t == 0 {
		return time.Time{}
	}
	return time.UnixMicro(t + d.offset).UTC()
}
