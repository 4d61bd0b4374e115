package fsm

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/stateraft/stateraft/fsm/fsmpb"
)

// testdata/vN holds what protocol version N writes: a log, one file an entry,
// in the order of the names and from index 1 on; the image of the state that
// it makes; the hash of that state. A build reads those of all versions that
// it speaks, for ever: -update writes the newest alone.
var update = flag.Bool("update", false, "write the newest version's folder of testdata anew")

type golden struct {
	name string
	data []byte
}

func goldenDirs(t testing.TB) []string {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join("testdata", "v*"))
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	return dirs
}

// goldenEntries returns the entries of all versions.
func goldenEntries(t testing.TB) (all []golden) {
	t.Helper()
	for _, dir := range goldenDirs(t) {
		all = append(all, readEntries(t, dir)...)
	}
	return all
}

func readEntries(t testing.TB, dir string) (all []golden) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.entry")) // sorted
	if err != nil || len(paths) == 0 {
		t.Fatalf("no entries in %s: %v", dir, err)
	}
	for _, p := range paths {
		all = append(all, golden{filepath.Base(p), readGolden(t, p)})
	}
	return all
}

func readGolden(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func replay(t testing.TB, entries []golden) *State {
	t.Helper()
	s := New()
	for i, g := range entries {
		if _, err := s.Apply(uint64(i+1), g.data); err != nil {
			t.Fatalf("%s: %v", g.name, err)
		}
	}
	return s
}

func showHash(s *State) string { return fmt.Sprintf("%016x\n", s.Stats().Hash) }

// Every log and snapshot ever released gives the state that it gave then.
func TestGolden(t *testing.T) {
	if *update {
		writeGolden(t)
	}
	for _, dir := range goldenDirs(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			image := readGolden(t, filepath.Join(dir, "image.snap"))
			hash := string(readGolden(t, filepath.Join(dir, "hash")))
			for how, s := range map[string]*State{"replayed": replay(t, readEntries(t, dir)), "restored": restored(t, image)} {
				verify(t, s)
				if got := showHash(s); got != hash {
					t.Errorf("%s: hash is %s, want %s", how, got, hash)
				}
				if !bytes.Equal(save(t, s), image) {
					t.Errorf("%s: the state saves other bytes", how)
				}
			}
		})
	}
}

// Today's entries are written as the golden ones are, and those cover all
// kinds: a new one needs its file.
func TestGoldenIsComplete(t *testing.T) {
	dir := filepath.Join("testdata", fmt.Sprint("v", MaxVersion))
	written := readEntries(t, dir)
	if !slices.EqualFunc(written, newestLog(t), func(a, b golden) bool { return a.name == b.name && bytes.Equal(a.data, b.data) }) {
		t.Errorf("the entries of %s are not written as they were: a changed format needs a new version", dir)
	}
	var seen fsmpb.Entry
	for _, g := range written {
		e, err := decode(1, g.data, MaxVersion)
		if err != nil {
			t.Fatal(err)
		}
		proto.Merge(&seen, e)
	}
	seenAll(t, &seen)
	var image fsmpb.Image
	for _, frame := range unpack(t, readGolden(t, filepath.Join(dir, "image.snap"))) {
		if err := (proto.UnmarshalOptions{Merge: true}).Unmarshal(frame, &image); err != nil {
			t.Fatal(err)
		}
	}
	for _, frame := range unpack(t, readGolden(t, filepath.Join(dir, "backup.snap"))) {
		if err := (proto.UnmarshalOptions{Merge: true}).Unmarshal(frame, &image); err != nil {
			t.Fatal(err)
		}
	}
	seenAll(t, &image)
}

// Every backup ever released is read, and gives the state that it was made of.
func TestGoldenBackup(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join("testdata", "v*", "backup.snap"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no golden backups: %v", err)
	}
	for _, path := range paths {
		data := readGolden(t, path)
		s := replay(t, readEntries(t, filepath.Dir(path)))
		if !bytes.Equal(backup(t, s), data) {
			t.Errorf("%s: the state gives another backup", path)
		}
		m := newMachine(t)
		m.entry(&fsmpb.Entry{Stamp: s.Stats().Clock, LeaderStart: &fsmpb.LeaderStart{WallOffset: s.Stats().WallOffset}})
		m.restore(data, 1)
		sameContents(t, m.State, s)
	}
}

// seenAll checks that each field of m, and of the messages in it, has a value
// somewhere.
func seenAll(t *testing.T, m proto.Message) {
	t.Helper()
	seen := map[string]bool{}
	fieldsIn(m.ProtoReflect(), seen)
	for _, field := range slices.Sorted(maps.Keys(seen)) {
		if !seen[field] && field != "BatchAnswer.refusal" { // a refusal is never kept
			t.Errorf("no golden file has a value in %s", field)
		}
	}
}

// fieldsIn notes for each field of m's kind whether it has a value in m.
func fieldsIn(m protoreflect.Message, seen map[string]bool) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		name := fmt.Sprintf("%s.%s", m.Descriptor().Name(), f.Name())
		seen[name] = seen[name] || m.Has(f)
		switch {
		case f.IsList() && f.Message() != nil:
			for j := range m.Get(f).List().Len() {
				fieldsIn(m.Get(f).List().Get(j).Message(), seen)
			}
		case f.Message() != nil && m.Has(f):
			fieldsIn(m.Get(f).Message(), seen)
		}
	}
}

func writeGolden(t *testing.T) {
	t.Helper()
	dir := filepath.Join("testdata", fmt.Sprint("v", MaxVersion))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	log := newestLog(t)
	s := replay(t, log)
	for _, g := range append(log, golden{"image.snap", save(t, s)}, golden{"hash", []byte(showHash(s))}, golden{"backup.snap", backup(t, s)}) {
		if err := os.WriteFile(filepath.Join(dir, g.name), g.data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// newestLog is a log of the newest version with every kind of entry.
func newestLog(t testing.TB) (log []golden) {
	t.Helper()
	add := func(name string, e *fsmpb.Entry) {
		log = append(log, golden{fmt.Sprintf("%02d-%s.entry", len(log)+1, name), encode(t, e)})
	}
	batch := func(stamp int64, sequence, low uint64, commands ...*fsmpb.Command) *fsmpb.Entry {
		return &fsmpb.Entry{Stamp: stamp, Batches: []*fsmpb.Batch{{Session: 2, Sequence: sequence, Low: low, Commands: commands}}}
	}
	atomic := command("w", set("a", `{"n":1}`, ifAt(0)), del("b", ifAt(2)), check("c", ifExists))
	atomic.Atomic = true
	keyed := func(key string, ops ...*fsmpb.Op) *fsmpb.Command {
		c := command("w", ops...)
		c.IdempotencyKey, c.RequestHash = hash16(key), hash16("request")
		return c
	}
	const start = 1_800_000_000_000_000 // µs

	add("leader-start", &fsmpb.Entry{Stamp: start, LeaderStart: &fsmpb.LeaderStart{
		WallOffset: -250_000, Settings: &fsmpb.Settings{HistoryEvents: 9, HistoryBytes: 1 << 20, FloorRetention: 3_600_000_000},
	}})
	add("open-session", &fsmpb.Entry{Stamp: start + 1, OpenSession: &fsmpb.OpenSession{
		BootId: hash16("boot"),
		Node:   &fsmpb.Node{Id: "id", Name: "n1", Http: "127.0.0.1:7474", Gossip: "127.0.0.1:7674", MinVersion: 1, MaxVersion: 1, Binary: "v0.1.0"},
	}})
	add("raise-version", &fsmpb.Entry{Stamp: start + 2, RaiseVersion: &fsmpb.RaiseVersion{Version: MaxVersion}})
	steps := func(id string, steps ...*fsmpb.Restore) {
		for i, r := range steps {
			r.Id, r.Sequence = hash16(id), uint64(i)
			add("restore-"+strings.ToLower(r.Step.String()), &fsmpb.Entry{Stamp: start + 2, Restore: r})
		}
	}
	brought := &fsmpb.Restore{
		Step:   fsmpb.Restore_ADD,
		Keys:   []*fsmpb.ImageKey{{Namespace: "u", Key: "a", Value: []byte("9"), Version: 3, Revision: 7, Created: start, Updated: start, Deadline: start + 1<<40, SessionId: "s"}, {Key: "ended", Value: []byte("9"), Version: 8, Deadline: 1}},
		Floors: []*fsmpb.ImageFloor{{Namespace: "e", Floor: 4, Emptied: start - 300_000}, {Namespace: "u", Floor: 2}},
	}
	begin := func() *fsmpb.Restore { return &fsmpb.Restore{Step: fsmpb.Restore_BEGIN, Force: true, Keep: "k"} }
	steps("given up", begin(), &fsmpb.Restore{Step: fsmpb.Restore_DROP})
	steps("done", begin(), proto.CloneOf(brought), &fsmpb.Restore{Step: fsmpb.Restore_COMMIT, Force: true, Keep: "k", Revision: 1000})
	steps("under way", begin(), brought)
	add("set", batch(start+3, 1, 1, command("w", set("b", `"é"`)), command("w", set("b", "2"), set("c", "3", ttl(60_000_000), by("s1"))), command("v", set("gone", "4", ttl(5)), set("x", "5"))))
	add("tick", &fsmpb.Entry{Stamp: start + 10})
	add("atomic", batch(start+11, 2, 1, atomic))
	add("delete", batch(start+12, 3, 2, command("v", del("x")), command("v", del("x"))))
	add("idempotent", batch(start+13, 4, 3, keyed("one", set("d", "6")), keyed("two", set("d", "7"), set("e", "8", ifAt(5))), keyed("one", set("d", "6"))))
	add("refused", batch(start+14, 5, 3, command("w", set("d", "7", ifAt(9))), command("w", del("f", ifExists))))
	add("again", batch(start+15, 4, 3))
	add("unknown-session", &fsmpb.Entry{Stamp: start + 16, Batches: []*fsmpb.Batch{{Session: 99, Sequence: 1, Low: 1}}})
	return log
}
