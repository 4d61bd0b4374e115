package main

import (
	"math"
	"math/bits"
	"time"
)

// Durations are counted in microseconds, in buckets whose width is at most a
// 32nd of their value: singly below 64 µs, then 32 buckets for each power of 2.
const (
	histogramBits    = 5
	histogramBuckets = 1 << 10 // the last one begins at 18 minutes
)

// histogram counts durations in little memory, however many there are.
type histogram struct {
	counts [histogramBuckets]uint64
	total  uint64
	max    time.Duration
}

func (h *histogram) add(d time.Duration) {
	h.counts[bucketOf(d)]++
	h.total++
	h.max = max(h.max, d)
}

func (h *histogram) merge(other *histogram) {
	for i, n := range other.counts {
		h.counts[i] += n
	}
	h.total += other.total
	h.max = max(h.max, other.max)
}

// quantile returns what the fraction q of the durations does not exceed, less
// than 4 % too high; 0 if there are none.
func (h *histogram) quantile(q float64) time.Duration {
	want := uint64(math.Ceil(q * float64(h.total)))
	seen := uint64(0)
	for i, n := range h.counts {
		if seen += n; n > 0 && seen >= want {
			return min(endOf(i), h.max)
		}
	}
	return h.max
}

func bucketOf(d time.Duration) int {
	us := uint64(max(d.Microseconds(), 0))
	shift := max(bits.Len64(us)-histogramBits-1, 0)
	return min(shift<<histogramBits+int(us>>shift), histogramBuckets-1)
}

// endOf is the end of a bucket, exclusive.
func endOf(bucket int) time.Duration {
	shift := max(bucket>>histogramBits-1, 0)
	return time.Duration(bucket-shift<<histogramBits+1) << shift * time.Microsecond
}
