package fsm

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/stateraft/stateraft/fsm/fsmpb"
)

// showPage writes the page's keys, with … if there is more.
func showPage(p Page) string {
	var all []string
	for _, e := range p.Entries {
		all = append(all, e.Key)
	}
	if p.More {
		all = append(all, "…")
	}
	return strings.Join(all, " ")
}

func from(id string) *string { return &id }

func TestList(t *testing.T) {
	m := after(t,
		in("v", set("b", "x"), set("zz", "x")), in("x", set("a", "x"), set("b", "x")), // neighbours
		at(100), do(set("gone", "x", ttl(5))), at(105),
		do(set("b", "12345", by("s")), set("a", "12345"), set("ba", "12345", by("t")), set("b\u00ff", "123", by("s")), set("c", "12345", by("s"))),
	)
	tests := []struct {
		name string
		q    Query
		want string
	}{
		{"all, by bytes", Query{}, "a b ba b\u00ff c"},
		{"reverse", Query{Reverse: true}, "c b\u00ff ba b a"},
		{"prefix", Query{Prefix: "b"}, "b ba b\u00ff"},
		{"prefix, reverse", Query{Prefix: "b", Reverse: true}, "b\u00ff ba b"},
		{"prefix of no key", Query{Prefix: "bb"}, ""},
		{"prefix of no key, reverse", Query{Prefix: "bb", Reverse: true}, ""},
		{"after is exclusive", Query{After: "b"}, "ba b\u00ff c"},
		{"after is exclusive, reverse", Query{After: "b", Reverse: true}, "a"},
		{"after a key that is not there", Query{After: "b0"}, "ba b\u00ff c"},
		{"after a key that is not there, reverse", Query{After: "b0", Reverse: true}, "b a"},
		{"after the last", Query{After: "c"}, ""},
		{"after the first, reverse", Query{After: "a", Reverse: true}, ""},
		{"after, before the prefix", Query{Prefix: "b", After: "a"}, "b ba b\u00ff"},
		{"after, before the prefix, reverse", Query{Prefix: "b", After: "a", Reverse: true}, ""},
		{"after, within the prefix", Query{Prefix: "b", After: "b"}, "ba b\u00ff"},
		{"after, within the prefix, reverse", Query{Prefix: "b", After: "ba", Reverse: true}, "b"},
		{"after, behind the prefix", Query{Prefix: "b", After: "c"}, ""},
		{"after, behind the prefix, reverse", Query{Prefix: "b", After: "c", Reverse: true}, "b\u00ff ba b"},
		{"limit", Query{Limit: 2}, "a b …"},
		{"limit, reverse", Query{Limit: 2, Reverse: true}, "c b\u00ff …"},
		{"limit, just enough", Query{Limit: 5}, "a b ba b\u00ff c"},
		{"limit within the prefix", Query{Prefix: "b", Limit: 3}, "b ba b\u00ff"},
		{"a page always has an entry", Query{MaxBytes: 1}, "a …"},
		{"the page that passes the bytes is full", Query{MaxBytes: 12}, "a b …"},
		{"one byte more", Query{MaxBytes: 13}, "a b ba …"},
		{"bytes, just enough", Query{Prefix: "c", MaxBytes: 1}, "c"},
		{"limit and bytes", Query{Limit: 1, MaxBytes: 100}, "a …"},
		{"session", Query{SessionID: from("s")}, "b b\u00ff c"},
		{"session, limit", Query{SessionID: from("s"), Limit: 2}, "b b\u00ff …"},
		// The keys behind the cut are of other sessions: nothing is missing.
		{"session, the rest is of others", Query{SessionID: from("t"), Limit: 1}, "ba"},
		{"session, nobody", Query{SessionID: from("u")}, ""},
		{"no session", Query{SessionID: from("")}, "a"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			page := m.List("w", tt.q)
			if got := showPage(page); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if page.Point != m.Point() {
				t.Errorf("point is %+v, want %+v", page.Point, m.Point())
			}
		})
	}
	if got := showPage(m.List("unknown", Query{})); got != "" {
		t.Errorf("unknown namespace: got %q, want none", got)
	}
}

// longList writes n keys, k00000 and so on, in one command.
func longList(n int, value string, options ...option) *fsmpb.Command {
	c := command("w")
	for i := range n {
		c.Ops = append(c.Ops, set(fmt.Sprintf("k%05d", i), value, options...))
	}
	return c
}

func TestListOfMoreThanIsReadUnderTheLock(t *testing.T) {
	m := after(t, in("v", set("k", "x")), in("x", set("k", "x")))
	m.run(longList(3*shortList, "x"))
	var all []string
	for _, e := range m.List("w", Query{}).Entries {
		all = append(all, e.Key)
	}
	if len(all) != 3*shortList || !slices.IsSorted(all) {
		t.Fatalf("got %d keys, sorted: %v; want %d", len(all), slices.IsSorted(all), 3*shortList)
	}
	for _, limit := range []int{1, shortList - 1, shortList, shortList + 1, 3 * shortList} {
		for _, reverse := range []bool{false, true} {
			var got []string
			q := Query{Limit: limit, Reverse: reverse}
			for more := true; more; {
				page := m.List("w", q)
				for _, e := range page.Entries {
					got = append(got, e.Key)
				}
				if more = page.More; more {
					q.After = got[len(got)-1]
				}
				if limit == 1 && len(got) == 3 {
					q.Limit = 0 // one at a time takes long
				}
			}
			if reverse {
				slices.Reverse(got)
			}
			if !slices.Equal(got, all) {
				t.Errorf("pages of %d, reverse %v: got %d keys, want all %d in order", limit, reverse, len(got), len(all))
			}
		}
	}
}

// Admit is asked once, for the entries of the page alone, and for a list that is
// not short without the lock.
func TestListAsksForAdmission(t *testing.T) {
	m := newMachine(t)
	m.run(longList(3*shortList, "x"))
	for _, tt := range []struct {
		q    Query
		want int
	}{
		{Query{}, 3 * shortList},
		{Query{Limit: 2 * shortList}, 2 * shortList},
		{Query{Limit: 10}, 10},
		{Query{Prefix: "none"}, 0},
	} {
		var asked []int
		tt.q.Admit = func(n int) bool {
			asked = append(asked, n)
			if n > shortList {
				if !m.mu.TryLock() {
					t.Fatalf("asked for %d entries under the lock", n)
				}
				m.mu.Unlock()
			}
			return true
		}
		page := m.List("w", tt.q)
		if !slices.Equal(asked, []int{tt.want}) || page.Refused || len(page.Entries) != tt.want {
			t.Errorf("asked for %v, refused %v, %d entries; want %d", asked, page.Refused, len(page.Entries), tt.want)
		}
	}
}

// A list that is refused takes no memory for its entries.
func TestListRefused(t *testing.T) {
	m := newMachine(t)
	m.run(longList(3*shortList, "x"))
	for _, q := range []Query{{}, {Limit: shortList}, {Limit: 10}} {
		entries := uint64(0) // their bytes
		q.Admit = func(n int) bool {
			entries = uint64(n) * uint64(unsafe.Sizeof(Entry{}))
			return false
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		page := m.List("w", q)
		runtime.ReadMemStats(&after)
		if !page.Refused || page.Entries != nil || page.More || page.Point != m.Point() {
			t.Errorf("limit %d: got %d entries, refused %v, more %v, point %+v", q.Limit, len(page.Entries), page.Refused, page.More, page.Point)
		}
		if took := after.TotalAlloc - before.TotalAlloc; q.Limit == 0 && took >= entries {
			t.Errorf("%d bytes were taken; the entries would be %d", took, entries)
		}
	}
}

// A page is what a filter over all keys finds.
func TestListProperty(t *testing.T) {
	eachSeed(t, 3, func(t *testing.T, rng *rand.Rand) {
		name := func() string {
			b := make([]rune, 1+rng.IntN(4))
			for i := range b {
				b[i] = []rune("ab\u00ff\U0010ffff")[rng.IntN(4)]
			}
			return string(b)
		}
		maybe := func() string { return strings.Repeat(name(), rng.IntN(2)) }
		m := newMachine(t)
		for range 150 {
			m.run(command([]string{"v", "w", "x"}[rng.IntN(3)], set(name(), strings.Repeat("x", rng.IntN(9)), by(maybe()))))
		}
		all := m.List("w", Query{}).Entries
		for range 500 {
			q := Query{Prefix: maybe(), After: maybe(), Reverse: rng.IntN(2) == 0, Limit: rng.IntN(6), MaxBytes: rng.IntN(40)}
			if rng.IntN(4) == 0 {
				q.SessionID = from(maybe())
			}
			if got, want := showPage(m.List("w", q)), showPage(filter(all, q)); got != want {
				t.Fatalf("%+v: got %q, want %q", q, got, want)
			}
		}
	})
}

// filter is List written plainly.
func filter(all []Entry, q Query) (page Page) {
	all = slices.Clone(all)
	if q.Reverse {
		slices.Reverse(all)
	}
	bytes := 0
	for _, e := range all {
		behind := q.After == "" || !q.Reverse && e.Key > q.After || q.Reverse && e.Key < q.After
		if !behind || !strings.HasPrefix(e.Key, q.Prefix) || q.SessionID != nil && *q.SessionID != e.SessionID {
			continue
		}
		if q.Limit > 0 && len(page.Entries) == q.Limit || q.MaxBytes > 0 && bytes >= q.MaxBytes {
			page.More = true
			break
		}
		bytes += len(e.Key) + len(e.Value)
		page.Entries = append(page.Entries, e)
	}
	return page
}
