package report

import (
	"math"
	"time"
)

// Durations are counted in classes, each 4 % wider than the one before, so that
// a quantile is right to 4 % however long the run was.
const (
	leastClass = 50 * time.Microsecond
	classes    = 360 // the last from about a minute on
	classWidth = 1.04
)

// histogram counts durations by class.
type histogram struct {
	counts [classes]uint32
	n      int
	most   time.Duration
}

func classOf(d time.Duration) int {
	if d <= leastClass {
		return 0
	}
	return min(classes-1, 1+int(math.Log(float64(d)/float64(leastClass))/math.Log(classWidth)))
}

func (h *histogram) add(d time.Duration) {
	h.counts[classOf(d)]++
	h.n++
	h.most = max(h.most, d)
}

// quantile returns the upper edge of the class that the quantile lies in, and
// never more than the longest; 0 of none.
func (h *histogram) quantile(q float64) time.Duration {
	rank := place(q, h.n)
	for i, n := range h.counts {
		if rank -= int(n); rank < 0 {
			return min(h.most, time.Duration(float64(leastClass)*math.Pow(classWidth, float64(i))))
		}
	}
	return h.most
}
