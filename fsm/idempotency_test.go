package fsm

import (
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/stateraft/stateraft/fsm/fsmpb"
)

func TestIdempotency(t *testing.T) {
	life := RecordLifetime.Microseconds()
	play(t, []scenario{
		{"once", steps(keyed("id", "r", set("k", "a")), keyed("id", "r", set("k", "a"))), "1 | 1", "k=a@1", "+k@1"},
		{"the first answer, whatever came since", steps(keyed("id", "r", set("k", "a")), do(set("k", "b")), keyed("id", "r", set("k", "a"))), "1 | 2 | 1", "k=b@2", "+k@1 +k@2"},
		{"a conflict too", steps(keyed("id", "r", set("k", "a", ifAt(4))), do(set("k", "b")), keyed("id", "r", set("k", "a", ifAt(4)))), "conflict:0@0 | 1 | conflict:0@0", "k=b@1", "+k@1"},
		{"a delete of an absent key too", steps(keyed("id", "r", del("k")), do(set("k", "b")), keyed("id", "r", del("k"))), "0 | 1 | 0", "k=b@1", ""},
		{"another key", steps(keyed("id", "r", set("k", "a")), keyed("id2", "r", set("k", "a"))), "1 | 2", "k=a@2", ""},
		{"another request", steps(keyed("id", "r", set("k", "a")), keyed("id", "r2", set("k", "b"))), "1 | mismatch", "k=a@1", "+k@1"},
		{"another request leaves the first answer", steps(keyed("id", "r", set("k", "a")), keyed("id", "r2", set("k", "b")), keyed("id", "r", set("k", "a"))), "1 | mismatch | 1", "k=a@1", "+k@1"},
		{"kept for its lifetime", steps(at(100), keyed("id", "r", set("k", "a")), at(100+life-1), keyed("id", "r", set("k", "a"))), "1 | 1", "k=a@1", ""},
		{"forgotten then", steps(at(100), keyed("id", "r", set("k", "a")), at(100+life), keyed("id", "r", set("k", "a"))), "1 | 2", "k=a@2", ""},
		// Asking again does not lengthen it.
		{"counted from the first", steps(at(100), keyed("id", "r", set("k", "a")), at(100+life-1), keyed("id", "r", set("k", "a")), at(100+life), keyed("id", "r", set("k", "a"))), "1 | 1 | 2", "k=a@2", ""},
		{"clock steps back", steps(at(100), keyed("id", "r", set("k", "a")), at(100+life), at(100), keyed("id", "r", set("k", "a"))), "1 | 2", "k=a@2", ""},
	})
}

// The whole answer is the first one's, revision and time included.
func TestIdempotentAnswerIsTheSame(t *testing.T) {
	m := after(t, at(100), do(set("k", "a")))
	for i, c := range []*fsmpb.Command{
		command("w", set("k", "b"), set("j", "b")),
		command("w", del("k", ifAt(9))),
		command("w", check("k")),
	} {
		c.IdempotencyKey, c.RequestHash = hash16(fmt.Sprint(i)), hash16("r")
		first := m.run(c)
		at(m.Clock() + 5)(m)
		m.run(command("w", set("k", "c")))
		if again := m.run(c); !proto.Equal(first, again) {
			t.Errorf("answers are %v, then %v", first, again)
		}
	}
	if got, want := m.Stats().Records, 3; got != want {
		t.Errorf("%d records, want %d", got, want)
	}
}

func TestIdempotencyFull(t *testing.T) {
	m := after(t, at(100), keyed("old", "r", set("k", "a")))
	m.records.units += MaxRecords - 2
	one := keyed("one", "r", set("k", "b"))
	two := keyed("two", "r", set("k", "c"))
	for _, want := range []struct {
		step   step
		answer string
	}{
		{one, "2"},
		{two, "full"},
		{one, "2"},
		{keyed("old", "other", set("k", "d")), "mismatch"},
		{do(set("k", "e")), "3"},
		{two, "full"},
	} {
		if got := want.step(m); got != want.answer {
			t.Errorf("got %q, want %q", got, want.answer)
		}
	}
	at(100 + RecordLifetime.Microseconds())(m)
	if got := two(m); got != "4" {
		t.Errorf("got %q when there is room again, want 4", got)
	}
	if got, want := m.records.units, MaxRecords-2+1; got != want {
		t.Errorf("%d units, want %d", got, want)
	}
}

// A long answer counts as several records.
func TestRecordUnits(t *testing.T) {
	for _, tt := range []struct{ answer, want int }{
		{0, 1}, {recordBytes - recordOverhead, 1}, {recordBytes - recordOverhead + 1, 2}, {10 * recordBytes, 11},
	} {
		if got := (&record{answer: make([]byte, tt.answer)}).units(); got != tt.want {
			t.Errorf("an answer of %d bytes counts as %d, want %d", tt.answer, got, tt.want)
		}
	}
}
