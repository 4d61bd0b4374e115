package fsm

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/stateraft/stateraft/fsm/fsmpb"
	"github.com/stateraft/stateraft/snapshot"
)

func saved(t testing.TB, im *Image) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := im.Save(&out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func save(t testing.TB, s *State) []byte { t.Helper(); return saved(t, s.Freeze()) }

func restored(t testing.TB, image []byte) *State {
	t.Helper()
	s := New()
	if err := s.Restore(bytes.NewReader(image)); err != nil {
		t.Fatal(err)
	}
	return s
}

// everything is a small state with something of each kind in it.
func everything(t testing.TB) *machine {
	m := after(t,
		leads(123, &fsmpb.Settings{HistoryEvents: 6, HistoryBytes: 1 << 20, FloorRetention: 1 << 40}),
		at(1000), do(set("k", `"a"`, ttl(5), by("s"))), at(1005), do(set("j", "1")), do(set("j", "2", ttl(1000))),
		in("v", set("a", "1"), set("b", "2")), in("v", del("a"), del("b")), in("x", set("key", "{}")),
		atomic(set("l", "[]"), del("j"), check("h")),
		keyed("id", "r", set("m", "1")), keyed("id2", "r", set("m", "2", ifAt(7))),
	)
	m.batch(m.sequence+2, m.sequence, command("w", set("n", "1"), check("h", ifExists)))
	m.entry(&fsmpb.Entry{OpenSession: opening("n2", "boot")})
	return m
}

func TestRestore(t *testing.T) {
	m := everything(t)
	image := save(t, m.State)
	s := after(t, do(set("other", "x"))).State // what was there before is gone
	if err := s.Restore(bytes.NewReader(image)); err != nil {
		t.Fatal(err)
	}
	verify(t, s)
	if got, want := s.Stats(), m.Stats(); got != want {
		t.Errorf("stats are %+v, want %+v", got, want)
	}
	if got, want := showKeys(s), showKeys(m.State); got != want {
		t.Errorf("keys are %q, want %q", got, want)
	}
	if got, want := showChanges(t, s), showChanges(t, m.State); got != want {
		t.Errorf("changes are %q, want %q", got, want)
	}
	if got, want := fmt.Sprint(s.Nodes()), fmt.Sprint(m.Nodes()); got != want {
		t.Errorf("nodes are %s, want %s", got, want)
	}
	if !bytes.Equal(save(t, s), image) {
		t.Error("the restored state saves other bytes")
	}
	if im := s.Freeze(); im.Index() != m.index || im.Revision() != m.Point().Revision {
		t.Errorf("image is at %d, revision %d; want %+v", im.Index(), im.Revision(), m.Point())
	}
}

// Ensure a state takes no snapshot of less than it holds.
func TestRestoreOlder(t *testing.T) {
	m := everything(t)
	older := save(t, m.State)
	m.entry(&fsmpb.Entry{})
	newer := save(t, m.State)
	if err := m.Restore(bytes.NewReader(older)); !errors.Is(err, ErrOlder) {
		t.Errorf("an older one: %v", err)
	}
	if !bytes.Equal(save(t, m.State), newer) {
		t.Error("it changed the state")
	}
	if err := m.Restore(bytes.NewReader(newer)); err != nil {
		t.Errorf("one of the same entry: %v", err)
	}
}

// Whatever byte is missing or changed, it is noticed, and nothing has happened.
func TestRestoreDamaged(t *testing.T) {
	image := save(t, everything(t).State)
	m := after(t, do(set("other", "x")))
	before, hash := save(t, m.State), m.Stats().Hash
	refuses := func(damaged []byte, format string, args ...any) {
		t.Helper()
		if err := m.Restore(bytes.NewReader(damaged)); !errors.Is(err, snapshot.ErrCorrupt) {
			t.Errorf(format+": got %v, want ErrCorrupt", append(args, err)...)
		}
		if m.Stats().Hash != hash {
			t.Fatalf(format+": the state has changed", args...)
		}
	}
	for n := range image {
		refuses(image[:n], "cut to %d of %d bytes", n, len(image))
	}
	for i := range image {
		for _, flip := range []byte{1 << (i % 8), 0xff} {
			image[i] ^= flip
			refuses(image, "byte %d xor %02x", i, flip)
			image[i] ^= flip
		}
	}
	refuses(append(bytes.Clone(image), 0), "one byte too many")
	if !bytes.Equal(save(t, m.State), before) {
		t.Error("the state has changed")
	}
}

// pack writes a whole container of any frames.
func pack(t testing.TB, version uint32, frames ...[]byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := snapshot.NewWriter(&out, version)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range frames {
		if err := w.WriteFrame(f); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// unpack returns the frames of a whole container.
func unpack(t testing.TB, image []byte) (frames [][]byte) {
	t.Helper()
	r, err := snapshot.NewReader(bytes.NewReader(image))
	if err != nil {
		t.Fatal(err)
	}
	for {
		frame, err := r.Next()
		if err == io.EOF {
			return frames
		}
		if err != nil {
			t.Fatal(err)
		}
		frames = append(frames, bytes.Clone(frame))
	}
}

func fragment(t testing.TB, im *fsmpb.Image) []byte {
	t.Helper()
	data, err := proto.Marshal(im)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestRestoreRefuses has whole containers that hold no whole state.
func TestRestoreRefuses(t *testing.T) {
	header := func(change func(*fsmpb.ImageHeader)) *fsmpb.Image {
		h := &fsmpb.ImageHeader{Version: 1, Index: 9, Revision: 1, Settings: DefaultSettings(), Keys: 1}
		change(h)
		return &fsmpb.Image{Header: h}
	}
	good := header(func(*fsmpb.ImageHeader) {})
	rest := &fsmpb.Image{
		Keys:    []*fsmpb.ImageKey{{Namespace: "w", Key: "k", Value: []byte("1"), Version: 1, Revision: 1}},
		Changes: []*fsmpb.Change{{Type: fsmpb.Change_SET, Revision: 1, Version: 1, Namespace: "w", Key: "k", NewValue: []byte("1")}},
	}
	tests := []struct {
		name    string
		version uint32
		parts   []*fsmpb.Image
		text    string // "": it is taken
	}{
		{"whole", 1, []*fsmpb.Image{good, rest}, ""},
		{"empty", 1, nil, "snapshot is empty"},
		{"no header", 1, []*fsmpb.Image{rest}, "must have one header"},
		{"header not first", 1, []*fsmpb.Image{rest, good}, "must have one header"},
		{"header twice", 1, []*fsmpb.Image{good, rest, good}, "must have one header"},
		{"header without settings", 1, []*fsmpb.Image{header(func(h *fsmpb.ImageHeader) { h.Settings = nil }), rest}, "no settings"},
		{"header of another version", 1, []*fsmpb.Image{header(func(h *fsmpb.ImageHeader) { h.Version = 2 }), rest}, "version 1 has a header of version 2"},
		{"version to come", MaxVersion + 1, []*fsmpb.Image{good, rest}, fmt.Sprint("snapshot needs protocol version ", MaxVersion+1)},
		{"version zero", 0, []*fsmpb.Image{good, rest}, "snapshot needs protocol version 0"},
		{"a key is missing", 1, []*fsmpb.Image{good, {Changes: rest.Changes}}, "holds 0 keys and its header says 1"},
		{"a key twice", 1, []*fsmpb.Image{header(func(h *fsmpb.ImageHeader) { h.Keys = 2 }), {Keys: rest.Keys}, rest}, "holds 1 keys and its header says 2"},
		{"a change is missing", 1, []*fsmpb.Image{good, {Keys: rest.Keys}}, "history ends at revision 0"},
		{"field of a fragment", 1, []*fsmpb.Image{good, rest, stranger(&fsmpb.Image{})}, "Image has a field"},
		{"field of the header", 1, []*fsmpb.Image{header(func(h *fsmpb.ImageHeader) { stranger(h) }), rest}, "ImageHeader has a field"},
		{"field of settings", 1, []*fsmpb.Image{header(func(h *fsmpb.ImageHeader) { stranger(h.Settings) }), rest}, "Settings has a field"},
		{"field of a key", 1, []*fsmpb.Image{good, {Keys: []*fsmpb.ImageKey{stranger(&fsmpb.ImageKey{})}}}, "ImageKey has a field"},
		{"field of a floor", 1, []*fsmpb.Image{good, {Floors: []*fsmpb.ImageFloor{stranger(&fsmpb.ImageFloor{})}}}, "ImageFloor has a field"},
		{"field of a session", 1, []*fsmpb.Image{good, {Sessions: []*fsmpb.ImageSession{stranger(&fsmpb.ImageSession{})}}}, "ImageSession has a field"},
		{"field of a node", 1, []*fsmpb.Image{good, {Sessions: []*fsmpb.ImageSession{{Node: stranger(&fsmpb.Node{})}}}}, "Node has a field"},
		{"field of a record", 1, []*fsmpb.Image{good, {Records: []*fsmpb.ImageRecord{stranger(&fsmpb.ImageRecord{})}}}, "ImageRecord has a field"},
		{"field of a change", 1, []*fsmpb.Image{good, {Changes: []*fsmpb.Change{stranger(&fsmpb.Change{})}}}, "Change has a field"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := after(t, do(set("other", "x")))
			before := save(t, m.State)
			var frames [][]byte
			for _, p := range tt.parts {
				frames = append(frames, fragment(t, p))
			}
			err := m.Restore(bytes.NewReader(pack(t, tt.version, frames...)))
			if tt.text == "" {
				if err != nil || showKeys(m.State) != "k=1@1" {
					t.Errorf("got %v and keys %q, want it taken", err, showKeys(m.State))
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got %v, want an error with %q", err, tt.text)
			}
			if !bytes.Equal(save(t, m.State), before) {
				t.Error("the state has changed")
			}
		})
	}
}

// An image of several fragments, with names of namespaces over their borders.
func TestRestoreOfManyFragments(t *testing.T) {
	m := newMachine(t)
	for _, ns := range []string{"", "a", "w", "z"} {
		for i := range 5 {
			m.run(command(ns, set(fmt.Sprint("k", i), strings.Repeat("x", fragmentBytes/3))))
		}
	}
	m.run(command("w", set("huge", strings.Repeat("x", 3*fragmentBytes)), del("k1")))
	image := save(t, m.State)
	s := restored(t, image)
	verify(t, s)
	if !bytes.Equal(save(t, s), image) || s.Stats() != m.Stats() {
		t.Error("the restored state differs")
	}
}

// An image stays as it is while the state goes on, also over further freezes.
func TestImageStays(t *testing.T) {
	m := everything(t)
	type frozen struct {
		image *Image
		bytes []byte
	}
	var all []frozen
	for i := range 40 {
		all = append(all, frozen{m.Freeze(), save(t, m.State)})
		m.run(longList(10+i, fmt.Sprint(i), ttl(100)))
		at(m.Clock() + 10)(m)
		keyed(fmt.Sprint(i), "r", del("k00000"))(m)
	}
	for i, f := range all {
		if !bytes.Equal(saved(t, f.image), f.bytes) {
			t.Errorf("image %d has changed", i)
		}
	}
}

// Save tells of every failure to write, also of the last bytes.
func TestSaveFails(t *testing.T) {
	im := everything(t).Freeze()
	size := len(saved(t, im))
	broken := errors.New("disk is full")
	for n := range size {
		if err := im.Save(&limited{n, broken}); !errors.Is(err, broken) {
			t.Fatalf("output ends after %d of %d bytes: got %v, want %v", n, size, err, broken)
		}
	}
}

// What does not encode is not left out of a snapshot that looks whole.
func TestSaveOfWhatDoesNotEncode(t *testing.T) {
	m := everything(t)
	m.put(nil, &key{ns: "w", name: "\xff", version: 1})
	var out bytes.Buffer
	if err := m.Freeze().Save(&out); err == nil {
		t.Error("a key that is not UTF-8 was saved")
	}
	if err := New().Restore(&out); !errors.Is(err, snapshot.ErrCorrupt) {
		t.Errorf("what was written is taken for a snapshot: %v", err)
	}
}

// limited takes n bytes and then fails with err.
type limited struct {
	n   int
	err error
}

func (l *limited) Write(p []byte) (int, error) {
	n := min(len(p), l.n)
	if l.n -= n; n < len(p) {
		return n, l.err
	}
	return n, nil
}

var _ io.Writer = (*limited)(nil)

// Ensure what is kept free for the next snapshot, twice what is said, is enough for
// it, and what is said not far more, whatever it is that there is much of.
func TestImageBytes(t *testing.T) {
	const many = 5000
	const now = 1_790_000_000_000_000
	session := by("a4c1f2ce-9d4e-4e0c-8a52-3c1f6f1f6f10")
	each := func(f func(i int) step) []step {
		all := steps(limits(1, 0, 1<<60), at(now))
		for i := range many {
			all = append(all, f(i))
		}
		return all
	}
	namespace := func(i int) string { return fmt.Sprint("namespace-", i) }
	value, long := strings.Repeat("x", 300), strings.Repeat("n", 300)
	for name, all := range map[string][]step{
		"small keys":           each(func(i int) step { return do(set(fmt.Sprint("k", i), "1")) }),
		"with TTL and session": each(func(i int) step { return do(set(fmt.Sprint("k", i), "1", ttl(1<<50), session)) }),
		"long namespace":       each(func(i int) step { return in(long, set(fmt.Sprint("k", i), "1")) }),
		"larger values":        each(func(i int) step { return do(set(fmt.Sprint("k", i), value, ttl(1<<50))) }),
		"namespaces":           each(func(i int) step { return in(namespace(i), set("k", "1", ttl(1<<50))) }),
		"floors":               append(each(func(i int) step { return in(namespace(i), set("k", "1")) }), each(func(i int) step { return in(namespace(i), del("k")) })...),
	} {
		t.Run(name, func(t *testing.T) {
			m := after(t, all...)
			check := func(what string) {
				took, said := uint64(len(save(t, m.State))), m.Stats().ImageBytes
				if said < took*2/3 || said > 2*took {
					t.Errorf("%s: it takes %d bytes, and about %d are said", what, took, said)
				}
			}
			check("itself")
			twice := restoreSteps(t, backup(t, m.State), 1, true)
			for _, r := range twice[:len(twice)-1] {
				m.step(r)
			}
			check("with a restore of the same under way")
			verify(t, m.State)
		})
	}
}
