package stream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stateraft/stateraft/fsm"
)

// The index finds exactly the groups that a look at all of them would.
func TestIndex(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	name := func() string { return strings.Repeat("ab", 2)[:random.IntN(5)] }
	x := newIndex()
	var subs []*Subscription
	for range 5000 {
		if len(subs) > 0 && random.IntN(5) < 2 {
			i := random.IntN(len(subs))
			x.remove(subs[i])
			subs = slices.Delete(subs, i, i+1)
			continue
		}
		topic := Topic{Namespace: name(), Name: name(), Prefix: random.IntN(2) == 0}
		s := &Subscription{group: &group{topic: topic}}
		x.add(s)
		subs = append(subs, s)

		c := &fsm.Change{Namespace: name(), Key: name()}
		want := map[*Subscription]bool{}
		for _, s := range subs {
			if s.group.topic.covers(c) {
				want[s] = true
			}
		}
		found := 0
		x.each(c, func(g *group) {
			for i, s := range g.subs {
				found++
				if !want[s] || int(s.at) != i || s.group != g {
					t.Fatalf("%+v in %+v for %+v", s, g, c)
				}
			}
		})
		if found != len(want) {
			t.Fatalf("found %d, want %d", found, len(want))
		}
	}
	for _, s := range subs {
		x.remove(s)
	}
	if len(x.groups) != 0 || len(x.lengths) != 0 {
		t.Errorf("left: %v, %v", x.groups, x.lengths)
	}
}

func TestFitting(t *testing.T) {
	single := func(bytes int) *fsm.Change { return &fsm.Change{New: make([]byte, bytes)} }
	atomic := func(n, bytes int) (write []*fsm.Change) {
		for i := range n {
			write = append(write, &fsm.Change{Revision: uint64(i + 1), First: 1, Last: uint64(n), New: make([]byte, bytes)})
		}
		return write
	}
	tests := []struct {
		name    string
		changes []*fsm.Change
		want    int
	}{
		{"none", nil, 0},
		{"all", []*fsm.Change{single(1), single(1)}, 2},
		{"whole atomic", atomic(3, 1), 3},
		{"cut atomic", append([]*fsm.Change{single(1)}, atomic(3, 1)[:2]...), 1},
		{"larger than a batch", atomic(3, 1)[:2], 2},
		{"too many bytes", []*fsm.Change{single(batchBytes), single(1)}, 1},
		{"too many bytes in an atomic write", append(atomic(2, batchBytes), single(1)), 2},
	}
	for _, tt := range tests {
		if got := fitting(tt.changes); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}

// However small the windows, together they are the whole.
func FuzzAppendWindow(f *testing.F) {
	f.Add([]byte("abc"), []byte(""), []byte("defgh"), uint8(2))
	f.Add([]byte(""), []byte(""), []byte(""), uint8(1))
	f.Fuzz(func(t *testing.T, a, b, c []byte, window uint8) {
		pieces := [][]byte{a, b, c}
		whole := slices.Concat(pieces...)
		var got []byte
		buf := make([]byte, 0, max(int(window), 1))
		for skip, all := 0, false; !all; {
			var out []byte
			var taken int
			out, taken, all = appendWindow(buf, pieces, skip)
			if taken != len(out) || !all && taken != cap(buf) {
				t.Fatalf("took %d of %d, %d in the window", taken, len(whole), len(out))
			}
			got = append(got, out...)
			skip += taken
		}
		if !bytes.Equal(got, whole) {
			t.Errorf("got %q, want %q", got, whole)
		}
	})
}

// A writer of which each call is noted.
type noted struct {
	calls     []string
	deadlines []time.Time
	err       error
}

func (w *noted) Write(b []byte) (int, error) {
	w.calls = append(w.calls, string(b))
	return len(b), w.err
}

func (w *noted) SetWriteDeadline(t time.Time) error {
	w.deadlines = append(w.deadlines, t)
	return nil
}

// What is long is sent in pieces, each with a deadline of its own that is gone
// in the end.
func TestPatient(t *testing.T) {
	w := &noted{}
	start := time.Now()
	p := &patient{ctx: t.Context(), w: w, stall: time.Minute}
	long := strings.Repeat("x", pieceBytes+1)
	if n, err := p.Write([]byte(long)); n != len(long) || err != nil {
		t.Fatal(n, err)
	}
	if fmt.Sprint(len(w.calls[0]), len(w.calls[1]), len(w.calls)) != fmt.Sprint(pieceBytes, 1, 2) {
		t.Errorf("calls: %d", len(w.calls))
	}
	if len(w.deadlines) != 3 || w.deadlines[0].Before(start.Add(time.Minute)) || !w.deadlines[2].IsZero() {
		t.Errorf("deadlines: %v", w.deadlines)
	}
	p.until, p.waiting = start.Add(time.Second), new(atomic.Int64)
	_, _ = p.Write([]byte("x"))
	if got := w.deadlines[3]; got.Before(start.Add(time.Minute)) {
		t.Errorf("deadline %v, with nobody waiting", got)
	}
	p.waiting.Add(1)
	_, _ = p.Write([]byte("x"))
	if got := w.deadlines[5]; got != p.until {
		t.Errorf("deadline %v, want %v", got, p.until)
	}

	w.err = errors.New("lost")
	if _, err := p.Write([]byte("x")); err != w.err {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(ErrEnded)
	p.ctx = ctx
	if n, err := p.Write([]byte("x")); n != 0 || err != ErrEnded {
		t.Errorf("got %d, %v", n, err)
	}
}
