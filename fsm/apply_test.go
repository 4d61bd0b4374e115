package fsm

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stateraft/stateraft/fsm/fsmpb"
)

func TestVersions(t *testing.T) {
	play(t, []scenario{
		{"first write", steps(do(set("k", "a"))), "1", "k=a@1", "+k@1"},
		{"overwrite", steps(do(set("k", "a")), do(set("k", "b"))), "1 | 2", "k=b@2", "+k@1 +k@2"},
		{"same value again is a change", steps(do(set("k", "a")), do(set("k", "a"))), "1 | 2", "k=a@2", "+k@1 +k@2"},
		{"each key counts alone", steps(do(set("k", "a")), do(set("k", "b")), do(set("j", "a"))), "1 | 2 | 1", "j=a@1 k=b@2", ""},
		{"delete takes one", steps(do(set("k", "a")), do(del("k"))), "1 | -2", "", "+k@1 -k@2"},
		{"delete of an absent key", steps(do(del("k"))), "0", "", nothing},
		{"second delete", steps(do(set("k", "a")), do(del("k")), do(del("k"))), "1 | -2 | 0", "", "+k@1 -k@2"},
		{"expiry takes one", steps(at(100), do(set("k", "a", ttl(50))), at(150), do(set("k", "b"))), "1 | 3", "k=b@3", "+k@1 !k@2 +k@3"},
		{"empty command", steps(do()), "", "", nothing},
	})
}

// A version never comes back: a key made anew starts above every version that
// a delete or an expiry took in its namespace.
func TestFloors(t *testing.T) {
	play(t, []scenario{
		{"made anew after delete", steps(do(set("k", "a")), do(del("k")), do(set("k", "b"))), "1 | -2 | 3", "k=b@3", ""},
		// What was read as version 1 of k must not be found again under another life.
		{"stale writer never wins", steps(do(set("k", "a")), do(del("k")), do(set("k", "b")), do(set("k", "c", ifAt(1)))), "1 | -2 | 3 | conflict:0@3", "k=b@3", ""},
		{"another key's delete counts", steps(do(set("k", "a")), do(del("k")), do(set("j", "b"))), "1 | -2 | 3", "j=b@3", ""},
		{"a present key is not lifted", steps(do(set("j", "a")), do(set("k", "a")), do(set("k", "b")), do(del("k")), do(set("j", "b"))), "1 | 1 | 2 | -3 | 2", "j=b@2", ""},
		{"floor does not sink", steps(do(set("j", "a")), do(set("k", "a")), do(set("k", "b")), do(del("k")), do(del("j")), do(set("j", "b"))), "1 | 1 | 2 | -3 | -2 | 4", "j=b@4", ""},
		{"other namespaces have their own", steps(in("v", set("k", "a")), in("v", del("k")), do(set("k", "b"))), "1 | -2 | 1", "k=b@1", ""},
		{"delete in one command, set in the next", steps(do(set("k", "a"), set("j", "a")), do(del("k"), del("j")), do(set("i", "b"))), "1 1 | -2 -2 | 3", "i=b@3", ""},
		// Within a command, a key made after a delete starts above that one too.
		{"delete and set in one command", steps(do(set("k", "a")), atomic(del("k"), set("j", "b"))), "1 | -2 3", "j=b@3", "+k@1 -k@2[2-3] +j@3[2-3]"},

		{"kept until the retention ends", steps(limits(0, 0, 1000), at(100), do(set("k", "a")), do(del("k")), at(1099), do(set("k", "b"))), "1 | -2 | 3", "k=b@3", ""},
		{"dropped when it ends", steps(limits(0, 0, 1000), at(100), do(set("k", "a")), do(del("k")), at(1100), do(set("k", "b"))), "1 | -2 | 1", "k=b@1", ""},
		{"kept while there is a key", steps(limits(0, 0, 1000), at(100), do(set("k", "a"), set("j", "a")), do(del("k")), at(5000), do(set("k", "b"))), "1 1 | -2 | 3", "j=a@1 k=b@3", ""},
		{"refilled in time", steps(limits(0, 0, 1000), at(100), do(set("k", "a")), do(del("k")), at(900), do(set("k", "b")), at(5000), do(set("j", "c"))), "1 | -2 | 3 | 3", "j=c@3 k=b@3", ""},
		{"emptied again, counted anew", steps(limits(0, 0, 1000), at(100), do(set("k", "a")), do(del("k")), at(900), do(set("k", "b")), do(del("k")), at(1899), do(set("k", "c"))), "1 | -2 | 3 | -4 | 5", "k=c@5", ""},
		{"expiry empties too", steps(limits(0, 0, 1000), at(100), do(set("k", "a", ttl(10))), at(110), at(1109), do(set("k", "b"))), "1 | 3", "k=b@3", ""},
		{"expiry empties too, dropped", steps(limits(0, 0, 1000), at(100), do(set("k", "a", ttl(10))), at(110), at(1110), do(set("k", "b"))), "1 | 1", "k=b@1", ""},
		{"longest retention", steps(limits(0, 0, 1<<63-1), at(100), do(set("k", "a")), do(del("k")), at(1<<60), do(set("k", "b"))), "1 | -2 | 3", "k=b@3", ""},
	})
}

func TestConditions(t *testing.T) {
	play(t, []scenario{
		{"swap at version", steps(do(set("k", "a")), do(set("k", "b", ifAt(1)))), "1 | 2", "k=b@2", ""},
		{"swap at stale version", steps(do(set("k", "a")), do(set("k", "b")), do(set("k", "c", ifAt(1)))), "1 | 2 | conflict:0@2", "k=b@2", "+k@1 +k@2"},
		{"swap at a version to come", steps(do(set("k", "a")), do(set("k", "b", ifAt(2)))), "1 | conflict:0@1", "k=a@1", ""},
		{"swap when absent", steps(do(set("k", "a", ifAt(1)))), "conflict:0@0", "", nothing},
		{"create when absent", steps(do(set("k", "a", ifAt(0)))), "1", "k=a@1", ""},
		{"create when present", steps(do(set("k", "a")), do(set("k", "b", ifAt(0)))), "1 | conflict:0@1", "k=a@1", ""},
		{"create when deleted", steps(do(set("k", "a")), do(del("k")), do(set("k", "b", ifAt(0)))), "1 | -2 | 3", "k=b@3", ""},
		{"swap at the version of the delete", steps(do(set("k", "a")), do(del("k")), do(set("k", "b", ifAt(2)))), "1 | -2 | conflict:0@0", "", ""},
		{"set if it exists", steps(do(set("k", "a")), do(set("k", "b", ifExists))), "1 | 2", "k=b@2", ""},
		{"set if it exists, absent", steps(do(set("k", "a", ifExists))), "conflict:0@0", "", nothing},
		{"delete at version", steps(do(set("k", "a")), do(del("k", ifAt(1)))), "1 | -2", "", ""},
		{"delete at stale version", steps(do(set("k", "a")), do(set("k", "b")), do(del("k", ifAt(1)))), "1 | 2 | conflict:0@2", "k=b@2", ""},
		{"delete if absent", steps(do(del("k", ifAt(0)))), "0", "", nothing},
		{"delete if absent, present", steps(do(set("k", "a")), do(del("k", ifAt(0)))), "1 | conflict:0@1", "k=a@1", ""},
		{"delete if it exists, absent", steps(do(del("k", ifExists))), "conflict:0@0", "", nothing},
		{"check takes no version", steps(do(set("k", "a")), do(check("k")), do(check("k", ifAt(1))), do(check("k", ifExists))), "1 | 1 | 1 | 1", "k=a@1", "+k@1"},
		{"check of an absent key", steps(do(check("k")), do(check("k", ifAt(0)))), "0 | 0", "", nothing},
		{"check fails", steps(do(check("k", ifExists)), do(set("k", "a")), do(check("k", ifAt(0)))), "conflict:0@0 | 1 | conflict:0@1", "k=a@1", ""},
	})
}

func TestAtomic(t *testing.T) {
	play(t, []scenario{
		{"consecutive revisions and their span", steps(do(set("z", "")), atomic(set("c", "1"), set("a", "2"), set("b", "3"))), "1 | 1 1 1", "a=2@1 b=3@1 c=1@1 z=@1", "+z@1 +c@1[2-4] +a@1[2-4] +b@1[2-4]"},
		{"checks and empty deletes take no revision", steps(do(set("k", "a")), atomic(check("h"), del("j"), set("k", "b"), del("i"))), "1 | 0 0 2 0", "k=b@2", "+k@1 +k@2[2-2]"},
		{"nothing changes", steps(atomic(check("k"), del("j"))), "0 0", "", nothing},
		{"all or nothing", steps(do(set("k", "a")), atomic(set("i", "x"), del("k"), set("j", "y", ifAt(1)))), "1 | conflict:2@0", "k=a@1", "+k@1"},
		{"the first that fails is told", steps(do(set("k", "a")), atomic(set("i", "x"), check("k", ifAt(7)), check("k2", ifExists))), "1 | conflict:1@1", "k=a@1", "+k@1"},
		{"conditions look at the state before", steps(do(set("k", "a")), atomic(del("k"), set("j", "b", ifAt(0)))), "1 | -2 3", "j=b@3", ""},
		{"one operation", steps(atomic(set("k", "a"))), "1", "k=a@1", "+k@1[1-1]"},
		{"a command that is not atomic has no span", steps(do(set("k", "a"), set("j", "a"))), "1 1", "j=a@1 k=a@1", "+k@1 +j@1"},
		{"the floor rises within", steps(do(set("a", "x"), set("b", "x")), atomic(del("a"), set("c", "x"), del("b"), set("d", "x"))), "1 1 | -2 3 -2 3", "c=x@3 d=x@3", ""},
	})
}

func TestDeadlines(t *testing.T) {
	play(t, []scenario{
		// The deadline itself counts as past.
		{"before the deadline", steps(at(100), do(set("k", "a", ttl(50))), at(149)), "1", "k=a@1", "+k@1"},
		{"at the deadline", steps(at(100), do(set("k", "a", ttl(50))), at(150)), "1", "", "+k@1 !k@2"},
		{"after the deadline", steps(at(100), do(set("k", "a", ttl(50))), at(9999)), "1", "", "+k@1 !k@2"},
		// A new leader with a slow clock must not bring the key back, nor lengthen what it writes.
		{"clock steps back", steps(at(100), do(set("k", "a", ttl(50))), at(150), at(90), do(set("j", "b", ttl(10))), at(159)), "1 | 3", "j=b@3", ""},
		{"clock steps back, deadline counts from cluster time", steps(at(150), at(90), do(set("j", "b", ttl(10))), at(160)), "1", "", ""},
		{"zero is no expiry", steps(at(100), do(set("k", "a", ttl(0))), at(1<<60)), "1", "k=a@1", ""},
		{"set replaces the deadline", steps(at(100), do(set("k", "a", ttl(50))), do(set("k", "b", ttl(80))), at(179)), "1 | 2", "k=b@2", "+k@1 +k@2"},
		{"set takes the deadline away", steps(at(100), do(set("k", "a", ttl(50))), do(set("k", "b")), at(9999)), "1 | 2", "k=b@2", "+k@1 +k@2"},
		{"a refused set leaves the deadline", steps(at(100), do(set("k", "a", ttl(50))), do(set("k", "b", ifAt(7))), at(150)), "1 | conflict:0@1", "", "+k@1 !k@2"},
		{"a check leaves the deadline", steps(at(100), do(set("k", "a", ttl(50))), do(check("k")), at(150)), "1 | 1", "", "+k@1 !k@2"},
		{"a delete takes the deadline along", steps(at(100), do(set("k", "a", ttl(50))), do(del("k")), at(150)), "1 | -2", "", "+k@1 -k@2"},
		{"in order of deadlines, then of names", steps(at(100), do(set("c", "x", ttl(50)), set("b", "x", ttl(50)), set("a", "x", ttl(60)), set("d", "x", ttl(40))), at(200)), "1 1 1 1", "", "+c@1 +b@1 +a@1 +d@1 !d@2 !b@2 !c@2 !a@2"},
	})
}

// More keys are due than an entry ends: the rest are absent to readers and to
// conditions, and whoever touches one ends it first.
func TestDueKeysThatWait(t *testing.T) {
	many := []*fsmpb.Op{}
	for i := range 2 * maxEnds {
		many = append(many, set(fmt.Sprintf("k%05d", i), "x", ttl(50)))
	}
	for i := range 8 {
		many = append(many, set(fmt.Sprint("x", i), "x", ttl(50)))
	}
	m := after(t, at(100), do(many...), at(150))
	if got, want := m.keys.Len(), maxEnds+8; got != want {
		t.Fatalf("%d keys wait, want %d", got, want)
	}
	if _, ok, _ := m.Get("w", "x0"); ok || len(m.List("w", Query{}).Entries) > 0 {
		t.Error("readers see a key that is due")
	}
	if deadline, ok := m.NextDeadline(); !ok || deadline != 150 {
		t.Errorf("next deadline is %d, %v; want 150, which has passed", deadline, ok)
	}

	// The entry ends maxEnds more and leaves the last eight to the commands.
	touching := command("w", set("x4", "b"), check("x5"), del("x6"), set("x1", "c"))
	touching.Atomic = true
	base := m.Point().Revision + maxEnds
	answers := m.runAll(
		command("w", set("x0", "b", ifAt(1))),
		command("w", set("x1", "b", ifAt(0))),
		command("w", del("x2")),
		command("w", check("x3", ifExists)),
		touching,
	)
	var got []string
	for _, a := range answers {
		got = append(got, showAnswer(a))
	}
	if got, want := strings.Join(got, " | "), "conflict:0@0 | 3 | 0 | conflict:0@0 | 3 0 0 4"; got != want {
		t.Errorf("answers are %q, want %q", got, want)
	}
	// The ends that an atomic write causes come before its span.
	changes, _ := m.Changes(base, 100)
	if got, want := showSome(changes, base), "!x0@2 !x1@2 +x1@3 !x2@2 !x3@2 !x4@2 !x5@2 !x6@2 +x4@3[9-10] +x1@4[9-10]"; got != want {
		t.Errorf("changes are %q, want %q", got, want)
	}
	verify(t, m.State)

	at(150)(m)
	if got, want := showKeys(m.State), "x1=c@4 x4=b@3"; got != want || m.keys.Len() != 2 {
		t.Errorf("%d keys, %q; want %q", m.keys.Len(), got, want)
	}
}
