package faultfs

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
)

// count commits so many numbers to a bolt file, and returns the last that was
// in it before and the last that was committed.
func count(t *testing.T, path string, times int, sync string) (before, after uint64) {
	t.Helper()
	c := start(t, "count", path, fmt.Sprint(times), sync)
	before, after = c.numbers(t)
	must(t, c.cmd.Wait())
	return before, after
}

// numbers returns the first and the last that a child prints until it ends.
func (c *child) numbers(t *testing.T) (first, last uint64) {
	t.Helper()
	first, err := strconv.ParseUint(c.line(), 10, 64)
	must(t, err)
	last = first
	for line := c.line(); line != ""; line = c.line() {
		last, err = strconv.ParseUint(line, 10, 64)
		must(t, err)
	}
	return first, last
}

// countUntilCrash is count until the power is cut at some operation.
func countUntilCrash(t *testing.T, d *Disk, path string, rng *rand.Rand) (before, after uint64) {
	t.Helper()
	c := start(t, "count", path, "-1", "sync")
	d.Add(Rule{
		Op: []Op{Write, Sync}[rng.IntN(2)], Path: "bolt.db", Skip: 5 + rng.IntN(15), Crash: []Moment{Before, After}[rng.IntN(2)],
		Crashed: func() { c.cmd.Process.Kill() },
	})
	before, after = c.numbers(t)
	c.cmd.Wait() // killed
	return before, after
}

// Ensure bolt keeps its promise on a disk that loses power in the middle of
// commits, whatever stays of what was not synced.
func TestBoltSurvives(t *testing.T) {
	for _, loss := range []Loss{All, Tear, Scatter} {
		t.Run(loss.String(), func(t *testing.T) {
			d, point := mount(t)
			rng := rand.New(rand.NewPCG(uint64(loss), 0))
			path := point + "/bolt.db"
			_, committed := count(t, path, 20, "sync")
			syncDir(t, point)
			for range 8 {
				found, next := countUntilCrash(t, d, path, rng)
				if found != committed && found != committed+1 {
					t.Fatalf("%d is the last after a crash, %d was committed", found, committed)
				}
				committed = next
				_, _, err := d.Crash(loss, rng)
				must(t, err)
			}
			if committed < 30 {
				t.Errorf("no more than %d numbers were committed", committed)
			}
		})
	}
}

// Ensure a bolt that does not sync is found out.
func TestBoltWithoutSyncDoesNot(t *testing.T) {
	d, point := mount(t)
	path := point + "/bolt.db"
	count(t, path, 9, "sync")
	syncDir(t, point)
	count(t, path, 10, "nosync")
	_, _, err := d.Crash(All, rng())
	must(t, err)
	if found, _ := count(t, path, 0, "sync"); found != 9 {
		t.Errorf("%d is the last, want 9", found)
	}
}
