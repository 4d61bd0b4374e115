package cluster

import (
	"testing"
	"time"
)

// Ensure a restore counts as standing still only from its last step on.
func TestStagingWatch(t *testing.T) {
	var w stagingWatch
	start := time.Now()
	for _, look := range []struct {
		at   time.Duration
		id   string // empty: none is under way
		next uint64
		want time.Duration
	}{
		{at: 0},
		{at: 1},
		{at: 2, id: "a", next: 1},
		{at: 5, id: "a", next: 1, want: 3},
		{at: 6, id: "a", next: 2},
		{at: 9, id: "a", next: 2, want: 3},
		{at: 10, id: "b", next: 2},
		{at: 12, id: "b", next: 2, want: 2},
		{at: 13},
		{at: 14, id: "b", next: 2},
	} {
		var id []byte
		if look.id != "" {
			id = []byte(look.id)
		}
		if got := w.idle(id, look.next, start.Add(look.at)); got != look.want {
			t.Errorf("at %d: idle for %d, want %d", look.at, got, look.want)
		}
	}
}
