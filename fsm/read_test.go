package fsm

import (
	"testing"
	"time"

	"github.com/stateraft/stateraft/fsm/fsmpb"
)

// leads is a leader's first entry; no settings leave those in force.
func leads(offset int64, s *fsmpb.Settings) step {
	return func(m *machine) string {
		m.t.Helper()
		m.entry(&fsmpb.Entry{LeaderStart: &fsmpb.LeaderStart{WallOffset: offset, Settings: s}})
		return ""
	}
}

func TestGet(t *testing.T) {
	noon := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	m := after(t, leads(noon.UnixMicro(), nil),
		at(1000), do(set("other", "x"), set("k", "a", by("s1"))),
		at(2000), do(set("k", "b", ttl(500), by("s2"))),
	)
	e, ok, point := m.Get("w", "k")
	us := func(n int) time.Time { return noon.Add(time.Duration(n) * time.Microsecond) }
	if !ok || e.Namespace != "w" || e.Key != "k" || string(e.Value) != "b" || e.Version != 2 || e.Revision != 3 || e.SessionID != "s2" {
		t.Errorf("got %+v, %v", e, ok)
	}
	if !e.CreatedAt.Equal(us(1000)) || !e.UpdatedAt.Equal(us(2000)) || !e.ExpiresAt.Equal(us(2500)) || e.ExpiresAt.Location() != time.UTC {
		t.Errorf("created %v, updated %v, expires %v; want %v, %v, %v", e.CreatedAt, e.UpdatedAt, e.ExpiresAt, us(1000), us(2000), us(2500))
	}
	if want := (Point{Index: m.index, Revision: 3}); point != want || m.Point() != want {
		t.Errorf("point is %+v and %+v, want %+v", point, m.Point(), want)
	}
	all, point := m.GetAll("w", []string{"absent", "k", "other", "k"})
	if want := (Point{Index: m.index, Revision: 3}); point != want || len(all) != 4 || all[0].Version != 0 || all[1].Version != 2 || string(all[2].Value) != "x" || all[3].Key != "k" {
		t.Errorf("all at once: %+v at %+v, want those at %+v", all, point, want)
	}
	if e, _, _ := m.Get("w", "other"); !e.ExpiresAt.IsZero() {
		t.Errorf("a key without a deadline expires at %v", e.ExpiresAt)
	}
	for _, absent := range [][2]string{{"w", "j"}, {"v", "k"}, {"w", ""}, {"", ""}} {
		if e, ok, p := m.Get(absent[0], absent[1]); ok || e.Version != 0 || p != point {
			t.Errorf("Get(%q): got %+v, %v, %+v; want nothing at %+v", absent, e, ok, p, point)
		}
	}

	// A new life of the key has its own beginning.
	at(3000)(m)
	do(set("k", "c"))(m)
	if e, _, _ := m.Get("w", "k"); !e.CreatedAt.Equal(us(3000)) || !e.ExpiresAt.IsZero() {
		t.Errorf("made anew: created %v, expires %v; want %v and never", e.CreatedAt, e.ExpiresAt, us(3000))
	}
}

func TestLeaderStart(t *testing.T) {
	mine := &fsmpb.Settings{HistoryEvents: 1, HistoryBytes: 1 << 10, FloorRetention: 7}
	m := after(t, do(set("a", "x")), do(set("b", "x")), leads(500, mine))
	if got := showChanges(t, m.State); got != "+b@1" {
		t.Errorf("changes are %q, want the limit of one event in force", got)
	}
	leads(-700, nil)(m) // a correction of the offset alone
	if m.settings.FloorRetention != 7 || m.settings.HistoryEvents != 1 {
		t.Errorf("settings are %v, want %v", m.settings, mine)
	}
	if got, want := m.WallOffset(), -700*time.Microsecond; got != want {
		t.Errorf("offset is %v, want %v", got, want)
	}
	if got, want := m.Shown(1_000_700), time.Unix(1, 0); !got.Equal(want) {
		t.Errorf("shown instant is %v, want %v", got, want)
	}
	if got := m.Shown(0); !got.IsZero() {
		t.Errorf("no time is shown as %v, want the zero instant", got)
	}
	if m.Clock() != 0 {
		t.Errorf("clock is %d, want 0: an offset does not move it", m.Clock())
	}
}

func TestStats(t *testing.T) {
	m := after(t, limits(2, 0, 0), at(100), do(set("k", "abc", ttl(50)), set("jj", "d")), in("v", set("k", "e")), in("v", del("k")), keyed("id", "r", check("k")))
	got := m.Stats()
	got.Hash = 0
	want := Stats{
		Point: Point{Index: m.index, Revision: 4}, Version: 1, Clock: 100,
		Keys: 2, KeysWithTTL: 1, Bytes: 7, Floors: 1, Records: 1, RecordBytes: recordBytes, Sessions: 1,
		HistoryEvents: 2, HistoryBytes: 2 * (changeOverhead + 2),
		ImageBytes: 7 + 2*imageKeyBytes + imageFloorBytes + recordBytes + 2*(changeOverhead+2),
	}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if deadline, ok := m.NextDeadline(); !ok || deadline != 150 {
		t.Errorf("next deadline is %d, %v; want 150", deadline, ok)
	}
}

// Equal states have equal hashes, and each of these steps changes it.
func TestHash(t *testing.T) {
	base := steps(at(1000), do(set("k", "a", ttl(50)), set("j", "a")), in("v", set("k", "a")), in("v", del("k")), keyed("id", "r", check("k")))
	variants := map[string][]step{
		"":                  base,
		"value":             append(base[:1:1], append(steps(do(set("k", "b", ttl(50)), set("j", "a"))), base[2:]...)...),
		"deadline":          append(base[:1:1], append(steps(do(set("k", "a", ttl(51)), set("j", "a"))), base[2:]...)...),
		"session id":        append(base[:1:1], append(steps(do(set("k", "a", ttl(50), by("s")), set("j", "a"))), base[2:]...)...),
		"values swapped":    append(base[:1:1], append(steps(do(set("j", "a", ttl(50)), set("k", "a"))), base[2:]...)...),
		"another request":   append(base[:4:4], keyed("id", "q", check("k"))),
		"another answer":    append(base[:4:4], keyed("id", "r", check("h"))),
		"another record":    append(base[:4:4], keyed("id2", "r", check("k"))),
		"floor":             append(base[:5:5], func(m *machine) string { m.setFloor(&floor{ns: "v", version: 9, emptied: 1000}); return "" }),
		"floor's namespace": append(base[:2:2], append(steps(in("u", set("k", "a")), in("u", del("k"))), base[4:]...)...),
		"clock":             append(base[:5:5], at(1001)),
		"offset":            append(base[:5:5], leads(1, nil)),
		"settings":          append(base[:5:5], limits(0, 0, 77)),
		"sessions":          append(base[:5:5], func(m *machine) string { m.entry(&fsmpb.Entry{OpenSession: opening("n2", "boot")}); return "" }),
		"window":            append(base[:5:5], func(m *machine) string { m.batch(m.sequence+5, m.sequence+5); return "" }),
		"history":           append(base[:5:5], limits(1, 0, 0)),
	}
	hashes := map[uint64]string{}
	for name, steps := range variants {
		h := after(t, steps...).Stats().Hash
		if h != after(t, steps...).Stats().Hash {
			t.Errorf("%s: two equal states have different hashes", name)
		}
		if other, ok := hashes[h]; ok {
			t.Errorf("variants %q and %q have equal hashes", name, other)
		}
		hashes[h] = name
	}
}
