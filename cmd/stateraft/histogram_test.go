package main

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestHistogramBuckets(t *testing.T) {
	for us := range 1 << 20 {
		d := time.Duration(us) * time.Microsecond
		end := endOf(bucketOf(d))
		if end <= d || end > d+d/32+time.Microsecond {
			t.Fatalf("%v is in a bucket that ends at %v", d, end)
		}
		if us > 0 && bucketOf(d)-bucketOf(d-time.Microsecond) > 1 {
			t.Fatalf("a bucket before %v is never used", d)
		}
	}
	for _, d := range []time.Duration{-1, 1000 * time.Hour} {
		new(histogram).add(d)
	}
}

func TestHistogramQuantile(t *testing.T) {
	var halves [2]histogram
	var all []time.Duration
	for i := range 10_000 {
		d := time.Duration(rand.ExpFloat64() * float64(10*time.Millisecond)).Truncate(time.Microsecond)
		all = append(all, d)
		halves[i%2].add(d)
	}
	slices.Sort(all)
	h := &halves[0]
	h.merge(&halves[1])
	for _, q := range []float64{0.001, 0.5, 0.9, 0.99, 0.999, 1} {
		want := all[int(q*float64(len(all)))-1]
		if got := h.quantile(q); got < want || got > want+want/25+time.Microsecond {
			t.Errorf("quantile %v: got %v, want %v", q, got, want)
		}
	}
	if got, want := h.quantile(1), all[len(all)-1]; got != want || h.total != 10_000 {
		t.Errorf("max %v of %d, want %v of 10000", got, h.total, want)
	}
	if got := new(histogram).quantile(0.5); got != 0 {
		t.Errorf("quantile of nothing: got %v, want 0", got)
	}
}
