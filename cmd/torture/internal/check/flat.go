package check

import (
	"cmp"
	"slices"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
)

// flatLeast is how long a run must be to say that something does not grow: the
// state holds answers to idempotency keys for 10 minutes.
const flatLeast = 20 * time.Minute

// uses are what a process uses, and how much more of it in the last quarter than
// in the second is no growth.
var uses = []struct {
	name  string
	of    func(history.Sample) int64
	slack int64
}{
	{"bytes of memory", func(s history.Sample) int64 { return s.Resident }, 64 << 20},
	{"goroutines", func(s history.Sample) int64 { return int64(s.Goroutines) }, 100},
	{"descriptors", func(s history.Sample) int64 { return int64(s.Files) }, 100},
	{"bytes of disk", func(s history.Sample) int64 { return s.Disk }, 256 << 20},
}

// Flat checks that no node uses more and more of anything: the median of the
// run's last quarter is at most a fifth and a little above that of its second.
// Nil: the run of that length was too short to say.
func Flat(samples []history.Sample, length time.Duration) *Verdict {
	if length < flatLeast {
		return nil
	}
	v := &Verdict{Name: "flat", Promise: "memory, goroutines, descriptors and disk do not grow", Checked: len(samples)}
	v.note("no process lived longer than %v: what grows slowly from its start on shows only within that", longestLife(samples).Round(time.Second))
	byNode := map[string][]history.Sample{}
	for _, s := range samples {
		byNode[s.Node] = append(byNode[s.Node], s)
	}
	for name, of := range byNode {
		for _, u := range uses {
			before := median(of, length/4, length/2, u.of)
			after := median(of, length*3/4, length, u.of)
			if after > before+before/5+u.slack {
				v.Fail("%s used %d %s in the second quarter and %d in the last", name, before, u.name, after)
			}
		}
	}
	return v
}

// longestLife is how long a process was seen at most.
func longestLife(samples []history.Sample) (longest time.Duration) {
	type process struct {
		node string
		life int
	}
	first := map[process]time.Duration{}
	for _, s := range samples {
		p := process{s.Node, s.Life}
		if _, seen := first[p]; !seen {
			first[p] = s.At
		}
		longest = max(longest, s.At-first[p])
	}
	return longest
}

// median is that of what the samples between two times show; 0 of none.
func median(samples []history.Sample, from, to time.Duration, of func(history.Sample) int64) int64 {
	var values []int64
	for _, s := range samples {
		if s.At >= from && s.At <= to {
			values = append(values, of(s))
		}
	}
	if len(values) == 0 {
		return 0
	}
	slices.SortFunc(values, cmp.Compare)
	return values[len(values)/2]
}
