package history_test

import (
	"testing"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
)

func TestGained(t *testing.T) {
	h := history.History{Drifts: []history.Drift{
		{From: 10 * time.Second, To: 20 * time.Second, Gain: 0.01},
		{From: 30 * time.Second, To: 40 * time.Second, Gain: 0.1},
	}}
	for _, tt := range []struct{ from, to, want time.Duration }{
		{0, 10 * time.Second, 0},
		{20 * time.Second, 30 * time.Second, 0},
		{0, 15 * time.Second, 50 * time.Millisecond},
		{12 * time.Second, 13 * time.Second, 10 * time.Millisecond},
		{19 * time.Second, 25 * time.Second, 10 * time.Millisecond},
		{0, time.Minute, 1100 * time.Millisecond},
	} {
		if got := h.Gained(tt.from, tt.to); got != tt.want {
			t.Errorf("from %v to %v: %v, want %v", tt.from, tt.to, got, tt.want)
		}
	}
	if h.ShowsWrong(9*time.Second) || !h.ShowsWrong(10*time.Second) || !h.ShowsWrong(time.Minute) {
		t.Error("instants are wrong from the first drift on, and not before")
	}
}
