package httpapi

import (
	"context"
	"time"

	"golang.org/x/time/rate"
)

// Refusals for overload are answered at once as long as they are few. Clients
// that heed no Retry-After would else spend the CPU on being refused that the
// admitted requests need.
const (
	refusalsPerSecond = 1000
	refusalsAtOnce    = 250
	refusalHold       = 250 * time.Millisecond // of each beyond them
)

// A pacer holds up refusals that are too many.
type pacer struct{ limiter *rate.Limiter }

func newPacer() pacer {
	return pacer{rate.NewLimiter(refusalsPerSecond, refusalsAtOnce)}
}

// wait returns when a refusal may leave.
func (p pacer) wait(ctx context.Context) {
	if p.limiter.Allow() {
		return
	}
	select {
	case <-time.After(refusalHold):
	case <-ctx.Done():
	}
}
