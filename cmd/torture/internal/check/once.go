package check

import (
	"cmp"
	"encoding/json"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
)

// Once checks writes that are sent more than once, with an idempotency key, at
// different nodes: all copies get the answer of the first, and there is one
// effect. In registers, which are each alone in a workflow, the copies of a write
// are one operation, between the first call and the first answer, and the
// register must be linearizable. Other keys are only ever set so: no two
// writes share a version, and a key has as many versions as writes.
func Once(h *history.History) *Verdict {
	v := &Verdict{Name: "exactly once", Promise: "a write sent again with its idempotency key has one effect and one answer"}
	ops := h.Of("once")
	var registers []history.Op
	var counted []write
	for _, w := range writesOf(ops) {
		v.Checked += w.copies
		w.compareCopies(v)
		if isRegister(w.op) {
			registers = append(registers, asRegister(w.op))
		} else {
			counted = append(counted, w)
		}
	}
	for _, op := range ops {
		if op.Idempotency == "" && isRegister(op) {
			registers = append(registers, op)
		}
	}
	linearizable(registers, v)
	countWrites(h, v, counted)
	return v
}

// onceRegister is what the names of workflows begin with that are registers.
const onceRegister = "once r"

func isRegister(op history.Op) bool { return strings.HasPrefix(op.Workflow, onceRegister) }

// write is all copies of one that may have had an effect.
type write struct {
	op      history.Op   // as if they were one
	answers []history.Op // of the copies that were answered, the first first
	copies  int
}

// writesOf puts the copies of each write together.
func writesOf(ops []history.Op) []write {
	type id struct{ workflow, idempotency string }
	byID := map[id][]history.Op{}
	for _, op := range ops {
		if of := (id{op.Workflow, op.Idempotency}); op.Idempotency != "" && op.Outcome != history.Refused {
			byID[of] = append(byID[of], op)
		}
	}
	var writes []write
	for _, copies := range byID {
		writes = append(writes, merge(copies))
	}
	slices.SortFunc(writes, func(a, b write) int { return cmp.Compare(a.op.Call, b.op.Call) })
	return writes
}

// merge makes one operation of copies: it was under way from the first call until
// the first answer, which nobody has if none was answered.
func merge(copies []history.Op) write {
	w := write{op: copies[0], copies: len(copies)}
	begun := time.Duration(math.MaxInt64)
	for _, op := range copies {
		begun = min(begun, op.Call)
		if op.Outcome == history.OK {
			w.answers = append(w.answers, op)
		}
	}
	slices.SortFunc(w.answers, func(a, b history.Op) int { return cmp.Compare(a.Return, b.Return) })
	if len(w.answers) > 0 {
		w.op = w.answers[0]
	}
	w.op.Call = begun
	return w
}

// answer is all that an answer says.
type answer struct {
	Found, Conflict   bool
	Failed            int
	Version, Revision uint64
	Present           string
	Steps             []history.Step
}

func (a answer) String() string {
	text, err := json.Marshal(a)
	if err != nil {
		panic(err) // it is numbers and strings
	}
	return string(text)
}

func answerOf(op history.Op) answer {
	return answer{op.Found, op.Conflict, op.Failed, op.Version, op.Revision, op.Present, op.Steps}
}

// compareCopies compares what the copies were answered. The Go client does not
// tell the revision.
func (w write) compareCopies(v *Verdict) {
	if len(w.answers) == 0 {
		return
	}
	first := answerOf(w.answers[0])
	for _, op := range w.answers[1:] {
		again := answerOf(op)
		first.Revision = cmp.Or(first.Revision, again.Revision)
		again.Revision = cmp.Or(again.Revision, first.Revision)
		if !reflect.DeepEqual(first, again) {
			v.Fail("the %s, a copy, was answered %v, an earlier one %v", describe(op), again, first)
		}
	}
}

// asRegister makes an atomic write of one step the write that it is.
func asRegister(op history.Op) history.Op {
	if op.Kind != history.Atomic {
		return op
	}
	step := op.Steps[0]
	op.Kind, op.Key, op.Value, op.Found, op.Steps = step.Kind, step.Key, step.Value, step.Found, nil
	if step.Expected != nil {
		op.If, op.Expected = history.IfVersion, *step.Expected
	}
	if !op.Conflict {
		op.Version = step.Version
	}
	return op
}

// countWrites checks keys that are only ever set.
func countWrites(h *history.History, v *Verdict, writes []write) {
	bySlot := map[slot][]write{}
	for _, w := range writes {
		if w.op.Conflict {
			continue // it is answered, and had no effect
		}
		for _, set := range setsOf(w.op) {
			s := slotOf(set)
			bySlot[s] = append(bySlot[s], write{op: set})
		}
	}
	for s, of := range bySlot {
		acked := distinct(v, s, of)
		forEachFinal(h, v, s, func(node string, e history.Entry) {
			if n := int(e.Version); n < acked || n > len(of) {
				v.Fail("%s has had %d changes on %s in the end, want one for each of %d acknowledged writes and at most %d more", s, n, node, acked, len(of)-acked)
			}
		})
	}
}

// setsOf returns the sets of single keys that a write is.
func setsOf(op history.Op) []history.Op {
	if op.Kind != history.Atomic {
		return []history.Op{op}
	}
	var sets []history.Op
	for _, step := range op.Steps {
		set := op
		set.Key, set.Version = step.Key, step.Version
		sets = append(sets, set)
	}
	return sets
}

// distinct counts the acknowledged writes of one key.
func distinct(v *Verdict, s slot, writes []write) (acked int) {
	by := map[uint64]string{}
	for _, w := range writes {
		if w.op.Outcome != history.OK {
			continue
		}
		acked++
		if other, taken := by[w.op.Version]; taken {
			v.Fail("version %d of %s was given to both %s and %s", w.op.Version, s, other, w.op.Idempotency)
		}
		by[w.op.Version] = w.op.Idempotency
	}
	return acked
}
