package cluster

import (
	"sync"
	"time"
)

// A clusterClock estimates cluster time: the last stamp that was applied plus
// the monotonic time since. On a leader it is steered by the leader's own
// monotonic clock for the whole term instead, because a stamp is older than
// its application by the time a commit takes.
type clusterClock struct {
	wall func() time.Time // the wall clock; tests replace it

	mu      sync.Mutex
	base    int64     // cluster time at since, µs
	since   time.Time // monotonic
	live    bool      // base rests on what happened during this boot of the machine
	leading bool      // follows the term's own clock, not the stamps applied
}

func newClock(wall func() time.Time) *clusterClock {
	return &clusterClock{wall: wall, since: time.Now()}
}

// observe takes note of cluster time as just applied. live: by an entry that is
// newer than the log was when the process started.
func (c *clusterClock) observe(stamp int64, live bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leading || c.live && !live {
		return
	}
	c.base, c.since, c.live = stamp, time.Now(), live
}

// recall takes up the clock of the process before, on the same boot of the
// machine. Entries that are replayed do not set it back.
func (c *clusterClock) recall(now int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.base, c.since, c.live = now, time.Now(), true
}

// lead begins a term as leader at cluster time base, or goes on from the
// estimate if that is later: cluster time never runs backwards.
func (c *clusterClock) lead(base int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.base, c.since = max(base, c.nowLocked()), time.Now()
	c.leading, c.live = true, true
}

// follow ends a term as leader.
func (c *clusterClock) follow() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.base, c.since, c.leading = c.nowLocked(), time.Now(), false
}

// now returns the estimate in µs and whether it is live.
func (c *clusterClock) now() (t int64, live bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nowLocked(), c.live
}

func (c *clusterClock) nowLocked() int64 { return c.base + time.Since(c.since).Microseconds() }

// until returns how long it is until cluster time t.
func (c *clusterClock) until(t int64) time.Duration {
	now, _ := c.now()
	return time.Duration(t-now) * time.Microsecond
}

// wallOffset returns wall clock minus cluster time.
func (c *clusterClock) wallOffset() time.Duration {
	now, _ := c.now()
	return time.Duration(c.wall().UnixMicro()-now) * time.Microsecond
}
