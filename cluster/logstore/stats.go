package logstore

import "sync/atomic"

// Stats are the figures of one moment.
type Stats struct {
	Entries      uint64
	CacheEntries int
	CacheBytes   int64
	CacheHits    uint64 // entries read since Open, from memory
	Writes       uint64 // transactions since Open
	Scrubs       uint64 // times since Open that the whole log was read again

	FileBytes     int64  // that the file takes on the disk
	ReusableBytes uint64 // of those, that hold nothing
	FreeBytes     uint64 // on the disk, beside the file
	DiskBytes     uint64 // of the whole disk
	Full          bool
}

// counters only grow.
type counters struct {
	hits, writes, scrubs atomic.Uint64
}

// Stats returns the store's figures. Those of the disk are up to a quarter of
// a second old.
func (s *Store) Stats() Stats {
	st := Stats{
		CacheHits:     s.stats.hits.Load(),
		Writes:        s.stats.writes.Load(),
		Scrubs:        s.stats.scrubs.Load(),
		FileBytes:     s.space.file.Load(),
		ReusableBytes: s.space.inFile.Load(),
		FreeBytes:     s.space.free.Load(),
		DiskBytes:     s.space.size.Load(),
		Full:          s.space.full.Load(),
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	st.Entries, st.CacheEntries, st.CacheBytes = s.extent.size(), len(s.cache.entries), s.cache.bytes
	return st
}
