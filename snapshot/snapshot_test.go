package snapshot

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
)

var update = flag.Bool("update", false, "write testdata/v1.snap anew")

var golden = filepath.Join("testdata", "v1.snap")

// small is what testdata/v1.snap holds, in content version 7.
var small = []string{"first", "", "\x00\xff\n", strings.Repeat("x", 300)}

// pack writes one snapshot of the frames.
func pack(t testing.TB, content uint32, frames ...string) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := NewWriter(&out, content)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range frames {
		if err := w.WriteFrame([]byte(f)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// unpack reads frames until the first error, which is io.EOF for a whole one.
func unpack(r io.Reader) (content uint32, frames []string, err error) {
	rd, err := NewReader(r)
	if err != nil {
		return 0, nil, err
	}
	for {
		p, err := rd.Next()
		if err != nil {
			return rd.Content(), frames, err
		}
		frames = append(frames, string(p))
	}
}

// seal makes the last four bytes of p the checksum of those before.
func seal(p []byte) []byte {
	binary.LittleEndian.PutUint32(p[len(p)-crcSize:], checksum(p[:len(p)-crcSize]))
	return p
}

func TestRoundTrip(t *testing.T) {
	tests := []struct {
		name   string
		frames []string
	}{
		{"no frames", nil},
		{"one empty frame", []string{""}},
		{"small", small},
		{"longer than a read step", []string{strings.Repeat("a", readStep+1), "b", strings.Repeat("c", 2*readStep)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			packed := pack(t, 42, tt.frames...)
			for _, r := range []io.Reader{bytes.NewReader(packed), iotest.HalfReader(bytes.NewReader(packed)), iotest.DataErrReader(bytes.NewReader(packed))} {
				content, frames, err := unpack(r)
				if err != io.EOF || content != 42 || fmt.Sprint(frames) != fmt.Sprint(tt.frames) {
					t.Fatalf("got content %d, %d frames, %v; want 42, %d frames, EOF", content, len(frames), err, len(tt.frames))
				}
			}
		})
	}
}

func TestGolden(t *testing.T) {
	packed := pack(t, 7, small...)
	if *update {
		if err := os.WriteFile(golden, packed, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(packed, want) {
		t.Errorf("version %d is not written as it was: a changed format needs a new version", Version)
	}
	info, err := Verify(bytes.NewReader(want))
	if err != nil {
		t.Fatal(err)
	}
	if info.Content != 7 || info.Frames != 4 || info.Bytes != 308 || info.Size != int64(len(want)) {
		t.Errorf("got %+v, want content 7, 4 frames, 308 bytes, size %d", info, len(want))
	}
}

func TestVerifyCutAnywhere(t *testing.T) {
	packed := pack(t, 7, small...)
	for n := range packed {
		if _, err := Verify(bytes.NewReader(packed[:n])); !errors.Is(err, ErrCorrupt) {
			t.Errorf("cut to %d of %d bytes: got %v, want ErrCorrupt", n, len(packed), err)
		}
	}
}

func TestVerifyFlippedAnywhere(t *testing.T) {
	packed := pack(t, 7, small...)
	for i := range packed {
		for bit := range 8 {
			damaged := bytes.Clone(packed)
			damaged[i] ^= 1 << bit
			if _, err := Verify(bytes.NewReader(damaged)); !errors.Is(err, ErrCorrupt) {
				t.Errorf("bit %d of byte %d flipped: got %v, want ErrCorrupt", bit, i, err)
			}
		}
	}
}

// TestVerifyRefuses has damage whose checksums are right.
func TestVerifyRefuses(t *testing.T) {
	header := pack(t, 1)[:headerSize]
	a := pack(t, 1, "a")[headerSize : headerSize+10]
	b := pack(t, 1, "b")[headerSize : headerSize+10]
	end := func(frames ...string) []byte {
		p := pack(t, 1, frames...)
		return p[len(p)-frameHeadSize-trailerSize-crcSize:]
	}
	withVersion := func(v uint32) []byte {
		h := bytes.Clone(header)
		binary.LittleEndian.PutUint32(h[8:], v)
		return seal(h)
	}
	long := seal(binary.LittleEndian.AppendUint32([]byte{kindData}, MaxFrame+1))

	tests := []struct {
		name  string
		parts [][]byte
		want  error
		text  string
	}{
		{"empty", nil, ErrCorrupt, "at byte 0: input ends after 0 of 20 bytes"},
		{"no snapshot", [][]byte{bytes.Repeat([]byte("{"), 100)}, ErrCorrupt, "magic is"},
		{"newer container", [][]byte{withVersion(2), a, end("a")}, ErrVersion, "container version 2, this build reads up to 1"},
		{"container version 0", [][]byte{withVersion(0), a, end("a")}, ErrCorrupt, "container version is 0"},
		{"no trailer", [][]byte{header, a, b}, ErrCorrupt, "at byte 40: input ends after 0 of 5 bytes"},
		{"frame missing", [][]byte{header, a, end("a", "b")}, ErrCorrupt, "trailer counts 2 frames, read 1"},
		{"frame twice", [][]byte{header, a, a, end("a")}, ErrCorrupt, "trailer counts 1 frames, read 2"},
		{"frames swapped", [][]byte{header, b, a, end("a", "b")}, ErrCorrupt, "trailer sum is"},
		{"payload bytes differ", [][]byte{header, a, end("aa")}, ErrCorrupt, "trailer counts 2 payload bytes, read 1"},
		{"frame after the trailer", [][]byte{header, a, end("a"), b}, ErrCorrupt, "at byte 87: byte 01 follows"},
		{"frame too long", [][]byte{header, long}, ErrCorrupt, "frame length is"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Verify(bytes.NewReader(bytes.Join(tt.parts, nil)))
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got %v, want %v with %q", err, tt.want, tt.text)
			}
		})
	}
}

// A header that claims the longest frame and brings nothing must cost next to
// no memory.
func TestReaderDoesNotTrustLength(t *testing.T) {
	input := pack(t, 1)[:headerSize]
	input = append(input, kindData)
	input = binary.LittleEndian.AppendUint32(input, MaxFrame)

	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := Verify(bytes.NewReader(input))
	runtime.ReadMemStats(&after)

	if !errors.Is(err, ErrCorrupt) {
		t.Errorf("got %v, want ErrCorrupt", err)
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > 4*readStep {
		t.Errorf("allocated %d bytes for an empty frame of claimed length %d", got, MaxFrame)
	}
}

func TestReaderKeepsErrorsOfTheInput(t *testing.T) {
	broken := errors.New("disk is gone")
	packed := pack(t, 7, small...)
	for _, n := range []int{0, headerSize, headerSize + 7, len(packed)} {
		in := io.MultiReader(bytes.NewReader(packed[:n]), iotest.ErrReader(broken))
		if _, err := Verify(in); !errors.Is(err, broken) || errors.Is(err, ErrCorrupt) {
			t.Errorf("input fails at byte %d: got %v, want %v", n, err, broken)
		}
	}
}

func TestReaderErrorStays(t *testing.T) {
	packed := pack(t, 7, "a", "b")
	packed[headerSize+frameHeadSize] ^= 1
	r, err := NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := r.Next(); !errors.Is(err, ErrCorrupt) {
			t.Errorf("got %v, want ErrCorrupt each time", err)
		}
	}
}

func TestWriterTooLarge(t *testing.T) {
	w, err := NewWriter(io.Discard, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.WriteFrame(make([]byte, MaxFrame+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("WriteFrame: got %v, want ErrTooLarge", err)
	}
	if err := w.Close(); !errors.Is(err, ErrTooLarge) {
		t.Errorf("Close: got %v, want ErrTooLarge", err)
	}
}

func TestWriterClosed(t *testing.T) {
	var out bytes.Buffer
	w, err := NewWriter(&out, 1)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.WriteFrame(nil); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
	if _, err := Verify(&out); err != nil {
		t.Error(err)
	}
}

// limited takes n bytes. What is beyond is written in part, with err.
type limited struct {
	n   int
	err error
}

func (l *limited) Write(p []byte) (int, error) {
	if len(p) <= l.n {
		l.n -= len(p)
		return len(p), nil
	}
	n := l.n
	l.n = 0
	return n, l.err
}

// Wherever the output ends, Close tells of it, also when a writer that breaks
// its contract takes less without an error.
func TestWriterShortWrites(t *testing.T) {
	full := errors.New("disk is full")
	size := len(pack(t, 7, small...))
	for n := range size {
		for _, cause := range []error{full, nil} {
			w, err := NewWriter(&limited{n, cause}, 7)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range small {
				w.WriteFrame([]byte(f))
			}
			want := cause
			if want == nil {
				want = io.ErrShortWrite
			}
			if err := w.Close(); !errors.Is(err, want) {
				t.Fatalf("output ends after %d of %d bytes: got %v, want %v", n, size, err, want)
			}
		}
	}
}

// Whatever the input, the reader ends, and what it takes for whole is what a
// writer would have written.
func FuzzReader(f *testing.F) {
	f.Add([]byte{})
	f.Add(pack(f, 1))
	f.Add(pack(f, 7, small...))
	f.Fuzz(func(t *testing.T, data []byte) {
		content, frames, err := unpack(bytes.NewReader(data))
		if err != io.EOF {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrVersion) {
				t.Errorf("got %v, want ErrCorrupt or ErrVersion", err)
			}
			return
		}
		if !bytes.Equal(pack(t, content, frames...), data) {
			t.Error("a whole snapshot differs from the same frames packed again")
		}
	})
}
