package fsm

import (
	"strings"

	"github.com/tidwall/btree"
)

// contents are keys and floors: what a backup has of a state.
type contents struct {
	keys    *btree.BTreeG[*key]   // by namespace and key; also those that are due but not yet ended
	due     *btree.BTreeG[*key]   // those with a deadline, by deadline
	floors  *btree.BTreeG[*floor] // by namespace
	emptied *btree.BTreeG[*floor] // those of namespaces without keys, by when that happened
	bytes   uint64                // of all keys and values
	sum     uint64                // of the hashes of all keys and floors
}

func newContents() contents {
	return contents{
		keys:    newTree(byName),
		due:     newTree(byDeadline),
		floors:  newTree(func(a, b *floor) bool { return a.ns < b.ns }),
		emptied: newTree(byEmptied),
	}
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

// put makes k the present version of its key, in place of old (or nil).
func (c *contents) put(old, k *key) {
	c.forget(old)
	c.keys.Set(k)
	if k.deadline != 0 {
		c.due.Set(k)
	}
	c.bytes += k.size()
	c.sum += k.hash()
}

// remove ends old.
func (c *contents) remove(old *key) {
	c.forget(old)
	c.keys.Delete(old)
}

// load is put for keys that come in order, and more than once at worst.
func (c *contents) load(k *key) {
	old, _ := c.keys.Load(k)
	c.forget(old)
	if k.deadline != 0 {
		c.due.Set(k)
	}
	c.bytes += k.size()
	c.sum += k.hash()
}

// forget takes old (or nil) out of everything but the tree of keys.
func (c *contents) forget(old *key) {
	if old == nil {
		return
	}
	if old.deadline != 0 {
		c.due.Delete(old)
	}
	c.bytes -= old.size()
	c.sum -= old.hash()
}

func (k *key) size() uint64 { return uint64(len(k.name) + len(k.value)) }

// What a key takes in a snapshot beside its name and value, and what a floor
// takes: numbers and tags, of a key 29 bytes at least, and of a namespace and a
// session, which may be new with each of them, the usual length.
const (
	imageKeyBytes   = 56
	imageFloorBytes = 56
)

// imageBytes is about what they take in a snapshot.
func (c *contents) imageBytes() uint64 {
	return c.bytes + imageKeyBytes*uint64(c.keys.Len()) + imageFloorBytes*uint64(c.floors.Len())
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
