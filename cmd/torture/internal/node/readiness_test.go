package node

import (
	"slices"
	"testing"
	"time"
)

// Ensure a node counts as ready until ReadyFor after it last said so.
func TestReadiness(t *testing.T) {
	var r Readiness
	begin := time.Now()
	at := func(ms int) time.Time { return begin.Add(time.Duration(ms) * time.Millisecond) }
	for _, ms := range []int{0, 20, 120, 230, 240} {
		r.answered("n1", at(ms))
	}
	want := []Span{{"n1", at(0), at(220)}, {"n1", at(230), at(340)}}
	if got := r.Spans(); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
