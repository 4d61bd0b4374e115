package check

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
)

// state is a workflow as its changes made it.
type state struct {
	v        *Verdict
	workflow string
	keys     map[string]history.Event // the last set of each present key
	floor    uint64                   // the highest version that an end took
	unsure   bool                     // the floor may be higher
}

func (s *state) version(key string) uint64 { return s.keys[key].Version }

// take checks that e is a change that the state allows, and makes it.
func (s *state) take(e history.Event) {
	before, present := s.keys[e.Key]
	want, old := s.floor+1, "null"
	if present {
		want, old = before.Version+1, before.New
	}
	if e.Version != want && (present || !s.unsure || e.Version < want) {
		s.v.Fail("%s of %s/%s at revision %d has version %d, want %d", e.Type, s.workflow, e.Key, e.Revision, e.Version, want)
	}
	if e.Old != old {
		s.v.Fail("%s of %s/%s at revision %d replaces %s, want %s", e.Type, s.workflow, e.Key, e.Revision, e.Old, old)
	}
	if e.Type == "set" {
		s.keys[e.Key] = e
		return
	}
	if !present {
		s.v.Fail("%s of %s/%s at revision %d, which was absent", e.Type, s.workflow, e.Key, e.Revision)
	}
	delete(s.keys, e.Key)
	s.floor = max(s.floor, e.Version)
}

// restart goes on from what a subscriber was told of all keys.
func (s *state) restart(keys map[string]history.Event) {
	s.keys, s.unsure = map[string]history.Event{}, true
	maps.Copy(s.keys, keys)
}

// question is about the state of a workflow at a revision.
type question struct {
	at  uint64
	ask func(*state)
}

// replay goes through all states of the workflow and asks each question at its
// own. It returns how many are of states that nobody knows, and were not asked.
func (t *truth) replay(v *Verdict, questions []question) (skipped int) {
	slices.SortStableFunc(questions, func(a, b question) int { return cmp.Compare(a.at, b.at) })
	s := &state{v: v, workflow: t.workflow, keys: map[string]history.Event{}}
	gaps := t.gaps()
	isUnknown := func(revision uint64) bool {
		return slices.ContainsFunc(gaps, func(g gap) bool { return g.after < revision && revision < g.upTo })
	}
	changes, ahead := t.changes, gaps
	step := func(upTo uint64, take func(history.Event)) {
		for len(changes) > 0 && changes[0].Revision <= upTo {
			take(changes[0])
			changes = changes[1:]
		}
	}
	advance := func(upTo uint64) {
		for len(ahead) > 0 && ahead[0].upTo <= upTo {
			step(ahead[0].after, s.take)
			step(ahead[0].upTo, func(history.Event) {})
			s.restart(ahead[0].keys)
			ahead = ahead[1:]
		}
		step(upTo, s.take)
	}
	for _, q := range questions {
		if isUnknown(q.at) {
			skipped++
			continue
		}
		advance(q.at)
		q.ask(s)
	}
	advance(math.MaxUint64)
	return skipped
}

// gap is states that nobody knows: those above after, below upTo, which has keys.
type gap struct {
	hole
	keys map[string]history.Event
}

// gaps returns the unknown states, in order. They begin with a hole, and go on
// behind it, where changes are known, until somebody was told of all keys: what
// else such a change met is unknown.
func (t *truth) gaps() (gaps []gap) {
	tellings := slices.SortedStableFunc(slices.Values(t.tellings), func(a, b telling) int { return cmp.Compare(a.at, b.at) })
	upTo := uint64(0) // of the last gap
	for _, h := range t.holes {
		if h.upTo <= upTo {
			continue
		}
		g := gap{hole: hole{max(h.after, upTo), math.MaxUint64}}
		if i := slices.IndexFunc(tellings, func(told telling) bool { return told.at >= h.upTo }); i >= 0 {
			g.upTo, g.keys = tellings[i].at, tellings[i].keys
		}
		gaps, upTo = append(gaps, g), g.upTo
	}
	return gaps
}

// compareTellings asks whether all keys were told as they were.
func compareTellings(tellings []telling) []question {
	var questions []question
	for _, told := range tellings {
		questions = append(questions, question{told.at, func(s *state) {
			for key := range union(told.keys, s.keys) {
				got, want := told.keys[key], s.keys[key]
				if got.New != want.New || got.Version != want.Version {
					s.v.Fail("%s: told %s/%s as of revision %d as %q at version %d, want %q at %d", told.by, s.workflow, key, told.at, got.New, got.Version, want.New, want.Version)
				}
			}
		}})
	}
	return questions
}

func union[V any](a, b map[string]V) map[string]bool {
	keys := map[string]bool{}
	for k := range a {
		keys[k] = true
	}
	for k := range b {
		keys[k] = true
	}
	return keys
}

// compareReads asks whether gets, lists and refusals show the states that they
// say they are of.
func compareReads(ops []history.Op) []question {
	var questions []question
	for _, op := range ops {
		if !op.Dated() {
			continue
		}
		switch {
		case op.Kind == history.Get:
			questions = append(questions, question{op.Revision, func(s *state) { s.compareGet(op) }})
		case op.Kind == history.List:
			questions = append(questions, question{op.Revision, func(s *state) { s.compareList(op) }})
		case op.Conflict && !op.Current:
			questions = append(questions, question{op.Revision, func(s *state) { s.compareConflict(op) }})
		}
	}
	return questions
}

func (s *state) compareGet(op history.Op) {
	want, found := s.keys[op.Key]
	if op.Found != found || op.Value != want.New || op.Version != want.Version {
		s.v.Fail("the %s found %q at version %d, and at its revision %d it was %q at %d", describe(op), op.Value, op.Version, op.Revision, want.New, want.Version)
	}
}

func (s *state) compareConflict(op history.Op) {
	if op.Kind != history.Atomic {
		if now := s.version(op.Key); op.Holds(now) || op.Version != now {
			s.v.Fail("the %s was refused for version %d, and at its revision %d it was at %d", describe(op), op.Version, op.Revision, now)
		}
		return
	}
	for i, step := range op.Steps {
		now := s.version(step.Key)
		if step.Expected == nil || *step.Expected == now {
			continue
		}
		if op.Failed != i || op.Version != now {
			s.v.Fail("the %s was refused for step %d at version %d, and at its revision %d the first to fail was step %d at %d", describe(op), op.Failed, op.Version, op.Revision, i, now)
		}
		return
	}
	s.v.Fail("the %s was refused, and at its revision %d all its conditions held", describe(op), op.Revision)
}

// compareList compares a page with the keys that the query selects.
func (s *state) compareList(op history.Op) {
	want, next := s.page(op.Query)
	if op.Next != next {
		s.v.Fail("the %s of %+v goes on behind %q, and at its revision %d it should behind %q", describe(op), op.Query, op.Next, op.Revision, next)
	}
	for i := range max(len(want), len(op.Entries)) {
		var got history.Entry
		var e history.Event
		if i < len(op.Entries) {
			got = op.Entries[i]
		}
		if i < len(want) {
			e = want[i]
		}
		if got.Key != e.Key || got.Value != e.New || got.Version != e.Version {
			s.v.Fail("the %s of %+v has %s = %q at version %d in place %d, and at its revision %d there was %s = %q at %d", describe(op), op.Query, got.Key, got.Value, got.Version, i, op.Revision, e.Key, e.New, e.Version)
			return
		}
	}
}

func (s *state) page(q history.Query) (page []history.Event, next string) {
	keys := slices.Sorted(maps.Keys(s.keys))
	if q.Reverse {
		slices.Reverse(keys)
	}
	for _, key := range keys {
		isBehind := q.After == "" || key > q.After != q.Reverse && key != q.After
		if !isBehind || !strings.HasPrefix(key, q.Prefix) {
			continue
		}
		if q.Limit > 0 && len(page) == q.Limit {
			return page, page[len(page)-1].Key
		}
		page = append(page, s.keys[key])
	}
	return page, ""
}
