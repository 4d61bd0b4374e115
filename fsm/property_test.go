package fsm

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/stateraft/stateraft/fsm/fsmpb"
)

// A logged is one entry of a log, or a configuration, and what it must do.
type logged struct {
	index   uint64
	data    []byte
	members []string // of a configuration
	want    Applied
}

func (l logged) applyTo(t testing.TB, s *State) Applied {
	t.Helper()
	if l.data == nil {
		s.Members(l.index, l.members)
		return Applied{}
	}
	return applyTo(t, s, l.index, l.data)
}

// A generator makes a random log. The model tells it what would be a likely
// condition, and says what each entry must do.
type generator struct {
	t       testing.TB
	rng     *rand.Rand
	model   *model
	now     int64
	senders map[string]*batches // by node
	boots   int
}

// batches is what the session of one node has sent.
type batches struct {
	session, sequence, low uint64
	sent                   []*fsmpb.Batch
}

func newGenerator(t testing.TB, rng *rand.Rand) *generator {
	return &generator{t: t, rng: rng, model: newModel(), now: 1_000_000, senders: map[string]*batches{}}
}

// one in n times true.
func (g *generator) one(n int) bool { return g.rng.IntN(n) == 0 }

func pick[T any](g *generator, from ...T) T { return from[g.rng.IntN(len(from))] }

func (g *generator) next() logged {
	l := logged{index: g.model.index + 1 + g.rng.Uint64N(3)}
	if g.one(60) {
		l.members = pick(g, []string{"n1", "n2", "n3"}, []string{"n1", "n2"}, []string{"n3", "n1"}, nil)
		g.model.members(l.index, l.members)
		return l
	}
	e := g.entry()
	l.data = encode(g.t, e)
	l.want = g.model.apply(l.index, proto.CloneOf(e))
	if o := e.OpenSession; o != nil {
		g.senders[o.Node.Id] = &batches{session: l.want.Session}
	}
	return l
}

func (g *generator) entry() *fsmpb.Entry {
	e := &fsmpb.Entry{Stamp: g.stamp()}
	if g.one(25) {
		e.LeaderStart = &fsmpb.LeaderStart{WallOffset: g.rng.Int64N(2000) - 1000}
		if g.one(2) {
			e.LeaderStart.Settings = &fsmpb.Settings{
				HistoryEvents: g.rng.Uint64N(300), HistoryBytes: g.rng.Uint64N(30_000), FloorRetention: g.rng.Int64N(2000),
			}
		}
	}
	if g.one(60) {
		e.RaiseVersion = &fsmpb.RaiseVersion{Version: 1}
	}
	if g.one(30) || len(g.senders) == 0 {
		node := pick(g, "n1", "n2", "n3")
		if g.boots++; g.one(4) {
			g.boots-- // a copy, perhaps of another node
		}
		e.OpenSession = opening(node, fmt.Sprint("boot", g.boots))
		return e
	}
	for range g.rng.IntN(4) {
		e.Batches = append(e.Batches, g.batch())
	}
	return e
}

// stamp moves mostly forward, at times back, at times far.
func (g *generator) stamp() int64 {
	switch {
	case g.one(10):
		return g.now - g.rng.Int64N(500)
	case g.one(30):
		g.now += 1500
	case g.one(100):
		g.now += RecordLifetime.Microseconds() / 2
	}
	g.now += g.rng.Int64N(60)
	return g.now
}

// batch returns the next batch of some sender, or an old or a wrong one.
func (g *generator) batch() *fsmpb.Batch {
	b := g.senders[pick(g, slices.Sorted(maps.Keys(g.senders))...)]
	switch {
	case len(b.sent) > 0 && g.one(6):
		return pick(g, b.sent...)
	case g.one(40):
		return &fsmpb.Batch{Session: b.session + g.rng.Uint64N(3), Sequence: b.sequence + g.rng.Uint64N(30), Low: b.low, Commands: g.commands()}
	}
	b.sequence++
	b.low = max(b.low, b.sequence-min(b.sequence, g.rng.Uint64N(Window)))
	batch := &fsmpb.Batch{Session: b.session, Sequence: b.sequence, Low: b.low, Commands: g.commands()}
	b.sent = append(b.sent, batch)
	return batch
}

func (g *generator) commands() (all []*fsmpb.Command) {
	for range g.rng.IntN(4) {
		all = append(all, g.command())
	}
	return all
}

func (g *generator) command() *fsmpb.Command {
	c := command(pick(g, "", "v", "w", "x"))
	c.Atomic = g.one(2)
	used := map[string]bool{}
	for range 1 + g.rng.IntN(4) {
		if op := g.op(c.Namespace); !used[op.Key] {
			used[op.Key] = true
			c.Ops = append(c.Ops, op)
		}
	}
	if g.one(4) {
		c.IdempotencyKey = hash16(fmt.Sprint("key", g.rng.IntN(30)))
		c.RequestHash = hash16(fmt.Sprint("request", g.rng.IntN(2)))
	}
	return c
}

func (g *generator) op(ns string) *fsmpb.Op {
	op := &fsmpb.Op{Key: pick(g, "a", "b", "c", "d", "e", "f", "g"), Kind: pick(g, fsmpb.Op_SET, fsmpb.Op_SET, fsmpb.Op_DELETE, fsmpb.Op_CHECK)}
	if op.Kind == fsmpb.Op_SET {
		op.Value = []byte(strings.Repeat("x", 1+g.rng.IntN(20)))
		op.SessionId = pick(g, "", "", "s1", "s2")
		op.Ttl = max(0, g.rng.Int64N(400)-150)
	}
	if g.one(3) {
		op.Condition = pick(g, fsmpb.Op_AT_VERSION, fsmpb.Op_EXISTS)
		op.ExpectedVersion = g.model.keys[name{ns, op.Key}].version
		if g.one(4) {
			op.ExpectedVersion += g.rng.Uint64N(3)
		}
	}
	return op
}

// The state does what the model does.
func TestModel(t *testing.T) {
	eachSeed(t, 6, func(t *testing.T, rng *rand.Rand) {
		g := newGenerator(t, rng)
		s := New()
		for range 300 {
			l := g.next()
			sameApplied(t, l.index, l.applyTo(t, s), l.want)
			sameState(t, s, g.model)
			verify(t, s)
			if t.Failed() {
				t.Fatalf("after the entry at %d", l.index)
			}
		}
	})
}

func sameApplied(t *testing.T, index uint64, got, want Applied) {
	t.Helper()
	same := func(a, b *fsmpb.BatchAnswer) bool { return proto.Equal(a, b) }
	if got.Session != want.Session || !slices.EqualFunc(got.Batches, want.Batches, same) {
		t.Errorf("entry %d: got %v, want %v", index, got, want)
	}
}

func sameState(t *testing.T, s *State, m *model) {
	t.Helper()
	if st := s.Stats(); st.Point != (Point{m.index, m.revision}) || st.Clock != m.clock || st.WallOffset != m.offset ||
		st.Keys != len(m.keys) || st.Floors != len(m.floors) || st.Records != len(m.records) || st.Sessions != len(m.sessions) {
		t.Errorf("stats are %+v; want index %d, revision %d, clock %d, offset %d, %d keys, %d floors, %d records, %d sessions",
			st, m.index, m.revision, m.clock, m.offset, len(m.keys), len(m.floors), len(m.records), len(m.sessions))
	}
	for n, want := range m.keys {
		k, _ := s.get(n.ns, n.key)
		if k == nil {
			t.Errorf("%q is absent, want %+v", n, want)
			continue
		}
		if got := (modelKey{string(k.value), k.version, k.revision, k.created, k.updated, k.deadline, k.sessionID}); got != want {
			t.Errorf("%q is %+v, want %+v", n, got, want)
		}
	}
	s.floors.Scan(func(f *floor) bool {
		want, ok := m.floors[f.ns]
		if empty := m.isEmpty(f.ns); !ok || f.version != want.version || empty && f.emptied != want.emptied {
			t.Errorf("floor of %q is %d, emptied at %d; want %+v, %v", f.ns, f.version, f.emptied, want, ok)
		}
		return true
	})
	changes, ok := s.Changes(m.revision-uint64(len(m.changes)), 1<<20)
	if !ok || len(changes) != len(m.changes) || s.history.queue.len() != len(m.changes) {
		t.Errorf("history has %d changes, %v; want %d", s.history.queue.len(), ok, len(m.changes))
		return
	}
	for i, c := range changes {
		if !sameChange(*c, m.changes[i]) {
			t.Errorf("change is %+v, want %+v", *c, m.changes[i])
		}
	}
}

// A state restored from an image at any point, and one that replayed the log
// from its beginning, give the same answers and the same bytes ever after.
func TestReplayEqualsRestore(t *testing.T) {
	eachSeed(t, 4, func(t *testing.T, rng *rand.Rand) {
		g := newGenerator(t, rng)
		replayed := New()
		var others []*State
		type frozen struct {
			image *Image
			bytes []byte
		}
		var images []frozen
		for i := range 500 {
			l := g.next()
			sameApplied(t, l.index, l.applyTo(t, replayed), l.want)
			for _, s := range others {
				sameApplied(t, l.index, l.applyTo(t, s), l.want)
			}
			if g.one(25) || i == 250 {
				source := pick(g, append(others, replayed)...)
				im := frozen{source.Freeze(), save(t, source)}
				images = append(images, im)
				others = append(others, restored(t, im.bytes))
				others = others[max(0, len(others)-4):]
			}
			if t.Failed() {
				t.Fatalf("after the entry at %d", l.index)
			}
		}
		for i, im := range images {
			if !bytes.Equal(saved(t, im.image), im.bytes) {
				t.Errorf("image %d, saved late, has other bytes", i)
			}
		}
		want := save(t, replayed)
		for i, s := range others {
			verify(t, s)
			if !bytes.Equal(save(t, s), want) || s.Stats() != replayed.Stats() {
				t.Errorf("state %d has other bytes in the end", i)
			}
		}
	})
}
