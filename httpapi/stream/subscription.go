package stream

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// A Subscription is one stream. Its cursor is a revision: all changes of its
// topic up to there are with the client, or on their way in the connection.
//
// While it is in its shard it belongs to the shard; while it is not, to the
// goroutine that makes it level.
type Subscription struct {
	shard *shard
	group *group // the shard's for its topic; while it is not in the shard, only its topic counts

	conn net.Conn        // nil: the stream is served by a handler
	raw  syscall.RawConn // of conn
	wake chan struct{}   // tells the handler that the subscription has left its shard; nil: there is conn
	cut  func()          // ends the connection; guarded by the shard's mutex

	cursor uint64
	told   uint64 // the last id that the client was sent
	offset int    // bytes of the next event that are in the connection already
	whole  whole  // all present keys are to be told next
	lease  Lease  // zero: none

	at     uint32 // position in the group
	slotAt uint32 // position in the shard's slot
	slot   uint8
	level  bool // it is in the shard
	ended  bool // it is not to join again; guarded by the shard's mutex
}

// Writer is a connection, or what a handler has of one.
type Writer interface {
	Write([]byte) (int, error)
	SetWriteDeadline(time.Time) error
}

// Conn is a connection that can be written to without waiting.
type Conn interface {
	net.Conn
	syscall.Conn
}

// Attach serves the stream on a connection, which is the hub's from now on.
// head is the head of the response. It returns at once.
func (s *Subscription) Attach(conn Conn, head []byte) {
	raw, err := conn.SyscallConn()
	s.conn, s.raw = conn, raw
	s.shard.mu.Lock()
	defer s.shard.mu.Unlock()
	if err != nil || s.ended {
		_ = conn.Close() // it is lost either way
		s.shard.hub.forget(s)
		return
	}
	s.cut = func() { _ = conn.Close() } // it is lost either way
	s.resume(append(head, s.opening()...))
}

// resume starts the goroutine that makes s level. tail is sent first. It
// requires the shard's mutex, and that s has not been ended.
func (s *Subscription) resume(tail []byte) {
	hub := s.shard.hub
	hub.behind.Add(1)
	hub.wg.Go(func() {
		defer hub.behind.Add(-1)
		out := &patient{ctx: hub.ctx, w: s.conn, stall: hub.cfg.Stall}
		_, err := out.Write(tail)
		if err == nil {
			err = s.follow(out)
		}
		if err != nil {
			_ = s.conn.Close() // it is lost either way
			hub.forget(s)
		}
	})
}

// Serve writes the stream to w until ctx ends, the client is lost or the hub
// ends its streams. It needs the goroutine that calls it all the while.
func (s *Subscription) Serve(ctx context.Context, w Writer) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s.wake = make(chan struct{}, 1)
	defer s.shard.hub.forget(s)
	defer s.shard.leave(s)
	if !s.begin(func() { cancel(ErrEnded) }) {
		return ErrEnded
	}
	out := &patient{ctx: ctx, w: w, stall: s.shard.hub.cfg.Stall}
	if _, err := out.Write(s.opening()); err != nil {
		return err
	}
	return s.serve(ctx, out)
}

// begin notes how to end the stream, and reports false if that has happened.
func (s *Subscription) begin(cut func()) bool {
	s.shard.mu.Lock()
	defer s.shard.mu.Unlock()
	s.cut = cut
	return !s.ended
}

func (s *Subscription) serve(ctx context.Context, out *patient) error {
	tick := time.NewTicker(s.shard.hub.cfg.KeepAlive)
	defer tick.Stop()
	for {
		if err := s.follow(out); err != nil {
			return err
		}
		select {
		case <-s.wake:
		case <-tick.C:
			if _, err := out.Write(s.keepAlive()); err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// keepAlive takes s out of its shard and returns what its client is to hear.
func (s *Subscription) keepAlive() []byte {
	s.shard.leave(s)
	if s.offset > 0 || s.cursor <= s.told {
		return keepAliveBlock
	}
	s.told = s.cursor
	return keepAlive(s.cursor)
}

// Abandon gives the reserved stream back.
func (s *Subscription) Abandon() { s.shard.hub.forget(s) }

func (s *Subscription) opening() []byte {
	if s.whole != wholeNone {
		return []byte(RetryBlock)
	}
	return opening(s.cursor)
}

// A patient writer waits for slow clients, but not for those who read nothing
// at all.
type patient struct {
	ctx     context.Context // ends it between two pieces
	w       Writer
	stall   time.Duration // a piece must be sent within that
	until   time.Time     // and all by then, while anybody is waiting; zero: any time
	waiting *atomic.Int64 // how many are; there if until is
}

// pieceBytes is what a client must read within the patience that it has.
const pieceBytes = 16 << 10

func (p *patient) Write(b []byte) (n int, err error) {
	for len(b) > 0 {
		if err := context.Cause(p.ctx); err != nil {
			return n, err
		}
		p.setDeadline()
		m, err := p.w.Write(b[:min(len(b), pieceBytes)])
		n += m
		if err != nil {
			return n, err
		}
		b = b[m:]
	}
	_ = p.w.SetWriteDeadline(time.Time{}) // as in setDeadline
	return n, nil
}

func (p *patient) setDeadline() {
	deadline := time.Now().Add(p.stall)
	if !p.until.IsZero() && p.waiting.Load() > 0 && p.until.Before(deadline) {
		deadline = p.until
	}
	_ = p.w.SetWriteDeadline(deadline) // a connection that is lost says so when it is written to
}

// windows are buffers for what goroutines send.
var windows = sync.Pool{New: func() any { return new([pieceBytes]byte) }}
