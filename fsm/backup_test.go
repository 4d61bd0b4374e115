package fsm

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/stateraft/stateraft/fsm/fsmpb"
	"github.com/stateraft/stateraft/snapshot"
)

var backupTime = time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)

const kept = "keys"

func backup(t testing.TB, s *State) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := s.Backup("c1", backupTime, kept).Save(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// parts returns what the steps of a restore add.
func parts(data []byte) (info BackupInfo, adds []*fsmpb.Restore, err error) {
	b, err := NewBackupReader(bytes.NewReader(data), kept)
	if err != nil {
		return info, nil, err
	}
	for {
		keys, floors, err := b.Next()
		if err == io.EOF {
			return b.Info(), adds, nil
		}
		if err != nil {
			return info, nil, err
		}
		adds = append(adds, &fsmpb.Restore{Step: fsmpb.Restore_ADD, Keys: keys, Floors: floors})
	}
}

func restoreSteps(t testing.TB, data []byte, id int, force bool) []*fsmpb.Restore {
	t.Helper()
	info, all, err := parts(data)
	if err != nil {
		t.Fatal(err)
	}
	all = append([]*fsmpb.Restore{{Step: fsmpb.Restore_BEGIN}}, append(all, &fsmpb.Restore{Step: fsmpb.Restore_COMMIT, Revision: info.Revision})...)
	for i, r := range all {
		r.Id, r.Sequence, r.Force, r.Keep = fmt.Appendf(nil, "%016d", id), uint64(i), force, kept
	}
	return all
}

func (m *machine) step(r *fsmpb.Restore) *fsmpb.RestoreAnswer {
	m.t.Helper()
	return m.entry(&fsmpb.Entry{Stamp: m.Stats().Clock, Restore: r}).Restore
}

// restore takes all steps, which must succeed.
func (m *machine) restore(data []byte, id int) {
	m.t.Helper()
	for _, r := range restoreSteps(m.t, data, id, true) {
		if a := m.step(r); a.Refusal != fsmpb.RestoreAnswer_NONE {
			m.t.Fatalf("%v %d is refused: %v", r.Step, r.Sequence, a.Refusal)
		}
	}
}

// sameContents compares keys and floors, as users see them, without the kept
// namespace.
func sameContents(t testing.TB, got, want *State) {
	t.Helper()
	g, w := shownContents(got), shownContents(want)
	for i := range max(len(g), len(w)) {
		if i >= len(g) || i >= len(w) || g[i] != w[i] {
			t.Fatalf("%d keys and floors, want %d; the first that differ: got %s, want %s", len(g), len(w), g[min(i, len(g)-1)], w[min(i, len(w)-1)])
		}
	}
}

func shownContents(s *State) (lines []string) {
	s.keys.Scan(func(k *key) bool {
		if k.ns != kept {
			e := s.entry(k)
			lines = append(lines, fmt.Sprintf("%q %q %q %d %d %v %v %v %s", e.Namespace, e.Key, e.Value, e.Version, e.Revision, e.CreatedAt, e.UpdatedAt, e.ExpiresAt, e.SessionID))
		}
		return true
	})
	s.floors.Scan(func(f *floor) bool {
		if f.ns != kept {
			lines = append(lines, fmt.Sprintf("floor %q %d %v", f.ns, f.version, s.shown(f.emptied)))
		}
		return true
	})
	return lines
}

// filled is a state with n keys and whatever can be of keys and floors.
func filled(t testing.TB, n int) *machine {
	m := newMachine(t)
	m.entry(&fsmpb.Entry{Stamp: 1_000_000, LeaderStart: &fsmpb.LeaderStart{WallOffset: 5_000_000}})
	for i := range n {
		m.run(command(fmt.Sprint("w", i%7), set(fmt.Sprint("k", i), strings.Repeat("v", 1+i%300), by("s"))))
	}
	m.run(command("w1", set("timed", "1", ttl(60_000_000)), set("short", "2", ttl(10_000_000))))
	m.run(command("w1", set("gone", "3")))
	m.run(command("w1", del("gone")))
	m.run(command("emptied", set("x", "3")))
	m.run(command("emptied", del("x")))
	m.run(command(kept, set("secret", `"hash"`)))
	return m
}

// A backup restored elsewhere gives what it was made of, by the instants that
// users see, and a backup of that is the same again.
func TestBackupRestored(t *testing.T) {
	source := filled(t, 5000)
	data := backup(t, source.State)
	if bytes.Contains(data, []byte("secret")) {
		t.Error("the backup holds the keys of the namespace that is left out")
	}
	target := newMachine(t)
	target.entry(&fsmpb.Entry{Stamp: 3_000_000, LeaderStart: &fsmpb.LeaderStart{WallOffset: 3_100_000}})
	target.run(command(kept, set("own", `"key"`)))
	before := target.Point().Revision
	for _, r := range restoreSteps(t, data, 1, false) {
		if a := target.step(r); a.Refusal != fsmpb.RestoreAnswer_NONE {
			t.Fatalf("%v: %v", r.Step, a.Refusal)
		}
	}
	sameContents(t, target.State, source.State)
	verify(t, target.State)
	if want := max(before, source.Point().Revision) + RestoreGap; target.Point().Revision != want {
		t.Errorf("revision is %d, want %d", target.Point().Revision, want)
	}
	if e, ok, _ := target.Get(kept, "own"); !ok || string(e.Value) != `"key"` {
		t.Error("a key of the kept namespace has changed")
	}
	for revision, want := range map[uint64]bool{0: false, 1: true, before: true, target.Point().Revision - 1: true, target.Point().Revision: false} {
		if got := target.IsFromBefore(revision); got != want {
			t.Errorf("revision %d is from before: %v", revision, got)
		}
	}
	if _, ok := target.Changes(before, 10); ok {
		t.Error("changes from before the restore are told")
	}
	if c, ok := target.Changes(target.Point().Revision, 10); !ok || len(c) != 0 {
		t.Errorf("the history is %v, %v; it begins empty", c, ok)
	}
	again := newMachine(t)
	again.entry(&fsmpb.Entry{LeaderStart: &fsmpb.LeaderStart{WallOffset: 6_100_000}})
	again.restore(backup(t, target.State), 2)
	sameContents(t, again.State, source.State)
}

// A backup made while writes go on is that of its revision: the log, replayed
// up to there, gives the same bytes and the same hash.
func TestBackupOfItsRevision(t *testing.T) {
	eachSeed(t, 3, func(t *testing.T, rng *rand.Rand) {
		g := newGenerator(t, rng)
		s := New()
		type taken struct {
			backup *Backup
			log    int
			hash   uint64
		}
		var log []logged
		var all []taken
		for range 300 {
			l := g.next()
			l.applyTo(t, s)
			if log = append(log, l); g.one(30) || len(log) == 150 {
				all = append(all, taken{s.Backup("c1", backupTime, kept), len(log), s.Stats().Hash})
			}
		}
		for _, b := range all {
			replayed := New()
			for _, l := range log[:b.log] {
				l.applyTo(t, replayed)
			}
			var late bytes.Buffer
			if err := b.backup.Save(&late); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(late.Bytes(), backup(t, replayed)) || replayed.Stats().Hash != b.hash {
				t.Errorf("the backup at revision %d is not of the log up to there", b.backup.Info().Revision)
			}
		}
	})
}

// What ended while the backup lay there is gone, and its version is not used
// again.
func TestRestoreEnds(t *testing.T) {
	data := backup(t, filled(t, 1).State)
	m := newMachine(t)
	m.entry(&fsmpb.Entry{Stamp: 1, LeaderStart: &fsmpb.LeaderStart{WallOffset: 30_000_000}}) // instant 30 s; short ends at 16 s
	m.restore(data, 1)
	if _, ok, _ := m.Get("w1", "short"); ok {
		t.Error("a key whose deadline has passed is there")
	}
	if e, ok, _ := m.Get("w1", "timed"); !ok || !e.ExpiresAt.Equal(time.UnixMicro(66_000_000)) {
		t.Errorf("timed expires at %v, %v; want 66 s", e.ExpiresAt, ok)
	}
	m.run(command("w1", set("short", "9")))
	if e, _, _ := m.Get("w1", "short"); e.Version < 3 {
		t.Errorf("short is made anew at version %d, which is at or below that of its end", e.Version)
	}
	verify(t, m.State)
}

// A restore is seen when it is committed and not before; what is not in turn
// is refused, and copies change nothing.
func TestRestoreSteps(t *testing.T) {
	const none, notEmpty, outOfTurn = fsmpb.RestoreAnswer_NONE, fsmpb.RestoreAnswer_NOT_EMPTY, fsmpb.RestoreAnswer_OUT_OF_TURN
	data := backup(t, filled(t, 20).State)
	tests := []struct {
		name string
		run  func(a, b, forced []*fsmpb.Restore, take func(*fsmpb.Restore, fsmpb.RestoreAnswer_Refusal))
		done bool
	}{
		{"not empty", func(a, _, _ []*fsmpb.Restore, take func(*fsmpb.Restore, fsmpb.RestoreAnswer_Refusal)) {
			take(a[0], notEmpty)
			take(a[1], outOfTurn)
			take(a[2], outOfTurn)
		}, false},
		{"forced", func(_, _, f []*fsmpb.Restore, take func(*fsmpb.Restore, fsmpb.RestoreAnswer_Refusal)) {
			for _, r := range f {
				take(r, none)
				take(r, none)
			}
			take(f[0], none)
			take(f[1], none)
		}, true},
		{"a step is missing", func(_, _, f []*fsmpb.Restore, take func(*fsmpb.Restore, fsmpb.RestoreAnswer_Refusal)) {
			take(f[0], none)
			take(f[2], outOfTurn)
		}, false},
		{"dropped", func(_, _, f []*fsmpb.Restore, take func(*fsmpb.Restore, fsmpb.RestoreAnswer_Refusal)) {
			take(f[0], none)
			take(&fsmpb.Restore{Step: fsmpb.Restore_DROP, Id: f[0].Id}, none)
			take(f[1], outOfTurn)
		}, false},
		{"another takes over", func(a, b, f []*fsmpb.Restore, take func(*fsmpb.Restore, fsmpb.RestoreAnswer_Refusal)) {
			take(f[0], none)
			take(f[1], none)
			b[0].Force = true
			take(b[0], none)
			take(f[2], outOfTurn)
			take(b[1], none)
			take(b[2], notEmpty)
		}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := after(t, do(set("other", "x")))
			revision := m.Point().Revision
			tt.run(restoreSteps(t, data, 1, false), restoreSteps(t, data, 2, false), restoreSteps(t, data, 3, true),
				func(r *fsmpb.Restore, want fsmpb.RestoreAnswer_Refusal) {
					t.Helper()
					if a := m.step(r); a.Refusal != want {
						t.Errorf("%v %d: %v, want %v", r.Step, r.Sequence, a.Refusal, want)
					}
					again := restored(t, save(t, m.State))
					if !bytes.Equal(save(t, again), save(t, m.State)) || again.Stats() != m.Stats() {
						t.Errorf("%v %d: the state differs from what is restored of its snapshot", r.Step, r.Sequence)
					}
				})
			if done := m.Point().Revision != revision; done != tt.done {
				t.Errorf("revision went from %d to %d", revision, m.Point().Revision)
			}
			if _, ok, _ := m.Get("w", "other"); ok == tt.done {
				t.Errorf("the key from before is there: %v", ok)
			}
			verify(t, m.State)
		})
	}
}

// An idempotency key from before a restore is not answered from memory: what
// it did is no more.
func TestRestoreForgetsRecords(t *testing.T) {
	data := backup(t, New())
	m := newMachine(t)
	c := command("w", set("k", "1"))
	c.IdempotencyKey, c.RequestHash = hash16("key"), hash16("request")
	m.run(c)
	m.restore(data, 1)
	m.run(c)
	if _, ok, _ := m.Get("w", "k"); !ok {
		t.Error("a write after the restore was answered and not done")
	}
}

// Wherever a backup is cut, and whatever byte of it is another: it is refused.
func TestBackupDamaged(t *testing.T) {
	whole := backup(t, filled(t, 60).State)
	for i := range whole {
		if _, _, err := parts(whole[:i]); !errors.Is(err, snapshot.ErrCorrupt) {
			t.Fatalf("cut to %d of %d bytes: %v", i, len(whole), err)
		}
		flipped := bytes.Clone(whole)
		flipped[i] ^= 1 << (i % 8)
		if _, _, err := parts(flipped); !errors.Is(err, snapshot.ErrCorrupt) {
			t.Fatalf("byte %d of %d is another: %v", i, len(whole), err)
		}
	}
}

// A container without damage is no backup yet.
func TestBackupRefused(t *testing.T) {
	frame := func(m *fsmpb.Image) string {
		b, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	k := func(ns, name string) *fsmpb.ImageKey {
		return &fsmpb.ImageKey{Namespace: ns, Key: name, Value: []byte("1"), Version: 1}
	}
	header := func(keys, floors uint64) *fsmpb.Image {
		return &fsmpb.Image{Backup: &fsmpb.BackupHeader{Keys: keys, Floors: floors}}
	}
	tests := []struct {
		name    string
		content uint32
		frames  []*fsmpb.Image
		text    string
	}{
		{"empty", 1, nil, "it is empty"},
		{"no header", 1, []*fsmpb.Image{{Keys: []*fsmpb.ImageKey{k("w", "a")}}}, "no header"},
		{"a snapshot", 1, []*fsmpb.Image{{Header: &fsmpb.ImageHeader{}}}, "a node's snapshot"},
		{"newer", 2, []*fsmpb.Image{header(0, 0)}, "backup needs backup format version 2"},
		{"revision too high", 1, []*fsmpb.Image{{Backup: &fsmpb.BackupHeader{Revision: 1 << 63}}}, "its revision is"},
		{"header twice", 1, []*fsmpb.Image{header(0, 0), header(0, 0)}, "what no backup has"},
		{"a session", 1, []*fsmpb.Image{header(0, 0), {Sessions: []*fsmpb.ImageSession{{}}}}, "what no backup has"},
		{"unknown field", 1, []*fsmpb.Image{header(1, 0), {Keys: []*fsmpb.ImageKey{stranger(k("w", "a"))}}}, "ImageKey has a field"},
		{"too many keys", 1, []*fsmpb.Image{header(0, 0), {Keys: []*fsmpb.ImageKey{k("w", "a")}}}, "more than its header says"},
		{"too few keys", 1, []*fsmpb.Image{header(2, 1), {Keys: []*fsmpb.ImageKey{k("w", "a")}}}, "1 keys and 1 floors of its header are missing"},
		{"no namespace", 1, []*fsmpb.Image{header(1, 0), {Keys: []*fsmpb.ImageKey{k("", "a")}}}, "no namespace"},
		{"no version", 1, []*fsmpb.Image{header(1, 0), {Keys: []*fsmpb.ImageKey{{Namespace: "w", Value: []byte("1")}}}}, "key of version 0"},
		{"a key twice", 1, []*fsmpb.Image{header(2, 0), {Keys: []*fsmpb.ImageKey{k("w", "a"), k("", "a")}}}, "not in order"},
		{"a namespace again", 1, []*fsmpb.Image{header(2, 0), {Keys: []*fsmpb.ImageKey{k("w", "a")}}, {Keys: []*fsmpb.ImageKey{k("v", "b")}}}, "not in order"},
		{"of the kept namespace", 1, []*fsmpb.Image{header(1, 0), {Keys: []*fsmpb.ImageKey{k(kept, "a")}}}, "keys that no backup has"},
		{"floor of the kept namespace", 1, []*fsmpb.Image{header(0, 1), {Floors: []*fsmpb.ImageFloor{{Namespace: kept}}}}, "a floor that no backup has"},
		{"floor before keys", 1, []*fsmpb.Image{header(1, 1), {Floors: []*fsmpb.ImageFloor{{Namespace: "w"}}}}, "before the last key"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var frames [][]byte
			for _, f := range tt.frames {
				frames = append(frames, []byte(frame(f)))
			}
			_, _, err := parts(pack(t, tt.content, frames...))
			if err == nil || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got %v, want an error with %q", err, tt.text)
			}
		})
	}
}

// Whatever is taken for a backup can be restored.
func FuzzBackup(f *testing.F) {
	for _, frame := range unpack(f, backup(f, filled(f, 3).State)) {
		f.Add(frame, frame)
	}
	f.Fuzz(func(t *testing.T, a, b []byte) {
		data := pack(t, BackupVersion, a, b)
		if _, _, err := parts(data); err != nil {
			return
		}
		m := filled(t, 2)
		m.restore(data, 1)
		verify(t, m.State)
		backup(t, m.State)
	})
}
