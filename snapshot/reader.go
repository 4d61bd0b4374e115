package snapshot

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
)

// readStep bounds how much memory a length that may be damaged can claim
// before that many bytes have really arrived.
const readStep = 1 << 20

// A Reader reads one snapshot. It is for one goroutine. The first error ends
// it: every later call returns that error.
type Reader struct {
	in      *bufio.Reader
	sum     hash.Hash
	offset  int64 // of the next byte to be read
	content uint32
	frames  uint64
	bytes   uint64 // of payload
	buf     []byte // the frame that was read last, whole
	err     error
}

// NewReader reads the header. It returns ErrVersion if the container is newer
// than this build, ErrCorrupt if the header is not whole, and an error of r as
// it is. The Reader may read from r beyond the snapshot's end.
func NewReader(r io.Reader) (*Reader, error) {
	rd := &Reader{in: bufio.NewReaderSize(r, 64<<10), sum: sha256.New()}
	if err := rd.header(); err != nil {
		return nil, err
	}
	return rd, nil
}

// Content returns the version of the content's format, as given to NewWriter.
func (r *Reader) Content() uint32 { return r.content }

// Next returns the payload of the next frame, valid until the next call.
//
// It returns io.EOF only after the trailer was found to agree with everything
// before it and nothing followed. Until then the frames are each undamaged, but
// one may be missing or out of place: act on none of them before io.EOF.
func (r *Reader) Next() ([]byte, error) {
	if r.err != nil {
		return nil, r.err
	}
	p, err := r.next()
	if err != nil {
		r.err = err
		return nil, err
	}
	return p, nil
}

// Info describes a snapshot that was found whole.
type Info struct {
	Content uint32   // version of the content's format
	Frames  uint64   // number of frames
	Bytes   uint64   // total of their payloads
	Size    int64    // of the container, in bytes
	SHA256  [32]byte // of everything before the trailer
}

// Verify reads r to its end and returns what it is, or why it is no whole
// snapshot: the errors are those of NewReader and Next.
func Verify(r io.Reader) (Info, error) {
	rd, err := NewReader(r)
	if err != nil {
		return Info{}, err
	}
	for err == nil {
		_, err = rd.Next()
	}
	if err != io.EOF {
		return Info{}, err
	}
	info := Info{Content: rd.content, Frames: rd.frames, Bytes: rd.bytes, Size: rd.offset}
	rd.sum.Sum(info.SHA256[:0])
	return info, nil
}

func (r *Reader) header() error {
	r.buf = r.buf[:0]
	if err := r.fill(headerSize); err != nil {
		return err
	}
	if got := string(r.buf[:8]); got != magic {
		return corrupt(0, "magic is %q, not %q", got, magic)
	}
	if got, want := binary.LittleEndian.Uint32(r.buf[16:]), checksum(r.buf[:16]); got != want {
		return corrupt(0, "header checksum is %08x, computed %08x", got, want)
	}
	switch v := binary.LittleEndian.Uint32(r.buf[8:]); {
	case v > Version:
		return fmt.Errorf("%w: container version %d, this build reads up to %d", ErrVersion, v, Version)
	case v == 0:
		return corrupt(8, "container version is 0, the first is 1")
	}
	r.content = binary.LittleEndian.Uint32(r.buf[12:])
	r.sum.Write(r.buf)
	return nil
}

func (r *Reader) next() ([]byte, error) {
	at := r.offset
	kind, payload, err := r.frame()
	if err != nil {
		return nil, err
	}
	if kind == kindEnd {
		return nil, r.end(at, payload)
	}
	r.sum.Write(r.buf)
	r.frames++
	r.bytes += uint64(len(payload))
	return payload, nil
}

// frame reads one frame into r.buf and checks it by itself.
func (r *Reader) frame() (kind byte, payload []byte, err error) {
	at := r.offset
	r.buf = r.buf[:0]
	if err := r.fill(frameHeadSize); err != nil {
		return 0, nil, err
	}
	kind, size := r.buf[0], binary.LittleEndian.Uint32(r.buf[1:])
	if err := checkHead(at, kind, size); err != nil {
		return 0, nil, err
	}
	end := frameHeadSize + int(size)
	if err := r.fill(end + crcSize); err != nil {
		return 0, nil, err
	}
	if got, want := binary.LittleEndian.Uint32(r.buf[end:]), checksum(r.buf[:end]); got != want {
		return 0, nil, corrupt(at, "frame checksum is %08x, computed %08x", got, want)
	}
	return kind, r.buf[frameHeadSize:end], nil
}

func checkHead(at int64, kind byte, size uint32) error {
	switch {
	case kind == kindData && size <= MaxFrame, kind == kindEnd && size == trailerSize:
		return nil
	case kind == kindData:
		return corrupt(at, "frame length is %d, the limit is %d", size, MaxFrame)
	case kind == kindEnd:
		return corrupt(at, "trailer length is %d, not %d", size, trailerSize)
	default:
		return corrupt(at, "frame kind is %d, known are %d and %d", kind, kindData, kindEnd)
	}
}

// end compares the trailer with what was read, and returns io.EOF if they agree
// and the input ends there.
func (r *Reader) end(at int64, trailer []byte) error {
	if got := binary.LittleEndian.Uint64(trailer); got != r.frames {
		return corrupt(at, "trailer counts %d frames, read %d", got, r.frames)
	}
	if got := binary.LittleEndian.Uint64(trailer[8:]); got != r.bytes {
		return corrupt(at, "trailer counts %d payload bytes, read %d", got, r.bytes)
	}
	if got, want := [32]byte(trailer[16:]), [32]byte(r.sum.Sum(nil)); got != want {
		return corrupt(at, "trailer sum is %x, computed %x", got, want)
	}
	switch b, err := r.in.ReadByte(); {
	case err == io.EOF:
		return io.EOF
	case err != nil:
		return err
	default:
		return corrupt(r.offset, "byte %02x follows the trailer, expected the end", b)
	}
}

// fill reads until r.buf holds n bytes, in steps, so that memory grows only
// with bytes that arrived.
func (r *Reader) fill(n int) error {
	for len(r.buf) < n {
		have := len(r.buf)
		step := min(n-have, readStep)
		r.buf = slices.Grow(r.buf, step)[:have+step]
		got, err := io.ReadFull(r.in, r.buf[have:])
		r.offset += int64(got)
		if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
			return corrupt(r.offset, "input ends after %d of %d bytes", have+got, n)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func corrupt(offset int64, format string, args ...any) error {
	return fmt.Errorf("%w at byte %d: %s", ErrCorrupt, offset, fmt.Sprintf(format, args...))
}
