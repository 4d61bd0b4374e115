package cluster

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/stateraft/stateraft/fsm/fsmpb"
)

// newStuckProposer returns a proposer whose batches never come back.
func newStuckProposer(t *testing.T) *proposer {
	p := &proposer{
		deliver: func(ctx context.Context, _ *fsmpb.Batch, _ time.Duration) (*fsmpb.BatchAnswer, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		},
		pause:    func(context.Context, time.Duration) {},
		full:     func() bool { return false },
		stats:    &metrics{batchCommands: prometheus.NewHistogram(prometheus.HistogramOpts{})},
		inFlight: map[uint64]*flight{},
		session:  1,
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.ctx = ctx
	t.Cleanup(func() {
		cancel()
		p.close()
	})
	return p
}

func queue(p *proposer, kind fsmpb.Op_Kind, bytes int) error {
	c := &fsmpb.Command{Namespace: "w", Ops: []*fsmpb.Op{{Kind: kind, Key: "k"}}}
	return p.enqueue(&call{ctx: context.Background(), command: c, size: bytes, done: make(chan answer, 1)})
}

// fill queues commands until one is refused, and returns how many were taken.
func fill(t *testing.T, p *proposer, kind fsmpb.Op_Kind, bytes int) int {
	t.Helper()
	for n := 0; ; n++ {
		switch err := queue(p, kind, bytes); {
		case errors.Is(err, ErrOverloaded):
			return n
		case err != nil || n > 4*maxWaiting:
			t.Fatalf("after %d: %v", n, err)
		}
	}
}

func TestAdmission(t *testing.T) {
	const slow = 200 * time.Millisecond // two batches at a time: 10 a second
	for _, tt := range []struct {
		name       string
		flightTime time.Duration
		bytes      int
		want       int // commands that wait when the next is refused
	}{
		{"by number", 0, 10, maxWaiting},
		{"by bytes", 0, 64 << 10, maxWaitingBytes / (64 << 10)},
		{"by time, many", slow, 10, 3 * maxBatchCommands},
		{"by time, large", slow, 64 << 10, 3 * maxBatchBytes / (64 << 10)},
		{"what fits the next batch is never refused", time.Hour, 10, maxBatchCommands},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newStuckProposer(t)
			p.flightTime = tt.flightTime
			fill(t, p, fsmpb.Op_SET, tt.bytes)
			if waiting, _ := p.depth(); waiting != tt.want {
				t.Errorf("%d commands wait, want %d", waiting, tt.want)
			}
			if err := p.admits(tt.bytes); !errors.Is(err, ErrOverloaded) {
				t.Errorf("one more would be admitted: %v", err)
			}
			if n := fill(t, p, fsmpb.Op_DELETE, tt.bytes); n == 0 {
				t.Error("no delete was admitted beside them")
			}
		})
	}
}

// A command may be larger than what may wait, if nothing else does.
func TestAdmissionOfLargest(t *testing.T) {
	p := newStuckProposer(t)
	for range maxBatchesAtOnce + 1 {
		if err := queue(p, fsmpb.Op_SET, maxCommandBytes); err != nil {
			t.Fatal(err)
		}
	}
	if err := queue(p, fsmpb.Op_SET, 1); !errors.Is(err, ErrOverloaded) {
		t.Errorf("behind it: %v", err)
	}
}

// The time of a batch is that of the attempt that settled it: those before it
// say how long an election took.
func TestFlightTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newStuckProposer(t)
		attempts := 0
		p.deliver = func(_ context.Context, b *fsmpb.Batch, _ time.Duration) (*fsmpb.BatchAnswer, error) {
			if attempts++; attempts == 1 {
				time.Sleep(time.Second)
				return nil, errors.New("lost")
			}
			time.Sleep(8 * time.Millisecond)
			return &fsmpb.BatchAnswer{Answers: make([]*fsmpb.Answer, len(b.Commands))}, nil
		}
		c := &fsmpb.Command{Namespace: "w", Ops: []*fsmpb.Op{{Kind: fsmpb.Op_SET, Key: "k", Value: []byte("1")}}}
		if _, err := p.propose(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if p.flightTime != time.Millisecond {
			t.Errorf("%v, want an eighth of the last attempt's 8 ms", p.flightTime)
		}
	})
}

// Ensure a batch that may have left is sent again as long as somebody waits for
// it, and no longer; then the next one's Low forbids copies of it.
func TestAbandonedBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newStuckProposer(t)
		var mu sync.Mutex // guards both
		var sent []*fsmpb.Batch
		reached := false
		p.deliver = func(_ context.Context, b *fsmpb.Batch, _ time.Duration) (*fsmpb.BatchAnswer, error) {
			mu.Lock()
			sent = append(sent, b)
			answered := reached
			mu.Unlock()
			if answered {
				return &fsmpb.BatchAnswer{Answers: make([]*fsmpb.Answer, len(b.Commands))}, nil
			}
			time.Sleep(time.Second)
			return nil, errBroken // an answer that is lost
		}
		propose := func(patience time.Duration) error {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			_, err := p.propose(ctx, &fsmpb.Command{Namespace: "w", Ops: []*fsmpb.Op{{Kind: fsmpb.Op_DELETE, Key: "k"}}})
			return err
		}
		if err := propose(10 * time.Second); !errors.Is(err, ErrOutcomeUnknown) {
			t.Errorf("got %v, want that nobody knows", err)
		}
		time.Sleep(time.Hour)
		mu.Lock()
		attempts := len(sent)
		if attempts < 9 || attempts > 11 {
			t.Errorf("%d attempts of a second each, somebody waited for 10 s", attempts)
		}
		reached = true
		mu.Unlock()
		if err := propose(10 * time.Second); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		defer mu.Unlock()
		if len(sent) != attempts+1 || sent[attempts].Low <= sent[0].Sequence {
			t.Errorf("then %d more were sent, the last with %v", len(sent)-attempts, sent[len(sent)-1])
		}
	})
}

// Ensure a process that was stopped sends nothing for those who have gone since.
func TestNothingIsSentForWhoHasGone(t *testing.T) {
	past, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	gone, stop := context.WithCancel(t.Context())
	stop()
	for _, tt := range []struct {
		name      string
		ctxs      []context.Context
		abandoned bool
	}{
		{"the deadline has passed", []context.Context{past}, true},
		{"all have gone", []context.Context{past, gone}, true},
		{"one waits", []context.Context{past, t.Context()}, false},
	} {
		f := new(flight)
		for _, ctx := range tt.ctxs {
			f.calls = append(f.calls, &call{ctx: ctx})
		}
		if got := f.isAbandoned(time.Now()); got != tt.abandoned {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.abandoned)
		}
	}
}
