package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http/httputil"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// benchTag begins the values that one run writes, so that its events are told
// from those of others.
type benchTag string

// tick is a value that says which write it is of, and when that was sent. It is
// padded to a length.
func (tag benchTag) tick(number int, sent time.Time, length int) []byte {
	b := append([]byte(`"`), tag...)
	b = strconv.AppendInt(append(b, ' '), int64(number), 10)
	b = strconv.AppendInt(append(b, ' '), sent.UnixNano(), 10)
	b = append(b, ' ')
	if pad := length - len(b) - 1; pad > 0 {
		b = append(b, bytes.Repeat([]byte("x"), pad)...)
	}
	return append(b, '"')
}

// parse finds the tick in the line of an event.
func (tag benchTag) parse(line []byte) (number int, sent time.Time, ok bool) {
	_, rest, ok := bytes.Cut(line, []byte(`"newValue":"`))
	if !ok || !bytes.HasPrefix(rest, []byte(tag)) {
		return 0, time.Time{}, false
	}
	_, rest, _ = bytes.Cut(rest, []byte(" "))
	first, rest, _ := bytes.Cut(rest, []byte(" "))
	second, _, ok := bytes.Cut(rest, []byte(" "))
	number, err := strconv.Atoi(string(first))
	ns, err2 := strconv.ParseInt(string(second), 10, 64)
	return number, time.Unix(0, ns), ok && err == nil && err2 == nil
}

// benchFeed is what the subscribers of one endpoint have in common.
type benchFeed struct {
	target  *benchTarget
	leads   bool // the node is the leader
	tag     benchTag
	request []byte // opens a stream
	most    int    // bytes of a line
	heard   atomic.Int64

	mu    sync.Mutex // guards stats
	stats benchStats
}

// note counts an event by its latency, or what went wrong by its code.
func (f *benchFeed) note(latency time.Duration, code string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if code != "" {
		f.stats.errors[code]++
		return
	}
	f.stats.inTime++
	f.stats.latency.add(latency)
}

// Codes of what subscribers meet.
const (
	benchStreamEnded = "STREAM_ENDED"
	benchOutOfOrder  = "OUT_OF_ORDER" // an event is missing, or came twice
)

// benchStream is one subscriber: a connection that is only read, with as little
// memory as one line takes.
type benchStream struct {
	feed *benchFeed
	conn *benchConn
	in   *bufio.Reader
	last int // number of the last tick; 0: none yet
}

// openBenchStream returns once the stream has begun.
func openBenchStream(ctx context.Context, f *benchFeed) (*benchStream, error) {
	conn, err := dialBench(ctx, f.target.url, f.target.timeout)
	if err != nil {
		return nil, err
	}
	s := &benchStream{feed: f, conn: conn}
	if err := s.open(); err != nil {
		conn.close()
		return nil, err
	}
	return s, nil
}

func (s *benchStream) open() error {
	c := s.conn
	if err := c.conn.SetDeadline(time.Now().Add(c.timeout)); err != nil {
		return err
	}
	if _, err := c.conn.Write(s.feed.request); err != nil {
		return err
	}
	s.in = bufio.NewReaderSize(c.conn, s.feed.most)
	c.in = nil
	h, err := readHead(s.in)
	switch {
	case err != nil:
		return err
	case h.status != 200:
		return fmt.Errorf("status %d for a stream", h.status)
	case h.chunked:
		s.in = bufio.NewReaderSize(httputil.NewChunkedReader(s.in), s.feed.most)
	}
	if _, err := s.in.Peek(1); err != nil { // the first block says where the stream begins
		return err
	}
	return c.conn.SetDeadline(time.Time{})
}

// follow notes each tick until the connection ends, or is closed.
func (s *benchStream) follow(ctx context.Context) {
	for {
		line, err := s.in.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			if ctx.Err() == nil {
				s.feed.note(0, benchStreamEnded)
			}
			return
		}
		if number, sent, ok := s.feed.tag.parse(line); ok {
			s.tick(number, time.Since(sent))
		}
	}
}

func (s *benchStream) tick(number int, latency time.Duration) {
	code := ""
	if number != s.last+1 {
		code = benchOutOfOrder
	}
	s.last = number
	s.feed.note(latency, code)
	s.feed.heard.Add(1)
}

// benchStreams is all subscribers of a run.
type benchStreams []*benchStream

// benchDials is how many streams are being opened at a time.
const benchDials = 128

// openBenchStreams spreads n subscribers over the feeds.
func openBenchStreams(ctx context.Context, n int, feeds []*benchFeed) (benchStreams, error) {
	streams := make(benchStreams, n)
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var g sync.WaitGroup
	for range min(n, benchDials) {
		g.Go(func() {
			for i := next.Add(1) - 1; i < int64(n) && failed.Load() == nil; i = next.Add(1) - 1 {
				f := feeds[i%int64(len(feeds))]
				s, err := openBenchStream(ctx, f)
				if err != nil {
					err = fmt.Errorf("open stream %d of %d at %s: %w", i+1, n, f.target.url, err)
					failed.CompareAndSwap(nil, &err)
					return
				}
				streams[i] = s
			}
		})
	}
	g.Wait()
	if err := failed.Load(); err != nil {
		streams.close()
		return nil, *err
	}
	return streams, nil
}

func (ss benchStreams) close() {
	for _, s := range ss {
		if s != nil {
			s.conn.close()
		}
	}
}
