package client

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
)

// maxBlockBytes bounds a block of a stream, and so each of its lines. An event
// tells a value, which may have 8 MiB, three times.
const maxBlockBytes = 32 << 20

var errBlockTooLong = errors.New("an event is too long")

// block is what stands between two empty lines of a stream.
type block struct {
	event string        // empty: unnamed
	data  []byte        // lines joined by \n; nil: the block had none
	id    string        // of the last event, which an earlier block may have set
	retry time.Duration // how long to wait before connecting again; 0: not said
}

// sseDecoder reads a text/event-stream as the WHATWG's standard parses it. It
// differs where a client that resumes has to know more: blocks without data
// come out too, if they set an id or a retry, because they move the place to
// resume from. A block that the stream's end cuts short never does.
type sseDecoder struct {
	in      *bufio.Reader
	size    int    // of the block so far
	started bool   // the place where a byte order mark may stand is behind
	afterCR bool   // a line feed that comes next belongs to the line before
	id      string // of the last block that set one
	text    []byte // the line being read
}

func newSSEDecoder(r io.Reader) *sseDecoder {
	return &sseDecoder{in: bufio.NewReader(r)}
}

// next returns the next block. Its data is the caller's to keep. io.EOF is the
// end of the stream, whether or not within a block.
func (d *sseDecoder) next() (block, error) {
	b := block{id: d.id}
	d.size = 0
	telling := false
	for {
		line, err := d.line()
		if err != nil {
			return block{}, err
		}
		if len(line) > 0 {
			telling = b.field(line) || telling
			continue
		}
		d.id = b.id
		if telling {
			b.data = bytes.TrimSuffix(b.data, []byte("\n"))
			return b, nil
		}
		b, d.size = block{id: d.id}, 0
	}
}

// field takes a line into b, and reports whether b says something by it.
func (b *block) field(line []byte) bool {
	name, value, _ := bytes.Cut(line, []byte(":"))
	value = bytes.TrimPrefix(value, []byte(" "))
	switch string(name) {
	case "data":
		b.data = append(append(b.data, value...), '\n')
		return true
	case "id":
		if bytes.IndexByte(value, 0) < 0 {
			b.id = string(value)
			return true
		}
	case "retry":
		if ms, err := strconv.ParseUint(string(value), 10, 31); err == nil && isDigits(value) {
			b.retry = time.Duration(ms) * time.Millisecond
			return true
		}
	case "event":
		b.event = string(value)
	}
	return false
}

// isDigits is stricter than ParseUint, which takes a sign.
func isDigits(text []byte) bool {
	return len(bytes.Trim(text, "0123456789")) == 0
}

// line returns the next line without its end, which is LF, CR or CRLF. It is
// valid until the next call. A line that the stream's end cuts short is none.
func (d *sseDecoder) line() ([]byte, error) {
	d.text = d.text[:0]
	for {
		if _, err := d.in.Peek(1); err != nil {
			return nil, err
		}
		chunk, _ := d.in.Peek(d.in.Buffered())
		if d.afterCR && chunk[0] == '\n' {
			d.afterCR = false
			d.in.Discard(1)
			continue
		}
		d.afterCR = false
		end := bytes.IndexAny(chunk, "\r\n")
		if end < 0 {
			if err := d.take(chunk); err != nil {
				return nil, err
			}
			continue
		}
		d.afterCR = chunk[end] == '\r'
		if err := d.take(chunk[:end]); err != nil {
			return nil, err
		}
		d.in.Discard(1)
		return d.withoutMark(), nil
	}
}

// take moves chunk, which is buffered, to the line.
func (d *sseDecoder) take(chunk []byte) error {
	if d.size += len(chunk); d.size > maxBlockBytes {
		return fmt.Errorf("%w: more than %d bytes", errBlockTooLong, maxBlockBytes)
	}
	d.text = append(d.text, chunk...)
	d.in.Discard(len(chunk))
	return nil
}

// withoutMark drops the byte order mark of the stream's first line.
func (d *sseDecoder) withoutMark() []byte {
	if d.started {
		return d.text
	}
	d.started = true
	return bytes.TrimPrefix(d.text, []byte("\xef\xbb\xbf"))
}
