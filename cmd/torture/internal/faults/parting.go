package faults

import (
	"context"
	"sync"
	"time"
)

// rejoinTimeout is how long nodes that a fault of the network kept from each
// other may take to work together again.
const rejoinTimeout = 10 * time.Second

// Parting knows when a fault of the network last kept nodes of a round from each
// other: what another fault of it expects of them waits meanwhile.
type Parting struct {
	mu    sync.Mutex
	now   int       // faults under way
	ended time.Time // the last of those that are over; zero: there was none
}

// begin counts a fault as under way until over.
func (p *Parting) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now++
}

func (p *Parting) over() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now, p.ended = p.now-1, time.Now()
}

// around has the fault count from its begin to its end.
func (p *Parting) around(begin func(context.Context, *Scene) (Hurt, error)) func(context.Context, *Scene) (Hurt, error) {
	return func(ctx context.Context, s *Scene) (Hurt, error) {
		p.begin()
		h, err := begin(ctx, s)
		end := h.End
		h.End = func(ctx context.Context) error {
			defer p.over()
			return end(ctx)
		}
		return h, err
	}
}

// since reports whether nodes were parted after a moment, or so shortly before
// that they might still have to rejoin.
func (p *Parting) since(begin time.Time, rejoin time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now > 0 || !p.ended.IsZero() && p.ended.Add(rejoin).After(begin)
}

// deadline is until when what takes that long, from a begin on, may take with
// what was parted meanwhile.
func (p *Parting) deadline(begin time.Time, limit, rejoin time.Duration) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	d, ended := begin.Add(limit), p.ended
	if p.now > 0 {
		ended = time.Now()
	}
	if again := ended.Add(rejoin); !ended.IsZero() && again.After(d) {
		return again
	}
	return d
}
