package faults

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// Ensure what never succeeds is told, and what succeeds now and then is counted.
func TestRepeat(t *testing.T) {
	broken := errors.New("broken")
	for _, tt := range []struct {
		name  string
		fails func(try int) bool
		hold  time.Duration
		want  error
		did   string
	}{
		{"always", func(int) bool { return false }, 250 * time.Millisecond, nil, "3 times of 3"},
		{"every other time", func(try int) bool { return try%2 == 1 }, 250 * time.Millisecond, nil, "1 times of 3"},
		{"never", func(int) bool { return true }, 250 * time.Millisecond, broken, "0 times of 3"},
		{"in no time", func(int) bool { return false }, 0, nil, "1 times of 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				try := 0
				r := repeat(100*time.Millisecond, func() error {
					try++
					if tt.fails(try) {
						return broken
					}
					return nil
				})
				time.Sleep(tt.hold)
				if err := r.end(t.Context()); !errors.Is(err, tt.want) || r.String() != tt.did {
					t.Errorf("%v, %s, want %v, %s", err, r, tt.want, tt.did)
				}
			})
		})
	}
}
