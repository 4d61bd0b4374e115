package fsm

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
)

// Readers of all kinds run beside Apply, and each sees one state: commands
// write a whole namespace with one value, so a mixed list is of two states.
func TestReadersBesideApply(t *testing.T) {
	const keys = shortList + 100 // a whole list is read from a frozen tree
	m := newMachine(t)
	m.run(longList(keys, "0"))
	m.run(command("v", set("a", "0"), set("b", "0")))

	done := make(chan struct{})
	var readers sync.WaitGroup
	for _, read := range []func(*testing.T, *State, *rand.Rand){readPair, readLong, readChanges, readFrozen, readFigures} {
		readers.Go(func() {
			rng := rand.New(rand.NewPCG(1, 1))
			for {
				select {
				case <-done:
					return
				default:
					read(t, m.State, rng)
				}
			}
		})
	}
	for i := range 10 {
		value := fmt.Sprint(i)
		for range 10 {
			m.run(command("v", set("a", value), set("b", value), set(fmt.Sprint("c", i%7), value, ttl(5))))
		}
		m.run(command("v", del("c1"), del("c2")))
		m.run(longList(keys, value))
		at(m.Clock() + 3)(m)
	}
	close(done)
	readers.Wait()
	verify(t, m.State)
}

func readPair(t *testing.T, s *State, _ *rand.Rand) {
	page := s.List("v", Query{Limit: 2})
	if a, b := page.Entries[0], page.Entries[1]; string(a.Value) != string(b.Value) || a.Key != "a" || b.Key != "b" {
		t.Errorf("a list shows %s=%s and %s=%s", a.Key, a.Value, b.Key, b.Value)
	}
	before := s.Point()
	e, ok, point := s.Get("v", "a")
	if !ok || e.Revision > point.Revision || point.Index < before.Index || point.Revision < before.Revision {
		t.Errorf("got revision %d, %v, at %+v after %+v", e.Revision, ok, point, before)
	}
}

func readLong(t *testing.T, s *State, rng *rand.Rand) {
	all := s.List("w", Query{Reverse: rng.IntN(2) == 0}).Entries
	if len(all) != shortList+100 {
		t.Errorf("a list has %d keys", len(all))
	}
	for _, e := range all {
		if string(e.Value) != string(all[0].Value) || e.Version != all[0].Version {
			t.Errorf("a list shows %s=%s and %s=%s", all[0].Key, all[0].Value, e.Key, e.Value)
			return
		}
	}
}

func readChanges(t *testing.T, s *State, rng *rand.Rand) {
	after := s.Point().Revision - rng.Uint64N(3)
	changes, ok := s.Changes(after, 1+rng.IntN(5000))
	if !ok {
		t.Errorf("the history does not reach back to %d", after)
	}
	for i, c := range changes {
		if c.Revision != after+1+uint64(i) {
			t.Errorf("change %d after %d has revision %d", i, after, c.Revision)
			return
		}
	}
}

func readFrozen(t *testing.T, s *State, rng *rand.Rand) {
	im := s.Freeze()
	if rng.IntN(4) > 0 {
		return // discarded, as Raft may
	}
	var out bytes.Buffer
	if err := im.Save(&out); err != nil {
		t.Error(err)
	}
	copied := New()
	if err := copied.Restore(&out); err != nil {
		t.Error(err)
	}
	verify(t, copied)
	readLong(t, copied, rng)
	readPair(t, copied, rng)
}

func readFigures(t *testing.T, s *State, _ *rand.Rand) {
	st := s.Stats()
	if st.Keys < shortList || st.Version != 1 {
		t.Errorf("stats are %+v", st)
	}
	s.NextDeadline()
	if s.Clock() < st.Clock || len(s.Nodes()) != 1 || s.WallOffset() != 0 || s.Version() != 1 || s.Shown(1).IsZero() {
		t.Error("the figures do not agree")
	}
	runtime.Gosched()
}

// The same log gives the same bytes, whatever runs beside it.
func TestDeterministic(t *testing.T) {
	eachSeed(t, 2, func(t *testing.T, rng *rand.Rand) {
		g := newGenerator(t, rng)
		var log []logged
		for range 1000 {
			log = append(log, g.next())
		}
		alone := replayWith(t, log, 1, func(*State) {})
		beside := replayWith(t, log, 4, func(s *State) {
			if err := s.Freeze().Save(io.Discard); err != nil {
				t.Error(err)
			}
			s.List("w", Query{})
		})
		if !bytes.Equal(alone, beside) {
			t.Error("two replays of one log have saved different bytes")
		}
	})
}

// replayWith applies the log while another goroutine does beside, again and
// again.
func replayWith(t *testing.T, log []logged, procs int, beside func(*State)) []byte {
	t.Helper()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
	s := New()
	done := make(chan struct{})
	var reader sync.WaitGroup
	reader.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				beside(s)
			}
		}
	})
	for _, l := range log {
		l.applyTo(t, s)
	}
	close(done)
	reader.Wait()
	return save(t, s)
}
