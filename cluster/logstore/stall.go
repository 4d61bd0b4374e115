package logstore

import (
	"fmt"
	"sync"
	"time"
)

// calls are those that the disk has not answered yet, with how many ticks each
// has seen. Ticks are counted, and not time: a process that was stopped for a
// minute must not take that for a disk that hangs.
type calls struct {
	mu    sync.Mutex // guards the fields below
	last  uint64
	ticks map[uint64]int
}

func (c *calls) begin() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ticks == nil {
		c.ticks = make(map[uint64]int)
	}
	c.last++
	c.ticks[c.last] = 0
	return c.last
}

func (c *calls) end(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.ticks, id)
}

// tick returns the greatest number of ticks that a call has seen.
func (c *calls) tick() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	oldest := 0
	for id := range c.ticks {
		c.ticks[id]++
		oldest = max(oldest, c.ticks[id])
	}
	return oldest
}

// waits reports whether a call has seen a tick.
func (c *calls) waits() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, ticks := range c.ticks {
		if ticks > 0 {
			return true
		}
	}
	return false
}

// Busy reports whether a call has been waiting for the disk for a while, which
// may be a tenth of StallTimeout or less.
func (s *Store) Busy() bool { return s.calls.waits() }

// Watch counts a call to the disk that is not of the log, until end is called: it
// may not take longer than StallTimeout either. Busy does not tell of it.
func (s *Store) Watch() (end func()) {
	call := s.others.begin()
	return func() { s.others.end(call) }
}

// stallTicks is how many ticks make a StallTimeout.
const stallTicks = 10

// watchStalls stops the store when a call takes longer than StallTimeout. A
// leader whose disk hangs would lead for ever otherwise: others send its
// heartbeats.
func (s *Store) watchStalls() {
	ticker := time.NewTicker(s.cfg.StallTimeout / stallTicks)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-s.down:
			return
		}
		if max(s.calls.tick(), s.others.tick()) > stallTicks {
			s.fail(fmt.Errorf("%s: a call has taken more than %v: %w", s.path, s.cfg.StallTimeout, ErrStalled))
		}
	}
}
