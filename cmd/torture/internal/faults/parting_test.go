package faults

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// Ensure what a fault expects of all nodes is not expected of those that
// another keeps apart, nor at once when they meet again; and that it is expected
// then.
func TestPartedNodesHaveTimeToRejoin(t *testing.T) {
	const limit = 5 * time.Second
	for _, tt := range []struct {
		name       string
		cut        Kind
		begin, end time.Duration // of the other fault
		well       time.Duration // when the nodes are what is expected
		want       time.Duration // that the wait takes; 0: until they are well
	}{
		{"alone", "", 0, 0, 6 * time.Second, limit},
		{"alone, in time", "", 0, 0, 4 * time.Second, 0},
		{"cut off before and meanwhile", Network, 0, 6 * time.Second, 15 * time.Second, 0},
		{"cut off while it waits", Network, 2 * time.Second, 4 * time.Second, 13 * time.Second, 0},
		{"cut off until just before", Network, -2 * time.Second, -time.Second, 8 * time.Second, 0},
		{"never well again", Network, 2 * time.Second, 6 * time.Second, time.Hour, 6*time.Second + rejoinTimeout},
		{"long ago", Network, -time.Hour, -time.Minute, 6 * time.Second, limit},
		{"another kind", Clocks, 0, 6 * time.Second, 10 * time.Second, limit},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now().Add(2 * time.Hour)
				s := Scene{Slack: 1, Parting: new(Parting)}
				go cutOff(t, tt.cut, s, begin.Add(tt.begin), begin.Add(tt.end))
				time.Sleep(time.Until(begin))
				synctest.Wait()
				err := s.waitJoined(t.Context(), limit, wellAt(begin.Add(tt.well)))
				want := tt.want
				if want == 0 {
					want = tt.well
				}
				if took := time.Since(begin); took < want || took > want+100*time.Millisecond || (err != nil) != (tt.want != 0) {
					t.Errorf("%v after %v, want after %v", err, took, want)
				}
				time.Sleep(time.Hour) // until the other fault is over
			})
		})
	}
}

// cutOff carries a fault of that kind out, from one moment to another.
func cutOff(t *testing.T, kind Kind, s Scene, from, to time.Time) {
	if kind == "" {
		return
	}
	time.Sleep(time.Until(from))
	nothing := Hurt{What: "nothing", End: func(context.Context) error { return nil }}
	p := Planned{Fault: Fault{Kind: kind, begin: func(context.Context, *Scene) (Hurt, error) { return nothing, nil }}}
	h, err := p.Begin(t.Context(), s)
	time.Sleep(time.Until(to))
	if err := errors.Join(err, h.End(t.Context())); err != nil {
		t.Error(err)
	}
}

// wellAt is a look that answers once a moment has come, as a client does that
// tries again and again.
func wellAt(well time.Time) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-time.After(time.Until(well)):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Ensure elections are counted unless nodes were parted meanwhile, or had not had
// the time to rejoin before.
func TestPartedSince(t *testing.T) {
	const rejoin = 10 * time.Second
	for _, tt := range []struct {
		name       string
		cut        Kind
		begin, end time.Duration // of the other fault, from the begin of the count
		look       time.Duration
		want       bool
	}{
		{"alone", "", 0, 0, time.Second, false},
		{"another kind", Clocks, 0, 2 * time.Second, time.Second, false},
		{"before it", Network, time.Second, 2 * time.Second, 500 * time.Millisecond, false},
		{"in the midst", Network, time.Second, 3 * time.Second, 2 * time.Second, true},
		{"behind it", Network, time.Second, 2 * time.Second, time.Minute, true},
		{"until just before", Network, -2 * time.Second, -time.Second, time.Second, true},
		{"long ago", Network, -time.Minute, -rejoin - time.Second, time.Second, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now().Add(time.Hour)
				s := Scene{Slack: 1, Parting: new(Parting)}
				go cutOff(t, tt.cut, s, begin.Add(tt.begin), begin.Add(tt.end))
				time.Sleep(time.Until(begin.Add(tt.look)))
				if got := s.Parting.since(begin, rejoin); got != tt.want {
					t.Errorf("parted: %v, want %v", got, tt.want)
				}
				time.Sleep(time.Hour) // until the other fault is over
			})
		})
	}
}
