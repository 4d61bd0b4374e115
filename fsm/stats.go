package fsm

import (
	"encoding/binary"
	"time"

	"github.com/cespare/xxhash/v2"
)

// Stats are figures about the state, all of the same moment.
type Stats struct {
	Point
	Version       uint32 // the cluster's protocol version
	Clock         int64  // cluster time, µs
	WallOffset    int64  // µs
	Keys          int    // also those that are due but not yet ended
	KeysWithTTL   int
	Bytes         uint64 // of keys and values
	StagedBytes   uint64 // of those that a restore under way has brought
	Floors        int
	Records       int    // answers kept for idempotency keys
	RecordBytes   uint64 // about what they take, here and in a snapshot
	Sessions      int
	HistoryEvents int
	HistoryBytes  uint64
	ImageBytes    uint64 // about what all of it takes in a snapshot
	Hash          uint64
}

// Stats returns the figures of this moment.
func (s *State) Stats() Stats {
	s.mu.RLock()
	defer s.mu.RUnlock()
	records := uint64(s.records.units) * recordBytes
	image := s.imageBytes() + s.history.bytes + records
	var staged uint64
	if s.staging != nil {
		staged = s.staging.bytes
		image += s.staging.imageBytes()
	}
	return Stats{
		Point: s.where(), Version: s.version, Clock: s.clock, WallOffset: s.offset,
		Keys: s.keys.Len(), KeysWithTTL: s.due.Len(), Bytes: s.bytes, StagedBytes: staged,
		Floors: s.floors.Len(), Records: s.records.queue.len(), RecordBytes: records, Sessions: len(s.sessions),
		HistoryEvents: s.history.queue.len(), HistoryBytes: s.history.bytes,
		ImageBytes: image, Hash: s.hash(),
	}
}

// NextDeadline returns the earliest deadline of a key in cluster time, µs;
// false if no key has one. It may have passed already.
func (s *State) NextDeadline() (int64, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	k, ok := s.due.Min()
	if !ok {
		return 0, false
	}
	return k.deadline, true
}

// EndsWaiting reports whether keys are due already and wait for the next entry,
// because the last one had ended as many as one may.
func (s *State) EndsWaiting() bool {
	deadline, ok := s.NextDeadline()
	return ok && deadline <= s.Clock()
}

// Clock returns cluster time in µs, as of the last entry.
func (s *State) Clock() int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.clock
}

// WallOffset returns what is added to cluster time to show an instant.
func (s *State) WallOffset() time.Duration {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return time.Duration(s.offset) * time.Microsecond
}

// Version returns the cluster's protocol version.
func (s *State) Version() uint32 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.version
}

// hash sums up the state: equal states have equal hashes. Keys, floors and
// idempotency records count in full, the history and the answers of sessions
// by their extent; states that differ in these have different hashes but for a
// chance of 2^-64.
func (d *data) hash() uint64 {
	h := newHasher()
	h.numbers(d.sum, d.records.sum, d.revision, uint64(d.clock), uint64(d.offset), uint64(d.version), d.bytes,
		uint64(d.keys.Len()), uint64(d.floors.Len()), uint64(d.records.queue.len()),
		d.history.base, d.history.bytes, uint64(len(d.sessions)),
		d.settings.HistoryEvents, d.settings.HistoryBytes, uint64(d.settings.FloorRetention))
	for _, s := range d.sessions {
		h.numbers(s.number, s.low, uint64(len(s.answers)))
	}
	if st := d.staging; st != nil {
		h.text(string(st.id))
		h.numbers(st.next, st.sum, uint64(st.keys.Len()), uint64(st.floors.Len()))
	}
	if r := d.restored; r != nil {
		h.text(string(r.Id))
		h.numbers(r.Revision)
	}
	return h.Sum64()
}

func (k *key) hash() uint64 {
	h := newHasher()
	h.text(k.ns)
	h.text(k.name)
	h.text(k.sessionID)
	h.numbers(k.version, k.revision, uint64(k.created), uint64(k.updated), uint64(k.deadline))
	_, _ = h.Write(k.value)
	return h.Sum64()
}

func (f *floor) hash() uint64 {
	h := newHasher()
	h.text(f.ns)
	h.numbers(f.version, uint64(f.emptied))
	return h.Sum64()
}

func (r *record) hash() uint64 {
	h := newHasher()
	_, _ = h.Write(r.key[:])
	_, _ = h.Write(r.request[:])
	h.numbers(uint64(r.time))
	_, _ = h.Write(r.answer)
	return h.Sum64()
}

// A hasher hashes fields so that their borders count.
type hasher struct{ xxhash.Digest }

func newHasher() *hasher {
	h := new(hasher)
	h.Reset()
	return h
}

func (h *hasher) numbers(ns ...uint64) {
	var buf [8]byte
	for _, n := range ns {
		binary.LittleEndian.PutUint64(buf[:], n)
		_, _ = h.Write(buf[:])
	}
}

func (h *hasher) text(s string) {
	h.numbers(uint64(len(s)))
	_, _ = h.WriteString(s)
}
