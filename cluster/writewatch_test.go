package cluster

import (
	"errors"
	"testing"
)

func TestWriteWatch(t *testing.T) {
	const long = 4 * refusedTicks
	tests := []struct {
		name string
		next func(i int, l *writeLook) // from one tick to the next
		want error
	}{
		{"idle", func(int, *writeLook) {}, nil},
		{"busy", func(i int, l *writeLook) { l.ended++; l.answered++; l.applied++; l.inHand = true }, nil},
		{"slow", func(i int, l *writeLook) {
			l.inHand = true
			if i%refusedTicks == 0 {
				l.ended, l.answered, l.applied = l.ended+1, l.answered+1, l.applied+1
			}
		}, nil},
		{"one refused", func(i int, l *writeLook) {
			if i == 2 {
				l.ended, l.refused = l.ended+1, l.refused+1
			}
		}, nil},
		{"all refused", func(i int, l *writeLook) { l.ended, l.refused = l.ended+9, l.refused+9 }, errRefusing},
		{"all refused, and few come", func(i int, l *writeLook) {
			if i%2 == 0 {
				l.ended, l.refused = l.ended+1, l.refused+1
			}
		}, errRefusing},
		{"some refused", func(i int, l *writeLook) {
			l.ended, l.refused = l.ended+1, l.refused+1
			if i%refusedTicks == 0 {
				l.ended, l.answered = l.ended+1, l.answered+1
			}
		}, nil},
		{"unanswered", func(i int, l *writeLook) { l.inHand = true }, errUnanswered},
		{"unanswered, waits", func(i int, l *writeLook) { l.inHand, l.waits = true, true }, nil},
		{"unanswered, waits now and then", func(i int, l *writeLook) { l.inHand, l.waits = true, i%refusedTicks == 0 }, nil},
		{"unanswered, older entries are being applied", func(i int, l *writeLook) { l.inHand, l.applied = true, l.applied+1 }, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var w writeWatch
			var look writeLook
			var got error
			for i := 0; i < long && got == nil; i++ {
				tt.next(i, &look)
				if got = w.tick(look); got != nil && i < refusedTicks-1 {
					t.Errorf("%v after %d ticks", got, i+1)
				}
			}
			if !errors.Is(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}
