package cluster

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/stateraft/stateraft/cluster/clusterpb"
)

const (
	maxFrame   = 16 << 20 // bytes
	frameQueue = 256      // frames that wait for a connection's writer
	ioBuffer   = 64 << 10 // bytes
)

// Every error of a node call wraps one of these two and the cause.
var (
	// errNotSent: no byte of the call left this node; the other side has not
	// and will not carry it out.
	errNotSent = errors.New("call not sent")

	// errBroken: the call may have been carried out, or may yet be.
	errBroken = errors.New("call not answered")
)

// isRefused reports whether nothing listens at the address that was called:
// the host is up and the process is not.
func isRefused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

// frameConn is one end of a connection for node calls: what both ends share.
// A goroutine runs writeLoop; another reads.
type frameConn struct {
	link *link
	in   *bufio.Reader
	buf  bytes.Buffer // the frame being read
	out  chan *outFrame

	once sync.Once
	done chan struct{} // closed when the connection has ended
	err  error         // why; may be read once done is closed
}

func newFrameConn(l *link) *frameConn {
	return &frameConn{
		link: l,
		in:   bufio.NewReaderSize(l, ioBuffer),
		out:  make(chan *outFrame, frameQueue),
		done: make(chan struct{}),
	}
}

// end closes the connection. The first cause given stays.
func (c *frameConn) end(cause error) {
	c.once.Do(func() {
		c.err = cause
		close(c.done)
		c.link.Close()
	})
}

// read returns the next frame. Nothing in it shares memory with c.
func (c *frameConn) read() (*clusterpb.Frame, error) {
	if c.buf.Cap() > 16*ioBuffer {
		c.buf = bytes.Buffer{} // one large frame must not hold its memory for ever
	}
	if err := readBlock(c.in, &c.buf, maxFrame); err != nil {
		return nil, err
	}
	f := new(clusterpb.Frame)
	if err := proto.Unmarshal(c.buf.Bytes(), f); err != nil {
		return nil, fmt.Errorf("read frame: %w", err)
	}
	return f, nil
}

// outFrame is an encoded frame on its way to the writer. Until the writer
// takes it, it can be taken back.
type outFrame struct {
	block []byte
	taken atomic.Bool // by the writer, to be sent; or back, never to be sent
}

// take reports whether the caller is the first to ask, and so decides.
func (f *outFrame) take() bool { return f.taken.CompareAndSwap(false, true) }

// send queues a frame. An error means that it will not be written.
func (c *frameConn) send(ctx context.Context, f *outFrame) error {
	select {
	case <-c.done: // a queue with room must not hide it
		return c.err
	default:
	}
	select {
	case c.out <- f:
		return nil
	case <-c.done:
		return c.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// writeLoop writes frames until the connection ends. All that wait go out
// with one flush.
func (c *frameConn) writeLoop() {
	w := bufio.NewWriterSize(impatientWriter{c.link}, ioBuffer)
	for {
		select {
		case f := <-c.out:
			if err := c.writeQueued(w, f); err != nil {
				c.end(err)
				return
			}
		case <-c.done:
			return
		}
	}
}

func (c *frameConn) writeQueued(w *bufio.Writer, f *outFrame) error {
	for f != nil {
		if f.take() {
			if _, err := w.Write(f.block); err != nil {
				return err
			}
		}
		f = c.queued()
	}
	return w.Flush()
}

// queued returns a frame that waits, or nil. It lets others run once before it
// gives up: with many callers the next frames are a moment away, and a flush
// is the dearest part of a call.
func (c *frameConn) queued() *outFrame {
	for range 2 {
		select {
		case f := <-c.out:
			return f
		default:
			runtime.Gosched()
		}
	}
	return nil
}

// impatientWriter fails when the peer takes nothing for writeTimeout, however
// long a whole message may take.
type impatientWriter struct{ conn net.Conn }

func (w impatientWriter) Write(p []byte) (n int, err error) {
	for part := range slices.Chunk(p, ioBuffer) {
		w.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
		m, err := w.conn.Write(part)
		if n += m; err != nil {
			return n, err
		}
	}
	return n, nil
}

// endCause is why reading stopped, in words for whoever waits for an answer.
func endCause(err error) error {
	if err == io.EOF {
		return errors.New("the peer closed the connection")
	}
	return err
}
