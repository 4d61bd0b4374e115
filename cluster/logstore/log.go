package logstore

import (
	"errors"
	"fmt"

	"github.com/hashicorp/raft"
)

// stepSize is how many entries a transaction deletes. Appends wait for no more
// than one.
const stepSize = 256

// FirstIndex returns the index of the oldest entry, 0 if there is none.
func (s *Store) FirstIndex() (uint64, error) {
	extent, err := s.current()
	return extent.first, err
}

// LastIndex returns the index of the newest entry, 0 if there is none.
func (s *Store) LastIndex() (uint64, error) {
	extent, err := s.current()
	return extent.last, err
}

func (s *Store) current() (span, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.extent, s.Err()
}

// GetLog reads the entry at index into l, whose slices are shared and must not
// be written to. raft.ErrLogNotFound if there is none.
func (s *Store) GetLog(index uint64, l *raft.Log) error {
	if err := s.Err(); err != nil {
		return err
	}
	s.mu.RLock()
	has := s.extent.has(index)
	cached := s.cache.get(index)
	if cached != nil {
		*l = *cached
	}
	s.mu.RUnlock()
	switch {
	case !has:
		return raft.ErrLogNotFound
	case cached != nil:
		s.stats.hits.Add(1)
		return nil
	}
	return s.read(index, l)
}

// read reads an entry of the extent from the file.
func (s *Store) read(index uint64, l *raft.Log) error {
	call := s.calls.begin()
	defer s.calls.end(call)
	err := s.readOnce(index, l)
	if errors.Is(err, raft.ErrLogNotFound) {
		return s.missing(index, l)
	}
	return s.unreadable(err)
}

// missing reads index once more, while nobody writes: if it is still in the
// extent, and was neither deleted nor written just now, it was lost.
func (s *Store) missing(index uint64, l *raft.Log) error {
	if err := s.acquire(); err != nil {
		return err
	}
	defer s.release()
	if !s.extent.has(index) {
		return raft.ErrLogNotFound
	}
	err := s.readOnce(index, l)
	if errors.Is(err, raft.ErrLogNotFound) {
		err = corrupt("entry %d of %d to %d is gone", index, s.extent.first, s.extent.last)
	}
	return s.unreadable(err)
}

func (s *Store) unreadable(err error) error {
	if err != nil {
		return s.fail(fmt.Errorf("%s: %w", s.path, err))
	}
	return s.Err()
}

func (s *Store) readOnce(index uint64, l *raft.Log) error {
	var found raft.Log
	err := guarded(func() error { return s.bolt.GetLog(index, &found) })
	switch {
	case errors.Is(err, raft.ErrLogNotFound), errors.Is(err, ErrCorrupt):
		return err
	case err != nil:
		return corrupt("entry %d: %v", index, err)
	}
	if err := unseal(index, &found); err != nil {
		return err
	}
	*l = found
	return nil
}

// StoreLog appends one entry; see [Store.StoreLogs].
func (s *Store) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

// StoreLogs appends entries, which must have successive indexes, and returns
// once they are on disk, all of them or none. They replace those that they
// overlap and all behind them. If they do not continue the log they replace all
// of it: Raft leaves a gap where it has a snapshot instead.
func (s *Store) StoreLogs(logs []*raft.Log) error {
	if len(logs) == 0 {
		return s.Err()
	}
	added, err := run(logs)
	if err != nil {
		return s.fail(err)
	}
	if err := s.change(logs, nil, func(old span) (span, error) { return old.after(added), nil }); err != nil {
		return err
	}
	s.space.wrote(logs)
	return nil
}

// run returns the indexes of logs.
func run(logs []*raft.Log) (span, error) {
	r := span{logs[0].Index, logs[0].Index + uint64(len(logs)) - 1}
	for i, l := range logs {
		if l.Index == 0 || l.Index == headIndex || l.Index != r.first+uint64(i) {
			return r, fmt.Errorf("entry %d of an append that starts with %d has the index %d", i, r.first, l.Index)
		}
	}
	return r, nil
}

// DeleteRange deletes the entries from low to high, both included, at either
// end of the log. It takes effect at once and in full; the space comes free in
// small steps, between which others write.
func (s *Store) DeleteRange(low, high uint64) error {
	return s.change(nil, nil, func(old span) (span, error) {
		left, ok := old.without(low, high)
		if !ok {
			return old, fmt.Errorf("deleting entries %d to %d would leave a gap in %d to %d", low, high, old.first, old.last)
		}
		return left, nil
	})
}

// Align prepares the log for a start from a snapshot that ends with the entry
// (index, term). If the log ends before or has another entry there, then what is
// committed may differ from it, and it is deleted: Raft does not do that, and
// then sends others what was never committed, or asks for the same snapshot for
// ever. Term and vote stay.
// ErrCorrupt if the log begins behind the snapshot's end: Raft could not start.
func (s *Store) Align(index, term uint64) error {
	extent, err := s.current()
	if err != nil || extent.empty() {
		return err
	}
	if extent.last < index {
		return s.DeleteRange(extent.first, extent.last)
	}
	if extent.first > index {
		if extent.first > index+1 {
			return corrupt("it begins with entry %d, and the snapshot ends with %d", extent.first, index)
		}
		return nil
	}
	var l raft.Log
	if err := s.GetLog(index, &l); err != nil || l.Term == term {
		return err
	}
	s.cfg.Logger.Warn("the log conflicts with the snapshot and is deleted", "index", index, "term", l.Term, "snapshot", term)
	return s.DeleteRange(extent.first, extent.last)
}

// change moves the extent to what next makes of it, with logs at its end; then
// it deletes what that leaves beside it, and waste.
func (s *Store) change(logs []*raft.Log, waste []span, next func(span) (span, error)) error {
	waste, err := s.move(logs, waste, next)
	if err != nil {
		return err
	}
	for _, w := range waste {
		if err := s.trim(w); err != nil {
			return err
		}
	}
	return nil
}

// move is the part of change that counts, in one transaction. It returns what
// is then to be deleted.
func (s *Store) move(logs []*raft.Log, waste []span, next func(span) (span, error)) ([]span, error) {
	if err := s.acquire(); err != nil {
		return nil, err
	}
	defer s.release()
	extent, err := next(s.extent)
	if err != nil {
		return nil, s.fail(err)
	}
	waste = append(waste, s.extent.minus(extent)...)
	at := stamp{s.tx + 1, s.steps, s.state}
	for _, w := range waste {
		at.steps += (w.size() + stepSize - 1) / stepSize
	}
	records, err := sealAll(logs, head{at, extent})
	if err != nil {
		return nil, s.fail(err)
	}
	if err := s.transact(func() error { return s.bolt.StoreLogs(records) }); err != nil {
		return nil, err
	}
	s.steps, s.head = at.steps, at.tx
	s.show(extent, logs)
	return waste, nil
}

func sealAll(logs []*raft.Log, h head) ([]*raft.Log, error) {
	records := make([]*raft.Log, 0, len(logs)+1)
	for _, l := range logs {
		sealed, err := seal(l)
		if err != nil {
			return nil, err
		}
		records = append(records, sealed)
	}
	record, err := h.record()
	return append(records, record), err
}

// show makes readers see what was written.
func (s *Store) show(extent span, logs []*raft.Log) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.extent = extent
	s.cache.keep(extent)
	s.cache.add(logs)
}

// trim deletes entries beside the extent, in steps between which others write.
func (s *Store) trim(waste span) error {
	for low := waste.first; low <= waste.last; low += stepSize {
		if err := s.deleteStep(low, min(low+stepSize-1, waste.last)); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) deleteStep(low, high uint64) error {
	if err := s.acquire(); err != nil {
		return err
	}
	defer s.release()
	if s.extent.first <= high && low <= s.extent.last {
		return s.fail(fmt.Errorf("entries %d to %d were to go as waste, and %d to %d count", low, high, s.extent.first, s.extent.last))
	}
	err := s.transact(func() error { return s.bolt.DeleteRange(low, high) })
	if err == nil {
		s.steps--
	}
	return err
}
