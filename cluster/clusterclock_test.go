package cluster

import (
	"os"
	"testing"
	"time"
)

// newTestClock returns a clock and the hands that move its sources.
func newTestClock() (c *clusterClock, wall *time.Time, monotonic *time.Duration) {
	wall, monotonic = new(time.Time), new(time.Duration)
	*wall = time.UnixMicro(1_000_000_000)
	return newClock(func() time.Time { return *wall }, func() time.Duration { return *monotonic }), wall, monotonic
}

func TestClusterClock(t *testing.T) {
	const second = int64(time.Second / time.Microsecond)
	pass := func(d *time.Duration, seconds int) { *d += time.Duration(seconds) * time.Second }
	for _, tt := range []struct {
		name string
		do   func(c *clusterClock, mono *time.Duration)
		want int64 // seconds
		live bool
	}{
		{"an entry, and the time since", func(c *clusterClock, mono *time.Duration) {
			c.observe(10*second, 1, true)
			pass(mono, 5)
		}, 15, true},
		{"the last entry counts, though it sets the clock back: the leader's may be slow", func(c *clusterClock, mono *time.Duration) {
			c.observe(10*second, 1, true)
			pass(mono, 5)
			c.observe(12*second, 1, true)
		}, 12, true},
		{"a later term's entry counts, though it sets the clock back", func(c *clusterClock, mono *time.Duration) {
			c.observe(10*second, 1, true)
			pass(mono, 5)
			c.observe(12*second, 2, true)
		}, 12, true},
		{"an earlier term's does not", func(c *clusterClock, mono *time.Duration) {
			c.observe(12*second, 2, true)
			c.observe(10*second, 1, true)
		}, 12, true},
		{"the process before is believed over what is replayed", func(c *clusterClock, _ *time.Duration) {
			c.recall(20*second, 3)
			c.observe(10*second, 3, false)
		}, 20, true},
		{"but not where it did not know of a term", func(c *clusterClock, _ *time.Duration) {
			c.recall(20*second, 3)
			c.observe(10*second, 4, false)
		}, 10, false},
		{"what is replayed is not live", func(c *clusterClock, _ *time.Duration) {
			c.observe(10*second, 1, false)
			c.observe(11*second, 1, false)
		}, 11, false},
		{"a leader goes by its own clock", func(c *clusterClock, mono *time.Duration) {
			c.lead(30*second, 2)
			pass(mono, 5)
			c.observe(30*second, 2, true)
		}, 35, true},
		{"but not behind the state", func(c *clusterClock, _ *time.Duration) {
			c.lead(30*second, 2)
			c.observe(40*second, 2, true)
		}, 40, true},
		{"a later leader's entry ends that", func(c *clusterClock, mono *time.Duration) {
			c.lead(30*second, 2)
			pass(mono, 5)
			c.observe(33*second, 3, true)
		}, 33, true},
		{"it is live once an entry of its own is applied", func(c *clusterClock, _ *time.Duration) {
			c.lead(30*second, 2)
		}, 30, false},
		{"a snapshot is as old as it may be", func(c *clusterClock, mono *time.Duration) {
			c.observe(10*second, 2, true)
			pass(mono, 9)
			c.restored(15*second, true)
		}, 15, true},
		{"what follows a snapshot counts", func(c *clusterClock, _ *time.Duration) {
			c.restored(15*second, true)
			c.observe(16*second, 2, true)
		}, 16, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, _, mono := newTestClock()
			tt.do(c, mono)
			if now, live := c.now(); now != tt.want*second || live != tt.live {
				t.Errorf("%d s, live %v; want %d s, %v", now/second, live, tt.want, tt.live)
			}
		})
	}
}

// Ensure a wall clock that is as wrong as it was tells cluster time after a boot.
func TestWallNote(t *testing.T) {
	n := &Node{cfg: Config{DataDir: t.TempDir()}}
	var wall *time.Time
	n.clock, wall, _ = newTestClock()
	n.writeWallNote(wall.UnixMicro() - 7_000_000) // it is 7 s ahead of cluster time
	*wall = wall.Add(time.Minute)

	again := &Node{cfg: n.cfg}
	again.clock, wall, _ = newTestClock()
	*wall = wall.Add(2 * time.Minute)
	again.recallWall()
	if got, want := again.clock.byWall(), wall.UnixMicro()-7_000_000-wallNoteGrain.Microseconds(); got != want {
		t.Errorf("cluster time by the wall clock is %d, want %d, which is not ahead for the note's grain", got, want)
	}
	info, err := os.Stat(n.wallNotePath())
	if err != nil {
		t.Fatal(err)
	}
	again.writeWallNote(wall.UnixMicro() - 7_050_000) // by less than the grain
	if same, err := os.Stat(n.wallNotePath()); err != nil || !os.SameFile(info, same) {
		t.Errorf("a note of what is hardly new was written: %v", err)
	}
	if err := os.WriteFile(n.wallNotePath(), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	torn := &Node{cfg: n.cfg}
	torn.clock, wall, _ = newTestClock()
	torn.recallWall()
	if got := torn.clock.wallTime(); got != wall.UnixMicro() {
		t.Errorf("a torn note counts: %d", got)
	}
}
