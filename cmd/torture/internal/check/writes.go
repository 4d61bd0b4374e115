package check

import (
	"github.com/stateraft/stateraft/cmd/torture/internal/history"
)

// ledger compares the changes of a workflow with the writes that made them.
// Every value is written once, so it tells its write.
type ledger struct {
	*truth
	v         *Verdict
	sets      map[string][]history.Event // by value
	questions []question
}

// compareWrites checks that each write which was acknowledged is among the
// changes, once, whole and as its answer says, none that was refused, and that
// every change is somebody's. It returns what is to be asked of the states.
func (t *truth) compareWrites(v *Verdict, ops []history.Op) []question {
	l := &ledger{truth: t, v: v, sets: map[string][]history.Event{}}
	for _, e := range t.changes {
		if e.Type == "set" {
			l.sets[e.New] = append(l.sets[e.New], e)
		}
	}
	for _, op := range ops {
		switch op.Kind {
		case history.Set, history.SetAt:
			l.set(op)
		case history.Atomic:
			l.atomic(op)
		case history.Delete:
			l.delete(op)
		}
	}
	for value, of := range l.sets {
		v.Fail("%s: %s at revision %d, which nobody wrote", t.workflow, value, of[0].Revision)
	}
	l.countDeletes(ops)
	l.compareExpiries(ops)
	return l.questions
}

// compareExpiries checks that only keys end by themselves whose last write gave
// them a TTL. Steps of atomic writes give none.
func (l *ledger) compareExpiries(ops []history.Op) {
	lasting := map[string]history.Op{} // by value
	for _, op := range ops {
		if op.TTL == 0 && (op.Kind == history.Set || op.Kind == history.SetAt) {
			lasting[op.Value] = op
		}
		for _, step := range op.Steps {
			if step.Kind == history.Set {
				lasting[step.Value] = op
			}
		}
	}
	for _, e := range l.changes {
		if e.Type != "expire" {
			continue
		}
		l.alone(e, "the end of "+e.Key)
		if op, known := lasting[e.Old]; known {
			l.v.Fail("%s/%s ended by itself at revision %d, and the %s had given it no TTL", l.workflow, e.Key, e.Revision, describe(op))
		}
	}
}

// find returns the change that wrote a value, if the write may be found among
// the changes and must be if it was acknowledged.
func (l *ledger) find(op history.Op, value string) (history.Event, bool) {
	events := l.sets[value]
	delete(l.sets, value)
	acked := op.Outcome == history.OK && !op.Conflict
	switch {
	case len(events) > 1:
		l.v.Fail("told %d times: the %s", len(events), describe(op))
	case len(events) == 0 && acked && !l.hidden(op.Revision):
		l.v.Fail("not told: the %s, which got version %d", describe(op), op.Version)
	case len(events) == 1 && op.Conflict:
		l.v.Fail("told although its condition did not hold: the %s", describe(op))
	case len(events) == 1 && op.Outcome == history.Refused:
		l.v.Fail("told although it was refused (%s): the %s", op.Error, describe(op))
	case len(events) == 1:
		return events[0], true
	}
	return history.Event{}, false
}

func (l *ledger) set(op history.Op) {
	e, found := l.find(op, op.Value)
	if !found {
		return
	}
	if op.Outcome == history.OK && (e.Version != op.Version || op.Revision > 0 && op.Idempotency == "" && e.Revision != op.Revision) {
		l.v.Fail("told with version %d at revision %d: the %s, which got version %d at revision %d", e.Version, e.Revision, describe(op), op.Version, op.Revision)
	}
	l.alone(e, "the "+describe(op))
	l.ask(e.Revision-1, func(s *state) { s.mustHold(op, e.Revision) })
}

// alone checks that a change is not told as part of an atomic write.
func (l *ledger) alone(e history.Event, what string) {
	if e.First != 0 || e.Last != 0 {
		l.v.Fail("revision %d, %s, is told as of an atomic write from %d to %d", e.Revision, what, e.First, e.Last)
	}
}

func (l *ledger) ask(at uint64, ask func(*state)) {
	l.questions = append(l.questions, question{at, ask})
}

func (s *state) mustHold(op history.Op, revision uint64) {
	if now := s.version(op.Key); !op.Holds(now) {
		s.v.Fail("the %s happened at revision %d, when the key was at version %d", describe(op), revision, now)
	}
}

// delete checks one that says at which revision it happened.
func (l *ledger) delete(op history.Op) {
	if op.Outcome != history.OK || !op.Found || op.Revision == 0 || l.hidden(op.Revision) {
		return
	}
	i := l.behind(op.Revision - 1)
	if i == len(l.changes) || l.changes[i].Revision != op.Revision || l.changes[i].Type != "delete" || l.changes[i].Key != op.Key {
		l.v.Fail("not told as revision %d: the %s", op.Revision, describe(op))
		return
	}
	l.alone(l.changes[i], "the "+describe(op))
	l.ask(op.Revision-1, func(s *state) { s.mustHold(op, op.Revision) })
}

// countDeletes checks that the keys were deleted as often as it was
// acknowledged, and at most once more for each delete of unknown outcome.
func (l *ledger) countDeletes(ops []history.Op) {
	least, most, told := map[string]int{}, map[string]int{}, map[string]int{}
	count := func(op history.Op, key string, found bool) {
		switch {
		case op.Outcome == history.Refused || op.Conflict:
		case op.Outcome == history.Unknown || op.Agent:
			most[key]++
		case found && l.hidden(op.Revision):
			most[key]++
		case found:
			least[key]++
			most[key]++
		}
	}
	for _, op := range ops {
		if op.Kind == history.Delete {
			count(op, op.Key, op.Found)
		}
		for _, step := range op.Steps {
			if step.Kind == history.Delete {
				count(op, step.Key, step.Found)
			}
		}
	}
	for _, e := range l.changes {
		if e.Type == "delete" {
			told[e.Key]++
		}
	}
	for key := range union(least, told) {
		if told[key] < least[key] || told[key] > most[key] {
			l.v.Fail("%s: %d deletes of %s, want %d acknowledged and at most %d more", l.workflow, told[key], key, least[key], most[key]-least[key])
		}
	}
}

// atomic checks a write of several keys: all of its changes are there, one
// right behind the other, or none.
func (l *ledger) atomic(op history.Op) {
	var first history.Event
	found, sets := 0, 0
	for _, step := range op.Steps {
		if step.Kind != history.Set {
			continue
		}
		sets++
		if e, ok := l.find(op, step.Value); ok {
			found++
			if first.Revision == 0 || e.Revision < first.Revision {
				first = e
			}
		}
	}
	switch {
	case found == 0:
		if op.Outcome == history.OK && !op.Conflict {
			l.compareUnchanged(op)
		}
		return
	case first.First == 0 || first.First > first.Revision || first.Last < first.Revision:
		l.v.Fail("revision %d of the %s is told as of the atomic write from %d to %d", first.Revision, describe(op), first.First, first.Last)
		return
	case l.anyHidden(first.First, first.Last):
		return // a reader left in the middle of it, and the history moved on
	case found < sets:
		l.v.Fail("%d of %d sets are told of the %s", found, sets, describe(op))
		return
	}
	l.compareSpan(op, first.First, first.Last)
}

// compareUnchanged checks an acknowledged write that has only checks and
// deletes of absent keys.
func (l *ledger) compareUnchanged(op history.Op) {
	for _, step := range op.Steps {
		if step.Kind == history.Set || step.Found {
			return // told by find, or counted
		}
	}
	l.ask(op.Revision, func(s *state) { s.mustHoldAll(op, op.Revision) })
}

// compareSpan compares the revisions of an atomic write with its steps.
func (l *ledger) compareSpan(op history.Op, first, last uint64) {
	if op.Outcome == history.OK && op.Revision != last {
		l.v.Fail("the %s was answered as of revision %d, and is told from %d to %d", describe(op), op.Revision, first, last)
	}
	revision, i := first, l.behind(first-1)
	for _, step := range op.Steps {
		var e history.Event
		if i < len(l.changes) && l.changes[i].Revision == revision && revision <= last {
			e = l.changes[i]
		}
		isSet := step.Kind == history.Set
		isDelete := step.Kind == history.Delete && e.Type == "delete" && e.Key == step.Key
		switch {
		case isSet && (e.Type != "set" || e.Key != step.Key || e.New != step.Value):
			l.v.Fail("revision %d is not the set of %s of the %s", revision, step.Key, describe(op))
			return
		case op.Outcome == history.OK && step.Kind == history.Delete && step.Found != isDelete:
			l.v.Fail("revision %d is a delete of %s (%t), which the %s answered as %t", revision, step.Key, isDelete, describe(op), step.Found)
			return
		case !isSet && !isDelete:
			continue
		case e.First != first || e.Last != last:
			l.v.Fail("revision %d of the %s is told as of the atomic write from %d to %d, want %d to %d", revision, describe(op), e.First, e.Last, first, last)
		case op.Outcome == history.OK && e.Version != step.Version:
			l.v.Fail("%s has version %d at revision %d, and the %s answered %d", step.Key, e.Version, revision, describe(op), step.Version)
		}
		revision, i = revision+1, i+1
	}
	if revision != last+1 {
		l.v.Fail("the %s ends at revision %d, and is told as ending at %d", describe(op), revision-1, last)
	}
	l.ask(first-1, func(s *state) { s.mustHoldAll(op, first) })
}

func (s *state) mustHoldAll(op history.Op, revision uint64) {
	for _, step := range op.Steps {
		now := s.version(step.Key)
		if step.Expected != nil && *step.Expected != now {
			s.v.Fail("the %s happened at revision %d, when %s was at version %d, and not %d", describe(op), revision, step.Key, now, *step.Expected)
		}
		if step.Kind == history.Get && op.Outcome == history.OK && step.Version != now {
			s.v.Fail("the %s found %s at version %d, and it was at %d", describe(op), step.Key, step.Version, now)
		}
	}
}
