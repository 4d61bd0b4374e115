package logstore

import (
	"sync/atomic"
	"time"
)

// Stats are the figures of one moment.
type Stats struct {
	Entries      uint64
	CacheEntries int
	CacheBytes   int64
	CacheHits    uint64 // entries read since Open, from memory
	CacheMisses  uint64 // and from the file
	Writes       uint64 // transactions since Open
	WriteTime    time.Duration
	Scrubs       uint64 // times since Open that the whole log was read again

	FileBytes     int64  // that the file takes on the disk
	ReusableBytes uint64 // of those, that hold nothing
	FreeBytes     uint64 // on the disk, beside the file
	DiskBytes     uint64 // of the whole disk
	Full          bool
}

// counters only grow.
type counters struct {
	hits, misses, writes, writeTime, scrubs atomic.Uint64
}

func (c *counters) wrote(took time.Duration) {
	c.writes.Add(1)
	c.writeTime.Add(uint64(took))
}

// Stats returns the store's figures. Those of the disk are up to a quarter of
// a second old.
func (s *Store) Stats() Stats {
	st := Stats{
		CacheHits:     s.stats.hits.Load(),
		CacheMisses:   s.stats.misses.Load(),
		Writes:        s.stats.writes.Load(),
		WriteTime:     time.Duration(s.stats.writeTime.Load()),
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
