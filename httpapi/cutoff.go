package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stateraft/stateraft/cluster"
)

// A node that is not ready at so many looks in a row counts as cut off. An
// election is over sooner.
const (
	cutoffLooks    = 10
	cutoffInterval = time.Second
)

// A cutoff finds out whether the node is cut off from its cluster. It ends the
// streams then, which would hear keep-alives and nothing else: their clients are
// to go on at another node. It has a goroutine from the first call of found to
// stop.
type cutoff struct {
	ready    func() error
	end      func() // ends the streams there are
	log      *slog.Logger
	interval time.Duration // between two looks

	watch  sync.Once
	ctx    context.Context // of the goroutine
	stop   context.CancelFunc
	is     atomic.Bool
	failed int // looks in a row; the goroutine's
}

func newCutoff(ready func() error, end func(), log *slog.Logger) *cutoff {
	c := &cutoff{ready: ready, end: end, log: log, interval: cutoffInterval}
	c.ctx, c.stop = context.WithCancel(context.Background())
	return c
}

// found reports whether the node is cut off, as far as is known.
func (c *cutoff) found() bool {
	c.watch.Do(func() { go c.run() })
	return c.is.Load()
}

func (c *cutoff) run() {
	tick := time.NewTicker(c.interval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			c.look()
		case <-c.ctx.Done():
			return
		}
	}
}

// look counts looks rather than time, of which a process that was stopped for a
// while notices none. A node that catches up has a leader, and delivers all, in
// order: its streams stay.
func (c *cutoff) look() {
	err := c.ready()
	if err == nil || errors.Is(err, cluster.ErrCatchingUp) {
		c.failed = 0
		c.is.Store(false)
		return
	}
	if c.failed++; c.failed < cutoffLooks {
		return
	}
	if !c.is.Swap(true) {
		c.log.Warn("serving no streams until the node is ready again", "reason", err)
	}
	c.end() // at every look: a request may have been on its way to its stream
}
