package snapshot

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
)

// A Writer writes one snapshot. It is for one goroutine. The first error ends
// it: every later call returns that error.
type Writer struct {
	out    *bufio.Writer
	sum    hash.Hash
	frames uint64
	bytes  uint64 // of payload
	err    error
	closed bool
}

// NewWriter writes the header of a snapshot whose frames are in version
// content of the caller's format.
func NewWriter(w io.Writer, content uint32) (*Writer, error) {
	wr := &Writer{out: bufio.NewWriterSize(w, 64<<10), sum: sha256.New()}
	head := make([]byte, 0, headerSize)
	head = append(head, magic...)
	head = binary.LittleEndian.AppendUint32(head, Version)
	head = binary.LittleEndian.AppendUint32(head, content)
	head = binary.LittleEndian.AppendUint32(head, checksum(head))
	wr.write(head)
	return wr, wr.err
}

// WriteFrame appends a frame with payload p, which may be empty and is not
// kept. A payload longer than MaxFrame is refused with ErrTooLarge and ends
// the writer like any other error.
func (w *Writer) WriteFrame(p []byte) error {
	if w.closed {
		return ErrClosed
	}
	if w.err == nil && len(p) > MaxFrame {
		w.err = fmt.Errorf("%w: %d bytes, the limit is %d", ErrTooLarge, len(p), MaxFrame)
	}
	w.frame(kindData, p)
	w.frames++
	w.bytes += uint64(len(p))
	return w.err
}

// Close writes the trailer and flushes; it does not close the writer below,
// and syncing that is the caller's task. Only a snapshot whose Close returned
// nil is whole. A second call does nothing and returns the same.
func (w *Writer) Close() error {
	if w.closed {
		return w.err
	}
	w.closed = true
	w.frame(kindEnd, w.trailer())
	if w.err == nil {
		w.err = w.out.Flush()
	}
	return w.err
}

func (w *Writer) trailer() []byte {
	p := make([]byte, 0, trailerSize)
	p = binary.LittleEndian.AppendUint64(p, w.frames)
	p = binary.LittleEndian.AppendUint64(p, w.bytes)
	return w.sum.Sum(p)
}

func (w *Writer) frame(kind byte, p []byte) {
	var head [frameHeadSize]byte
	head[0] = kind
	binary.LittleEndian.PutUint32(head[1:], uint32(len(p)))
	crc := crc32.Update(checksum(head[:]), castagnoli, p)
	w.write(head[:])
	w.write(p)
	w.write(binary.LittleEndian.AppendUint32(nil, crc))
}

// write appends p to the output and to the sum, unless an earlier write failed.
func (w *Writer) write(p []byte) {
	if w.err != nil {
		return
	}
	w.sum.Write(p)
	_, w.err = w.out.Write(p)
}
