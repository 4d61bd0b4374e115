package cluster

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"
)

const (
	quietTime  = time.Minute // between two lines about the same
	quietLines = 256         // that are told apart; all others share one
)

// A quietLog lets a line through the first time, and then once every quietTime.
type quietLog struct {
	mu    sync.Mutex
	lines map[quietKey]*quietLine
}

// A quietKey is what a line is about.
type quietKey struct{ host, reason string }

type quietLine struct {
	told  time.Time
	since int // lines kept back since
}

// admit reports whether a line about key may be written now, and how many were
// kept back before it.
func (q *quietLog) admit(key quietKey, now time.Time) (ok bool, keptBack int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.line(key, now)
	if !l.told.IsZero() && now.Sub(l.told) < quietTime {
		l.since++
		return false, 0
	}
	keptBack = l.since
	l.told, l.since = now, 0
	return true, keptBack
}

// line returns key's line, or, when there are too many even without the old
// ones, the one that all others share.
func (q *quietLog) line(key quietKey, now time.Time) *quietLine {
	if q.lines == nil {
		q.lines = make(map[quietKey]*quietLine)
	}
	if q.lines[key] == nil && len(q.lines) >= quietLines {
		for k, l := range q.lines {
			if now.Sub(l.told) >= quietTime {
				delete(q.lines, k)
			}
		}
		if len(q.lines) >= quietLines {
			key = quietKey{}
		}
	}
	if q.lines[key] == nil {
		q.lines[key] = new(quietLine)
	}
	return q.lines[key]
}

// A refusedError is a handshake that this side refused.
type refusedError struct{ nodeID, why string }

func (e *refusedError) Error() string { return fmt.Sprintf("node %q is refused: %s", e.nodeID, e.why) }

// tellRefused logs a handshake that failed. A node that waits to be admitted
// is refused several times a second, for as long as it waits.
func (t *transport) tellRefused(remote string, err error) {
	level, n := handshakeLevel(err), 0
	if level > slog.LevelDebug {
		host, _, _ := net.SplitHostPort(remote)
		ok, keptBack := t.refusals.admit(quietKey{host, handshakeReason(err)}, time.Now())
		if !ok {
			return
		}
		n = keptBack
	}
	t.config.logger.Log(t.ctx, level, "handshake failed", "remote", remote, "err", err, "suppressed", n)
}

// handshakeReason is what failed, without the ports and names that differ each
// time.
func handshakeReason(err error) string {
	var refused *refusedError
	var op *net.OpError
	switch {
	case errors.As(err, &refused):
		return refused.why
	case errors.As(err, &op):
		return op.Op + ": " + op.Err.Error()
	default:
		return err.Error()
	}
}

// handshakeLevel makes little of a peer that only looked whether the port is
// open, as load balancers do.
func handshakeLevel(err error) slog.Level {
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.ECONNRESET) {
		return slog.LevelDebug
	}
	return slog.LevelWarn
}
