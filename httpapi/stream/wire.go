package stream

import (
	"errors"
	"io"
	"sync"
	"syscall"
)

// Limits of what a client may send on a connection that carries its stream.
// It is read to see whether the client is still there, and thrown away.
const (
	discardBytes = 4096
	discardReads = 16 // at one keep-alive
)

var errChatty = errors.New("the client sends data on its stream")

// A wire makes system calls on connections that do not wait. It belongs to one
// goroutine, and makes no garbage.
type wire struct {
	buf     []byte
	n       int
	err     error
	doWrite func(fd uintptr) bool
	doRead  func(fd uintptr) bool
	scratch [discardBytes]byte
}

func newWire() *wire {
	w := &wire{}
	w.doWrite = func(fd uintptr) bool {
		w.n, w.err = again(syscall.Write, fd, w.buf)
		return true
	}
	w.doRead = func(fd uintptr) bool {
		w.n, w.err = again(syscall.Read, fd, w.scratch[:])
		return true
	}
	return w
}

// wires are for the goroutines of single subscriptions.
var wires = sync.Pool{New: func() any { return newWire() }}

// again makes a call that a signal interrupted once more. A call that would
// have to wait is one that did nothing.
func again(call func(int, []byte) (int, error), fd uintptr, b []byte) (int, error) {
	for {
		n, err := call(int(fd), b)
		if err != syscall.EINTR {
			return max(n, 0), err
		}
	}
}

// write sends as much of b as the connection takes at once.
func (w *wire) write(c syscall.RawConn, b []byte) (int, error) {
	w.buf = b
	err := c.Write(w.doWrite)
	w.buf = nil
	if err == nil {
		err = w.err
	}
	if err == syscall.EAGAIN {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return w.n, nil
}

// check returns an error if the client has closed its side.
func (w *wire) check(c syscall.RawConn) error {
	for range discardReads {
		if err := c.Read(w.doRead); err != nil {
			return err
		}
		switch {
		case w.err == syscall.EAGAIN:
			return nil
		case w.err != nil:
			return w.err
		case w.n == 0:
			return io.EOF
		}
	}
	return errChatty
}
