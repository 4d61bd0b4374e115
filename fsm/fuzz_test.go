package fsm

import (
	"bytes"
	"testing"

	"github.com/stateraft/stateraft/fsm/fsmpb"
)

// Whatever stands in the log: it is refused and nothing changes, or it is
// applied and the state is whole.
func FuzzApply(f *testing.F) {
	for _, g := range goldenEntries(f) {
		f.Add(g.data)
	}
	f.Add(raw(f, 1, entryOf(set("k", "b"), del("k"))))
	f.Add(raw(f, 1, entryOf(set("k", "b", ttl(1<<62)))))
	f.Add(raw(f, 1, &fsmpb.Entry{Stamp: 1<<63 - 1}))
	base := save(f, everything(f).State)
	f.Fuzz(func(t *testing.T, data []byte) {
		s := restored(t, base)
		index := s.Point().Index + 1
		if _, err := s.Apply(index, data); err != nil {
			if !bytes.Equal(save(t, s), base) {
				t.Errorf("an entry that was refused (%v) has changed the state", err)
			}
			return
		}
		verify(t, s)
		image := save(t, s)
		again := restored(t, image)
		if !bytes.Equal(save(t, again), image) || again.Stats() != s.Stats() {
			t.Error("the state differs from what is restored of it")
		}
	})
}

// Whatever is taken for a snapshot: it is refused and nothing changes, or the
// state goes on from it. With whole set, data is a fragment in a container
// without damage behind a good header.
func FuzzRestore(f *testing.F) {
	m := everything(f)
	image := save(f, m.State)
	f.Add(image, false)
	f.Add([]byte{}, false)
	for _, frame := range unpack(f, image) {
		f.Add(frame, true)
	}
	next := encode(f, &fsmpb.Entry{Stamp: 1 << 50, Batches: []*fsmpb.Batch{{Session: 1, Sequence: 99, Low: 99, Commands: []*fsmpb.Command{command("w", set("k", "z"), del("j"))}}}})
	header := fragment(f, &fsmpb.Image{Header: &fsmpb.ImageHeader{Version: 1, Settings: DefaultSettings()}})
	f.Fuzz(func(t *testing.T, data []byte, whole bool) {
		s := after(t, do(set("other", "x"))).State
		before := save(t, s)
		if whole {
			data = pack(t, 1, header, data)
		}
		if err := s.Restore(bytes.NewReader(data)); err != nil {
			if !bytes.Equal(save(t, s), before) {
				t.Errorf("a snapshot that was refused (%v) has changed the state", err)
			}
			return
		}
		applyTo(t, s, s.Point().Index+1, next)
		s.List("w", Query{})
		s.Changes(0, 100)
		save(t, s)
	})
}
