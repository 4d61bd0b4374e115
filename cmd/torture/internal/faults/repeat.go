package faults

import (
	"context"
	"fmt"
	"time"
)

// repetition is something that is done again and again.
type repetition struct {
	quit, done chan struct{}

	// What follows counts once it has ended.
	tries, failed int
	last          error // why an attempt failed
}

// repeat does something again and again, once at least, with a pause in between,
// until its end.
func repeat(pause time.Duration, do func() error) *repetition {
	r := &repetition{quit: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(r.done)
		for {
			r.take(do())
			select {
			case <-r.quit:
				return
			case <-time.After(pause):
			}
		}
	}()
	return r
}

func (r *repetition) take(err error) {
	r.tries++
	if err != nil {
		r.failed++
		r.last = err
	}
}

// end waits for the last time. That some attempts fail is what happens to a
// cluster that is hurt; it is an error if all did.
func (r *repetition) end(context.Context) error {
	close(r.quit)
	<-r.done
	if r.failed < r.tries {
		return nil
	}
	return fmt.Errorf("it failed %d times of %d: %w", r.failed, r.tries, r.last)
}

// add counts another that has ended as well.
func (r *repetition) add(other *repetition) {
	r.tries += other.tries
	r.failed += other.failed
}

// String says how often it was done.
func (r *repetition) String() string { return fmt.Sprintf("%d times of %d", r.tries-r.failed, r.tries) }
