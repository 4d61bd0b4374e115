package client

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// readBlocks shows the blocks of a stream, and why there are no more.
func readBlocks(r io.Reader) (blocks []string, err error) {
	d := newSSEDecoder(r)
	for {
		b, err := d.next()
		if err != nil {
			return blocks, err
		}
		data := "-"
		if b.data != nil {
			data = fmt.Sprintf("%q", b.data)
		}
		blocks = append(blocks, fmt.Sprintf("%s %s id=%s", b.event, data, b.id))
		if b.retry > 0 {
			blocks[len(blocks)-1] += fmt.Sprint(" retry=", b.retry)
		}
	}
}

func TestSSEDecoder(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     []string
	}{
		{"unnamed", "data: a\n\n", []string{` "a" id=`}},
		{"named", "event: e\ndata: a\n\n", []string{`e "a" id=`}},
		{"the name is of one block", "event: e\ndata: a\n\ndata: b\n\n", []string{`e "a" id=`, ` "b" id=`}},
		{"LF, CR and CRLF", "data: a\r\rdata: b\r\n\r\ndata: c\n\n", []string{` "a" id=`, ` "b" id=`, ` "c" id=`}},
		{"CR, then LF", "data: a\r\n\rdata: b\r\r\n", []string{` "a" id=`, ` "b" id=`}},
		{"byte order mark", "\xef\xbb\xbfdata: a\n\n", []string{` "a" id=`}},
		{"byte order mark elsewhere", "data: a\n\n\xef\xbb\xbfdata: b\n\n", []string{` "a" id=`}},
		{"comments", ": x\n\n:\ndata: a\n: y\n\n", []string{` "a" id=`}},
		{"several lines", "data: a\ndata\ndata:b\n\n", []string{` "a\n\nb" id=`}},
		{"one space goes", "data:  a \n\n", []string{` " a " id=`}},
		{"colons in the value", "data: a:b: c\n\n", []string{` "a:b: c" id=`}},
		{"empty data", "data\n\n", []string{` "" id=`}},
		{"unknown fields", "x: y\nDATA: z\ndata: a\n\n", []string{` "a" id=`}},
		{"a name alone", "event: e\n\ndata: a\n\n", []string{` "a" id=`}},

		{"ids stay", "id: 1\ndata: a\n\ndata: b\n\nid: 2\ndata: c\n\n", []string{` "a" id=1`, ` "b" id=1`, ` "c" id=2`}},
		{"an id alone", ": keep-alive\nid: 7\n\n", []string{` - id=7`}},
		{"an id is taken back", "id: 1\ndata: a\n\nid\ndata: b\n\n", []string{` "a" id=1`, ` "b" id=`}},
		{"an id with NUL", "id: 1\ndata: a\n\nid: 2\x003\ndata: b\n\n", []string{` "a" id=1`, ` "b" id=1`}},
		{"an id cut short", "id: 1\ndata: a\n\nid: 2\n", []string{` "a" id=1`}},

		{"retry", "retry: 1500\nid: 3\n\n", []string{` - id=3 retry=1.5s`}},
		{"retry of something else", "retry: 1s\n\nretry: -1\n\nretry: +5\n\nretry:\n\n", nil},

		{"cut in the data", "data: a\n\ndata: b", []string{` "a" id=`}},
		{"cut before the empty line", "data: a\n\ndata: b\n", []string{` "a" id=`}},
		{"nothing", "", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := readBlocks(strings.NewReader(tt.in))
			if strings.Join(got, "|") != strings.Join(tt.want, "|") || err != io.EOF {
				t.Errorf("got %q, %v, want %q", got, err, tt.want)
			}
		})
	}
}

// Ensure that a block comes out with the byte that completes it, even if that is
// a CR which a LF may follow.
func TestSSEDecoderDoesNotWait(t *testing.T) {
	r, w := io.Pipe()
	defer w.Close()
	go io.WriteString(w, "data: a\r\r")
	got := make(chan block)
	go func() {
		b, _ := newSSEDecoder(r).next()
		got <- b
	}()
	select {
	case b := <-got:
		if string(b.data) != "a" {
			t.Errorf("got %q", b.data)
		}
	case <-time.After(5 * time.Second):
		t.Error("the block does not come out")
	}
}

func TestSSEDecoderBound(t *testing.T) {
	for _, tt := range []struct {
		name, line string
		times      int
		want       error
	}{
		{"longest event", "data:" + strings.Repeat("x", 1<<20-6) + "\n", 32, io.EOF},
		{"longer event", "data:" + strings.Repeat("x", 1<<20-1) + "\n", 33, errBlockTooLong},
		{"endless line", strings.Repeat("x", 1<<20), 1 << 20, errBlockTooLong},
		{"endless comments", ":" + strings.Repeat("x", 1<<20) + "\n", 1 << 20, errBlockTooLong},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := readBlocks(&repeated{tt.line, tt.times, 0}); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

// repeated reads text so many times.
type repeated struct {
	text  string
	times int
	at    int
}

func (r *repeated) Read(p []byte) (int, error) {
	if r.times == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.text[r.at:])
	if r.at += n; r.at == len(r.text) {
		r.at, r.times = 0, r.times-1
	}
	return n, nil
}

// Ensure that it does not matter how the bytes arrive, and that nothing of a
// stream that is cut comes out but what comes out of the whole.
func FuzzSSEDecoder(f *testing.F) {
	f.Add("id: 1\ndata: a\n\n: x\r\n\r\nretry: 5\n\n", uint(7))
	f.Add("\xef\xbb\xbfdata: a\rdata:b\r\revent: e\ndata\n\n", uint(20))
	f.Add("id: \x00\n\n\r\n\r", uint(3))
	f.Fuzz(func(t *testing.T, in string, cut uint) {
		whole, err := readBlocks(strings.NewReader(in))
		if err != io.EOF {
			t.Fatal(err)
		}
		single, _ := readBlocks(iotest.OneByteReader(strings.NewReader(in)))
		if strings.Join(single, "|") != strings.Join(whole, "|") {
			t.Errorf("byte by byte: %q, want %q", single, whole)
		}
		piece, _ := readBlocks(strings.NewReader(in[:cut%uint(len(in)+1)]))
		if len(piece) > len(whole) || strings.Join(piece, "|") != strings.Join(whole[:len(piece)], "|") {
			t.Errorf("cut: %q, of %q", piece, whole)
		}
	})
}
