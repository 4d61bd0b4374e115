package fsm

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stateraft/stateraft/fsm/fsmpb"
)

// A machine is a state, the log that feeds it, and a session to write with.
type machine struct {
	*State
	t        testing.TB
	index    uint64
	session  uint64
	sequence uint64
}

func newMachine(t testing.TB) *machine {
	m := &machine{State: New(), t: t}
	m.session = m.entry(&fsmpb.Entry{OpenSession: opening("n1", "boot")}).Session
	return m
}

// entry applies e as the next entry of the log.
func (m *machine) entry(e *fsmpb.Entry) Applied {
	m.t.Helper()
	m.index++
	return applyTo(m.t, m.State, m.index, encode(m.t, e))
}

// batch applies one batch of the machine's own session.
func (m *machine) batch(sequence, low uint64, commands ...*fsmpb.Command) *fsmpb.BatchAnswer {
	m.t.Helper()
	b := &fsmpb.Batch{Session: m.session, Sequence: sequence, Low: low, Commands: commands}
	return m.entry(&fsmpb.Entry{Batches: []*fsmpb.Batch{b}}).Batches[0]
}

// runAll applies commands in one batch and returns their answers.
func (m *machine) runAll(commands ...*fsmpb.Command) []*fsmpb.Answer {
	m.t.Helper()
	m.sequence++
	a := m.batch(m.sequence, m.sequence, commands...)
	if a.Refusal != fsmpb.BatchAnswer_NONE || len(a.Answers) != len(commands) {
		m.t.Fatalf("batch answer is %v, want %d answers", a, len(commands))
	}
	return a.Answers
}

func (m *machine) run(c *fsmpb.Command) *fsmpb.Answer {
	m.t.Helper()
	return m.runAll(c)[0]
}

// after returns a machine that went through steps.
func after(t testing.TB, steps ...step) *machine {
	t.Helper()
	m := newMachine(t)
	for _, s := range steps {
		s(m)
	}
	return m
}

func encode(t testing.TB, e *fsmpb.Entry) []byte {
	t.Helper()
	data, err := Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func applyTo(t testing.TB, s *State, index uint64, data []byte) Applied {
	t.Helper()
	res, err := s.Apply(index, data)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func opening(node, boot string) *fsmpb.OpenSession {
	return &fsmpb.OpenSession{BootId: []byte(boot), Node: &fsmpb.Node{Id: node, Name: node}}
}

// What a client asks for.

type option func(*fsmpb.Op)

func set(key, value string, options ...option) *fsmpb.Op {
	return with(&fsmpb.Op{Kind: fsmpb.Op_SET, Key: key, Value: []byte(value)}, options)
}

func del(key string, options ...option) *fsmpb.Op {
	return with(&fsmpb.Op{Kind: fsmpb.Op_DELETE, Key: key}, options)
}

func check(key string, options ...option) *fsmpb.Op {
	return with(&fsmpb.Op{Kind: fsmpb.Op_CHECK, Key: key}, options)
}

func with(op *fsmpb.Op, options []option) *fsmpb.Op {
	for _, o := range options {
		o(op)
	}
	return op
}

func ttl(us int64) option { return func(op *fsmpb.Op) { op.Ttl = us } }

func by(session string) option { return func(op *fsmpb.Op) { op.SessionId = session } }

func ifAt(version uint64) option {
	return func(op *fsmpb.Op) { op.Condition, op.ExpectedVersion = fsmpb.Op_AT_VERSION, version }
}

func ifExists(op *fsmpb.Op) { op.Condition = fsmpb.Op_EXISTS }

func command(ns string, ops ...*fsmpb.Op) *fsmpb.Command {
	return &fsmpb.Command{Namespace: ns, Ops: ops}
}

func hash16(s string) []byte {
	h := make([]byte, 16)
	copy(h, s)
	return h
}

// A step is one line of a scenario; it returns the answer it got, if any.
type step func(*machine) string

// in runs one command in the namespace ns, do in "w".
func in(ns string, ops ...*fsmpb.Op) step {
	return func(m *machine) string { m.t.Helper(); return showAnswer(m.run(command(ns, ops...))) }
}

func do(ops ...*fsmpb.Op) step { return in("w", ops...) }

func atomic(ops ...*fsmpb.Op) step {
	return func(m *machine) string {
		m.t.Helper()
		c := command("w", ops...)
		c.Atomic = true
		return showAnswer(m.run(c))
	}
}

// keyed runs one command under an idempotency key.
func keyed(key, request string, ops ...*fsmpb.Op) step {
	return func(m *machine) string {
		m.t.Helper()
		c := command("w", ops...)
		c.IdempotencyKey, c.RequestHash = hash16(key), hash16(request)
		return showAnswer(m.run(c))
	}
}

// at applies an entry with nothing but the stamp us.
func at(us int64) step {
	return func(m *machine) string { m.t.Helper(); m.entry(&fsmpb.Entry{Stamp: us}); return "" }
}

// limits announces settings; 0 stands for the default.
func limits(events, bytes uint64, retention int64) step {
	s := DefaultSettings()
	if events != 0 {
		s.HistoryEvents = events
	}
	if bytes != 0 {
		s.HistoryBytes = bytes
	}
	if retention != 0 {
		s.FloorRetention = retention
	}
	return func(m *machine) string {
		m.t.Helper()
		m.entry(&fsmpb.Entry{LeaderStart: &fsmpb.LeaderStart{Settings: s}})
		return ""
	}
}

// showAnswer writes an answer as the versions of its results, a deletion's
// negative.
func showAnswer(a *fsmpb.Answer) string {
	switch a.Code {
	case fsmpb.Answer_OK:
		var all []string
		for _, r := range a.Results {
			sign := ""
			if r.Deleted {
				sign = "-"
			}
			all = append(all, fmt.Sprint(sign, r.Version))
		}
		return strings.Join(all, " ")
	case fsmpb.Answer_CONFLICT:
		return fmt.Sprintf("conflict:%d@%d", a.FailedOp, a.CurrentVersion)
	default:
		return strings.ToLower(strings.TrimPrefix(a.Code.String(), "IDEMPOTENCY_"))
	}
}

// showKeys writes what readers see of the namespace "w".
func showKeys(s *State) string {
	var all []string
	for _, e := range s.List("w", Query{}).Entries {
		all = append(all, fmt.Sprintf("%s=%s@%d", e.Key, e.Value, e.Version))
	}
	return strings.Join(all, " ")
}

// showChanges writes the whole history.
func showChanges(t testing.TB, s *State) string {
	t.Helper()
	base := s.history.base
	changes, ok := s.Changes(base, 1<<20)
	if !ok {
		t.Fatalf("the history does not reach back to its own base %d", base)
	}
	for i, c := range changes {
		if c.Revision != base+1+uint64(i) {
			t.Errorf("change %d after revision %d has revision %d", i, base, c.Revision)
		}
	}
	return showSome(changes, 0)
}

// showSome writes changes: + set, - delete, ! expire, and the span of an
// atomic write, in revisions after base.
func showSome(changes []*Change, base uint64) string {
	marks := map[fsmpb.Change_Type]string{fsmpb.Change_SET: "+", fsmpb.Change_DELETE: "-", fsmpb.Change_EXPIRE: "!"}
	var all []string
	for _, c := range changes {
		text := fmt.Sprintf("%s%s@%d", marks[c.Type], c.Key, c.Version)
		if c.First != 0 {
			text += fmt.Sprintf("[%d-%d]", c.First-base, c.Last-base)
		}
		all = append(all, text)
	}
	return strings.Join(all, " ")
}

// A scenario is what a client and time do, and what must come of it.
type scenario struct {
	name    string
	steps   []step
	answers string // of the steps that have one, between bars
	keys    string // that readers see in the end
	changes string // all that were made; not compared if empty
}

func steps(s ...step) []step { return s }

const nothing = "nothing"

func play(t *testing.T, scenarios []scenario) {
	t.Helper()
	for _, sc := range scenarios {
		t.Run(sc.name, func(t *testing.T) {
			m := newMachine(t)
			var answers []string
			for _, s := range sc.steps {
				if a := s(m); a != "" {
					answers = append(answers, a)
				}
				verify(t, m.State)
			}
			if got := strings.Join(answers, " | "); got != sc.answers {
				t.Errorf("answers are %q, want %q", got, sc.answers)
			}
			if got := showKeys(m.State); got != sc.keys {
				t.Errorf("keys are %q, want %q", got, sc.keys)
			}
			got := showChanges(t, m.State)
			if got == "" {
				got = nothing
			}
			if sc.changes != "" && got != sc.changes {
				t.Errorf("changes are %q, want %q", got, sc.changes)
			}
		})
	}
}

// verify compares what the state keeps ready with what follows from the rest.
func verify(t testing.TB, s *State) {
	t.Helper()
	d := &s.data
	var bytes, sum, deadlines uint64
	filled := map[string]bool{}
	d.keys.Scan(func(k *key) bool {
		bytes += uint64(len(k.name) + len(k.value))
		sum += k.hash()
		filled[k.ns] = true
		if k.deadline != 0 {
			deadlines++
			if other, ok := d.due.Get(k); !ok || other != k {
				t.Errorf("%q has a deadline and is not among those due", k.name)
			}
		}
		return true
	})
	d.floors.Scan(func(f *floor) bool {
		sum += f.hash()
		if filled[f.ns] == (f.emptied != 0) && d.clock != 0 {
			t.Errorf("floor of %q says emptied at %d, and it has keys: %v", f.ns, f.emptied, filled[f.ns])
		}
		if _, ok := d.emptied.Get(f); ok != (f.emptied != 0) {
			t.Errorf("floor of %q, emptied at %d, is among the emptied: %v", f.ns, f.emptied, ok)
		}
		return true
	})
	if d.bytes != bytes || d.sum != sum || d.due.Len() != int(deadlines) {
		t.Errorf("bytes %d, sum %x, %d deadlines; counted %d, %x, %d", d.bytes, d.sum, d.due.Len(), bytes, sum, deadlines)
	}
	if got := d.history.base + uint64(d.history.queue.len()); got != d.revision {
		t.Errorf("history ends at revision %d of %d", got, d.revision)
	}
	if d.records.byKey.Len() != d.records.queue.len() {
		t.Errorf("%d records by key and %d by age", d.records.byKey.Len(), d.records.queue.len())
	}
	if !slices.IsSortedFunc(d.sessions, func(a, b *session) int { return int(a.number) - int(b.number) }) {
		t.Error("sessions are not in order")
	}
}

var seed = flag.Uint64("seed", 0, "run the property tests with this seed alone")

// eachSeed runs a property n times, each with its own source of randomness;
// once with -short.
func eachSeed(t *testing.T, n int, property func(*testing.T, *rand.Rand)) {
	t.Helper()
	if testing.Short() {
		n = 1
	}
	seeds := make([]uint64, n)
	for i := range seeds {
		seeds[i] = rand.Uint64()
	}
	if *seed != 0 {
		seeds = []uint64{*seed}
	}
	for _, s := range seeds {
		t.Run(fmt.Sprint("seed=", s), func(t *testing.T) {
			defer func() {
				if t.Failed() {
					t.Logf("replay: go test ./fsm -run '^%s$' -seed %d", strings.Split(t.Name(), "/")[0], s)
				}
			}()
			property(t, rand.New(rand.NewPCG(s, s)))
		})
	}
}
