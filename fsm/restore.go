package fsm

import (
	"bytes"

	"github.com/stateraft/stateraft/fsm/fsmpb"
)

const (
	// RestoreGap is how far a restore moves the revision beyond the state's own
	// and the one that it brings, so that revisions from before it, also such as
	// the backup never saw, stay below. Whoever proposes a restore brings the
	// backup's and a random number on top, so that no two restores lead to the
	// same revisions.
	RestoreGap = 1_000_000_000

	restoreIDBytes = 16

	// MaxRevision bounds what a backup may claim and a restore may bring, so
	// that revisions and versions cannot overflow.
	MaxRevision = 1 << 62
)

// A staging is what a restore has brought so far.
type staging struct {
	contents
	id   []byte
	next uint64 // sequence of the step that comes next
	ns   string // of the last key, so that keys share it
}

// Empty reports whether the state has no keys beside those of the namespace
// keep: then a restore needs no force.
func (s *State) Empty(keep string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.empty(keep)
}

// Staged returns the restore under way: its id, and the sequence of the step
// that comes next. The id is nil if there is none.
func (s *State) Staged() (id []byte, next uint64) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.staging == nil {
		return nil, 0
	}
	return s.staging.id, s.staging.next
}

func (c *contents) empty(keep string) bool {
	k, ok := c.keys.Min()
	if ok && k.ns == keep {
		ok = false
		c.keys.Ascend(&key{ns: keep + "\x00"}, func(*key) bool { ok = true; return false })
	}
	return !ok
}

// restore takes one step of a restore. Copies of a step may come late and in
// any order, since a step is proposed again when its answer was lost: what was
// taken already is answered and nothing else.
func (d *data) restore(r *fsmpb.Restore) *fsmpb.RestoreAnswer {
	a := &fsmpb.RestoreAnswer{Revision: d.revision}
	switch {
	case bytes.Equal(d.restored.GetId(), r.Id):
		a.Revision = d.restored.Revision
	case r.Step == fsmpb.Restore_BEGIN:
		a.Refusal = d.beginRestore(r)
	case r.Step == fsmpb.Restore_DROP:
		if d.isStaging(r.Id) {
			d.staging = nil
		}
	case !d.isStaging(r.Id) || r.Sequence > d.staging.next:
		a.Refusal = fsmpb.RestoreAnswer_OUT_OF_TURN
	case r.Sequence < d.staging.next:
	case r.Step == fsmpb.Restore_ADD:
		d.staging.add(r, d.offset, d.clock)
	default:
		a.Refusal = d.commitRestore(r)
		a.Revision = d.revision
	}
	return a
}

func (d *data) isStaging(id []byte) bool { return d.staging != nil && bytes.Equal(d.staging.id, id) }

func (d *data) beginRestore(r *fsmpb.Restore) fsmpb.RestoreAnswer_Refusal {
	switch {
	case d.isStaging(r.Id):
	case !r.Force && !d.empty(r.Keep):
		return fsmpb.RestoreAnswer_NOT_EMPTY
	default:
		d.staging = &staging{contents: newContents(), id: r.Id, next: r.Sequence + 1}
	}
	return fsmpb.RestoreAnswer_NONE
}

// add takes keys and floors in. Their instants become cluster time by the
// offset of the moment.
func (st *staging) add(r *fsmpb.Restore, offset, clock int64) {
	for _, p := range r.Keys {
		if p.Namespace != "" && p.Namespace != st.ns {
			st.ns = p.Namespace
		}
		st.addKey(keyOf(p, st.ns, -offset), clock)
	}
	for _, f := range r.Floors {
		st.addFloor(f, shift(f.Emptied, -offset), clock)
	}
	st.next++
}

// addKey takes k in unless its deadline has passed: then it has ended, which
// took a version like any expiry.
func (st *staging) addKey(k *key, clock int64) {
	if k.deadline != 0 && k.deadline <= clock {
		st.raiseFloor(k.ns, k.version+1, clock)
		return
	}
	st.refill(k.ns)
	st.load(k)
}

// addFloor takes a floor in, after all keys. What has ended on the way in may
// have raised it.
func (st *staging) addFloor(p *fsmpb.ImageFloor, emptied, clock int64) {
	f := &floor{ns: p.Namespace, version: max(p.Floor, st.floorOf(p.Namespace))}
	if st.isEmpty(f.ns) {
		f.emptied = clock
		if emptied != 0 {
			f.emptied = min(emptied, clock)
		}
	}
	st.setFloor(f)
}

// commitRestore puts what was staged in place of the state's keys and floors,
// but for one namespace. Nothing of before can be told as changes, so the
// history begins anew; and an answer kept under an idempotency key would speak
// of a write that is no more.
func (d *data) commitRestore(r *fsmpb.Restore) fsmpb.RestoreAnswer_Refusal {
	if !r.Force && !d.empty(r.Keep) {
		d.staging = nil
		return fsmpb.RestoreAnswer_NOT_EMPTY
	}
	old := d.contents
	d.contents, d.staging = d.staging.contents, nil
	d.take(&old, r.Keep)
	d.revision = max(d.revision, r.Revision) + RestoreGap
	d.history = history{base: d.revision}
	d.records = newRecords()
	d.restored = &fsmpb.Restored{Id: r.Id, Revision: d.revision}
	return fsmpb.RestoreAnswer_NONE
}

// take adds the keys and the floor of a namespace of others.
func (c *contents) take(others *contents, ns string) {
	others.keys.Ascend(&key{ns: ns}, func(k *key) bool {
		if k.ns == ns {
			c.put(nil, k)
		}
		return k.ns == ns
	})
	if f, ok := others.floors.Get(&floor{ns: ns}); ok {
		c.setFloor(f)
	}
}

// WasRestored reports whether a restore has ever replaced the keys: then a
// version that was given out need not stand for the value that it stood for.
func (s *State) WasRestored() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.restored != nil
}

// IsFromBefore reports whether a revision, 0 apart, is of a state that a
// restore has replaced.
func (s *State) IsFromBefore(revision uint64) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return 0 < revision && revision < s.restored.GetRevision()
}

// shift moves a time; 0, none, stays.
func shift(t, by int64) int64 {
	if t == 0 {
		return 0
	}
	return t + by
}
