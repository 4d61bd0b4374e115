package cluster

import (
	"math"
	"sync"
	"time"
)

// A clusterClock estimates cluster time: the stamp of the last entry that was
// applied plus the monotonic time since it came. So the estimate is behind the leader's
// own clock by what the entry took to get here, and never ahead of it, however
// slow that clock runs; and whoever leads next ends nothing early. For the same
// reason an entry of a later term replaces a better estimate: its leader may have
// taken up the time late, and what it promised rests on that. On a leader the
// clock is steered by the leader's own monotonic clock for the whole term.
type clusterClock struct {
	wall      func() time.Time     // the wall clock
	monotonic func() time.Duration // since some moment; never runs backwards

	mu      sync.Mutex
	base    int64         // cluster time at since, µs
	since   time.Duration // on the monotonic clock
	term    uint64        // of the entry that base rests on; 0: not known
	index   uint64        // up to which base accounts for all entries, as far as is known
	live    bool          // base rests on what happened during this boot of the machine
	leading uint64        // term that this node leads and whose clock is its own; 0: none
	led     uint64        // last term that this node led, since the process started
	tie     int64         // cluster time minus this machine's wall clock, µs, as noted; 0: it never was
	came    arrival       // of the last entry with a stamp that a leader sent
}

// An arrival is when an entry came to this node.
type arrival struct {
	index, term uint64
	at          time.Duration // on the monotonic clock
}

func newClock(wall func() time.Time, monotonic func() time.Duration) *clusterClock {
	return &clusterClock{wall: wall, monotonic: monotonic, since: monotonic()}
}

// newMonotonic returns the machine's clock: the time since this call.
func newMonotonic() func() time.Duration {
	begin := time.Now()
	return func() time.Duration { return time.Since(begin) }
}

// observe takes note of the stamp of an entry of that term, which it had at that
// moment of the monotonic clock, at the latest. live: the entry is newer than the
// log was when the process started. A leader's clock goes on by itself, but not
// behind the state: what its predecessors left in the log may be applied only after
// its term has begun. And so it does when the term is over, while it finds what it
// stamped itself: that may be as old as an outage is long. It reports whether the
// estimate rests on another term than before.
func (c *clusterClock) observe(stamp int64, at time.Duration, term uint64, live bool) (changed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer func(was uint64) { changed = c.term != was }(c.term)
	if term > c.leading {
		c.leading = 0 // whether this node has heard of it or not
	}
	own := c.leading != 0 || c.live && term == c.led
	ahead := stamp+c.passed(at) > c.nowLocked()
	switch {
	case own:
		c.term = max(c.term, term)
	case term > c.term, term == c.term && live && !c.live:
		c.base, c.since = stamp, at
		c.term, c.live = term, live
		return
	case c.live && !live:
		return
	}
	if ahead || !own && term == c.term {
		c.base, c.since = stamp, at
	}
	c.live = c.live || live
	return
}

// arrived takes note that an entry with a stamp has come from a leader. Only the
// first time counts: it is sent again while the leader has no answer.
func (c *clusterClock) arrived(index, term uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if term == c.came.term && index <= c.came.index {
		return
	}
	c.came = arrival{index, term, c.monotonic()}
}

// cameAt returns when the entry came, at the latest: an outage may lie between that
// and its being applied.
func (c *clusterClock) cameAt(index, term uint64) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.came.index != index || c.came.term != term {
		return c.monotonic()
	}
	return c.came.at
}

// accountsFor takes note that all entries up to index, which is of that term, have
// been observed. An estimate that rests on a later term does not account for them:
// its entry may be one that was never committed, seen at the end of the log.
func (c *clusterClock) accountsFor(index, term uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if term == c.term {
		c.index = max(c.index, index)
	}
}

// restored takes note of the clock of a snapshot that ends at index; how long ago
// that was is not known, and neither is the term. It counts for more than what this
// node has counted itself: a leader that this node has not heard of may have taken
// up the time late, and what is in the snapshot was promised by that.
func (c *clusterClock) restored(stamp int64, index uint64, live bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.live && !live {
		return
	}
	c.setLocked(stamp)
	c.term, c.index, c.live, c.leading = 0, index, live, 0 // no leader takes a snapshot
}

func (c *clusterClock) setLocked(now int64) { c.base, c.since = now, c.monotonic() }

// recall takes up the clock of the process before, on the same boot of the
// machine, which rested on an entry of that term and accounted for those up to
// index. Entries of the term that are replayed do not set it back.
func (c *clusterClock) recall(now int64, term, index uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.setLocked(now)
	c.term, c.index, c.live = term, index, true
}

// startsFrom forgets what was recalled if that rests on less than the snapshot does
// from which the process starts, whose last entry is that of index and term: the
// process before may have ended between taking the snapshot and noting the time.
func (c *clusterClock) startsFrom(index, term uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.term != 0 && c.term < term || c.term == 0 && c.index < index {
		c.live = false
	} else if c.term == term {
		c.index = max(c.index, index)
	}
}

// lead begins that term as leader at cluster time base, or goes on from the
// estimate if that is later, for cluster time never runs backwards, or has come to
// rest on something newer since base was asked for, when it accounted for entries
// up to asked. The clock is live only once an entry of the term is applied: base may
// be of a wall clock, and what nobody else has heard of is no cluster time.
func (c *clusterClock) lead(base int64, asked, term uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.live || c.term == 0 && c.index == asked {
		c.setLocked(max(base, c.nowLocked()))
	}
	c.leading, c.led = term, term
}

// follow ends a term as leader.
func (c *clusterClock) follow() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leading = 0
}

// now returns the estimate in µs and whether it is live.
func (c *clusterClock) now() (t int64, live bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nowLocked(), c.live
}

// restsOn returns the term of the entry that the estimate rests on, 0 if it is
// unknown, and the index up to which it accounts for all entries. An estimate that
// is taken after that does so too.
func (c *clusterClock) restsOn() (term, index uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.term, c.index
}

// tied takes note of cluster time minus the wall clock, and byWall goes by that:
// it returns cluster time as far as the wall clock alone knows it, and not ahead
// of it. A wall clock that is wrong, and as wrong as it was, tells it well.
func (c *clusterClock) tied(tie int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tie = tie
}

func (c *clusterClock) byWall() int64 { return c.wallTime() - wallNoteGrain.Microseconds() }

// wallTime is byWall, but off by up to wallNoteGrain either way.
func (c *clusterClock) wallTime() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wall().UnixMicro() + c.tie
}

func (c *clusterClock) nowLocked() int64 { return c.base + c.passed(c.since) }

// passed returns how many µs have passed since a moment of the monotonic clock.
func (c *clusterClock) passed(at time.Duration) int64 { return (c.monotonic() - at).Microseconds() }

// until returns how long it is until cluster time t, at most the 292 years that
// a duration holds: a TTL may be longer.
func (c *clusterClock) until(t int64) time.Duration {
	now, _ := c.now()
	return time.Duration(min(t-now, math.MaxInt64/1000)) * time.Microsecond
}

// wallOffset returns wall clock minus cluster time.
func (c *clusterClock) wallOffset() time.Duration {
	now, _ := c.now()
	return time.Duration(c.wall().UnixMicro()-now) * time.Microsecond
}
