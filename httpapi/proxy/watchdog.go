package proxy

import (
	"context"
	"errors"
	"io"
	"time"
)

var errSilent = errors.New("the upstream fell silent")

// A watchdog cancels a context when it is not fed in time.
type watchdog struct {
	cancel context.CancelCauseFunc
	timer  *time.Timer
}

// watch returns a context that ends with ctx or, with errSilent, when the
// watchdog was last fed too long ago. stop must be called.
func watch(ctx context.Context, until time.Duration) (context.Context, *watchdog) {
	ctx, cancel := context.WithCancelCause(ctx)
	return ctx, &watchdog{cancel, time.AfterFunc(until, func() { cancel(errSilent) })}
}

// feed keeps the watchdog quiet for a while.
func (d *watchdog) feed(until time.Duration) { d.timer.Reset(until) }

func (d *watchdog) stop() {
	d.timer.Stop()
	d.cancel(nil)
}

// A source is an upstream's body, which may fall silent for idleTimeout.
type source struct {
	body     io.Reader
	watchdog *watchdog
}

func (s *source) Read(b []byte) (int, error) {
	s.watchdog.feed(idleTimeout)
	return s.body.Read(b)
}
