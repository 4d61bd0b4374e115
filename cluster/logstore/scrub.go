package logstore

import (
	"time"

	"github.com/hashicorp/raft"
)

// scrubInterval is between two portions that the scrubber reads.
const scrubInterval = 100 * time.Millisecond

// scrub reads the log from the file over and over, at no more than ScrubRate:
// the cache hides damage from everyone else until the next start. read stops
// the store when it meets any.
func (s *Store) scrub() {
	if s.cfg.ScrubRate < 0 {
		return
	}
	ticker := time.NewTicker(scrubInterval)
	defer ticker.Stop()
	portion := max(1, s.cfg.ScrubRate*int64(scrubInterval)/int64(time.Second))
	for next := uint64(0); ; {
		select {
		case <-ticker.C:
			next = s.scrubSome(next, portion)
		case <-s.down:
			return
		}
	}
}

// scrubSome reads a portion of the log from next on and returns where to go on,
// 0 at the end.
func (s *Store) scrubSome(next uint64, portion int64) uint64 {
	extent, err := s.current()
	if err != nil || extent.empty() {
		return 0
	}
	var l raft.Log
	for next = max(next, extent.first); portion > 0; next++ {
		if next > extent.last {
			s.stats.scrubs.Add(1)
			return 0
		}
		if s.read(next, &l) != nil { // deleted meanwhile, or the end of the store
			return 0
		}
		portion -= sizeOf(&l)
	}
	return next
}
