package check_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/check"
	"github.com/stateraft/stateraft/cmd/torture/internal/history"
)

// change is a change of a key of workflow w.
func change(kind, key string, revision, version uint64, old, value string) history.Event {
	return history.Event{Workflow: "w", Scope: "w", Type: kind, Key: key, Revision: revision, Version: version, Old: old, New: value}
}

// in makes an event part of an atomic write.
func in(first, last uint64, e history.Event) history.Event {
	e.First, e.Last = first, last
	return e
}

// told gives events to a subscriber.
func told(name string, events ...history.Event) []history.Event {
	all := slices.Clone(events)
	for i := range all {
		all[i].Subscriber = name
	}
	return all
}

// named is what a stream says besides changes.
func named(kind string, revision uint64) history.Event {
	return history.Event{Workflow: "w", Type: kind, Revision: revision}
}

func snapshot(key string, version uint64, value string) history.Event {
	return history.Event{Workflow: "w", Scope: "w", Type: "snapshot", Key: key, Version: version, New: value}
}

func v(version uint64) *uint64 { return &version }

func atomic(revision uint64, steps ...history.Step) history.Op {
	return history.Op{Kind: history.Atomic, Workflow: "w", Revision: revision, Steps: steps}
}

func list(revision uint64, q history.Query, next string, entries ...history.Entry) history.Op {
	return history.Op{Kind: history.List, Workflow: "w", Revision: revision, Query: q, Next: next, Entries: entries}
}

func has(key, value string, version uint64) history.Entry {
	return history.Entry{Workflow: "w", Key: key, Value: value, Version: version}
}

// followed makes a history of workflow w of which subscriber s was told all.
func followed(workload string, ops []history.Op, events []history.Event, more map[string]history.Subscriber) *history.History {
	h := &history.History{Ops: slices.Clone(ops), Events: events, Subscribers: map[string]history.Subscriber{"s": {Follows: true}}, Reach: 10}
	for name, s := range more {
		h.Subscribers[name] = s
	}
	for name, s := range h.Subscribers {
		s.Workload, s.Workflow = workload, "w"
		h.Subscribers[name] = s
	}
	for i := range h.Ops {
		h.Ops[i].Workload = workload
	}
	return h
}

func judge(t *testing.T, v *check.Verdict, wrong bool) {
	t.Helper()
	if v.OK() == wrong {
		t.Errorf("%d violations: %q", v.Violations, v.Told)
	}
	if v.Checked == 0 {
		t.Error("nothing was looked at")
	}
}

func TestAtomic(t *testing.T) {
	events := told("s",
		in(10, 11, change("set", "a", 10, 1, "null", `"1"`)), in(10, 11, change("set", "b", 11, 1, "null", `"2"`)),
		in(15, 16, change("delete", "a", 15, 2, `"1"`, "null")), in(15, 16, change("set", "c", 16, 3, "null", `"3"`)),
	)
	first := at(0, 1, atomic(11, history.Step{Kind: history.Set, Key: "a", Value: `"1"`, Version: 1, Expected: v(0)}, history.Step{Kind: history.Set, Key: "b", Value: `"2"`, Version: 1}))
	second := at(10, 11, atomic(16, history.Step{Kind: history.Delete, Key: "a", Version: 2, Found: true}, history.Step{Kind: history.Get, Key: "b", Version: 1, Expected: v(1)}, history.Step{Kind: history.Set, Key: "c", Value: `"3"`, Version: 3}))
	both := []history.Op{first, second}
	and := func(ops ...history.Op) []history.Op { return append(slices.Clone(both), ops...) }
	changed := func(i int, e history.Event) []history.Event {
		all := slices.Clone(events)
		e.Subscriber = "s"
		all[i] = e
		return all
	}
	lost := first
	lost.Outcome = history.Unknown
	refusal := func(failed int, version uint64) history.Op {
		op := at(20, 21, atomic(16, history.Step{Kind: history.Get, Key: "b", Expected: v(1)}, history.Step{Kind: history.Set, Key: "c", Value: `"9"`, Expected: v(1)}))
		op.Conflict, op.Failed, op.Version = true, failed, version
		return op
	}
	answered := func(change func(*history.Step)) history.Op {
		op := second
		op.Steps = slices.Clone(op.Steps)
		for i := range op.Steps {
			change(&op.Steps[i])
		}
		return op
	}
	for _, tt := range []struct {
		name   string
		ops    []history.Op
		events []history.Event
		wrong  bool
	}{
		{"whole", both, events, false},
		{"unknown, and it happened", []history.Op{lost, second}, events, false},
		{"unknown, and it did not", []history.Op{at(0, 1, unknown(first))}, nil, false},
		{"half of it", both, append(slices.Clone(events[:1]), events[2:]...), true},
		{"unknown, and half of it", []history.Op{lost, second}, append(slices.Clone(events[:1]), events[2:]...), true},
		{"none of it", both, events[2:], true},
		{"not told as one", both, changed(1, change("set", "b", 11, 1, "null", `"2"`)), true},
		{"told with another begin", both, changed(1, in(11, 11, change("set", "b", 11, 1, "null", `"2"`))), true},
		{"told with another end", both, changed(0, in(10, 12, change("set", "a", 10, 1, "null", `"1"`))), true},
		{"another's change in between", both, append(slices.Clone(events[:1]), told("s", change("set", "x", 11, 1, "null", `"x"`), in(10, 12, change("set", "b", 12, 1, "null", `"2"`)))...), true},
		{"a condition that did not hold", []history.Op{first, answered(func(s *history.Step) {
			if s.Kind == history.Get {
				s.Expected = v(7)
			}
		})}, events, true},
		{"a check that found another version", []history.Op{first, answered(func(s *history.Step) {
			if s.Kind == history.Get {
				s.Version = 7
			}
		})}, events, true},
		{"a delete that it did not answer", []history.Op{first, answered(func(s *history.Step) { s.Found = false })}, events, true},
		{"another version than it answered", []history.Op{first, answered(func(s *history.Step) {
			if s.Kind == history.Set {
				s.Version = 4
			}
		})}, events, true},
		{"a list", and(at(4, 5, list(12, history.Query{}, "", has("a", `"1"`, 1), has("b", `"2"`, 1)))), events, false},
		{"a list of a prefix", and(at(4, 5, list(12, history.Query{Prefix: "b"}, "", has("b", `"2"`, 1)))), events, false},
		{"a list of half a write", and(at(4, 5, list(12, history.Query{}, "", has("a", `"1"`, 1)))), events, true},
		{"a list in the middle of a write", and(at(4, 5, list(15, history.Query{}, "", has("a", `"1"`, 1), has("b", `"2"`, 1)))), events, true},
		{"a list with a key too many", and(at(12, 13, list(16, history.Query{}, "", has("a", `"1"`, 1), has("b", `"2"`, 1), has("c", `"3"`, 3)))), events, true},
		{"a list of an old version", and(at(12, 13, list(16, history.Query{}, "", has("b", `"2"`, 1), has("c", `"3"`, 1)))), events, true},
		{"a get", and(at(12, 13, token(0, 16, on("c", get(`"3"`, 3))))), events, false},
		{"a get of the past", and(at(12, 13, token(0, 16, on("a", get(`"1"`, 1))))), events, true},
		{"a refusal", and(refusal(1, 3)), events, false},
		{"a refusal for another step", and(refusal(0, 1)), events, true},
		{"a refusal for another version", and(refusal(1, 2)), events, true},
		{"a list of no revision", and(at(4, 5, onNode(list(0, history.Query{}, "", has("a", `"1"`, 1), has("b", `"2"`, 1))))), events, true},
		{"a get of no revision", and(at(12, 13, onNode(on("c", get(`"3"`, 3))))), events, true},
		{"a refusal of no revision", and(onNode(unrevised(refusal(1, 3)))), events, true},
		{"a list from before all changes", and(at(0, 1, onNode(list(0, history.Query{}, "")))), events, false},
		{"checks alone", and(at(12, 13, atomic(16, history.Step{Kind: history.Get, Key: "b", Version: 1, Expected: v(1)}, history.Step{Kind: history.Get, Key: "a", Expected: v(0)}))), events, false},
		{"checks alone, of the past", and(at(12, 13, atomic(16, history.Step{Kind: history.Get, Key: "a", Version: 1, Expected: v(1)}))), events, true},
		{"a refusal that happened", []history.Op{at(0, 1, no(7, first)), second}, events, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			judge(t, check.Atomic(followed("atomic", tt.ops, tt.events, nil)), tt.wrong)
		})
	}
}

// Ensure an atomic write of which somebody was told a part, and all keys later, may
// have been whole.
func TestAtomicInHole(t *testing.T) {
	sets := at(0, 1, atomic(11, history.Step{Kind: history.Set, Key: "a", Value: `"1"`, Version: 1}, history.Step{Kind: history.Set, Key: "b", Value: `"2"`, Version: 1}))
	mixed := at(2, 3, atomic(15, history.Step{Kind: history.Set, Key: "a", Value: `"3"`, Version: 2}, history.Step{Kind: history.Delete, Key: "b", Version: 2, Found: true}))
	last := at(40, 41, atomic(50, history.Step{Kind: history.Set, Key: "a", Value: `"4"`, Version: 3}))
	a, b := in(10, 11, change("set", "a", 10, 1, "null", `"1"`)), in(10, 11, change("set", "b", 11, 1, "null", `"2"`))
	again := in(14, 15, change("set", "a", 14, 2, `"1"`, `"3"`))
	moved := []history.Event{named("resync", 0), snapshot("a", 2, `"3"`), named("synced", 45), in(50, 50, change("set", "a", 50, 3, `"3"`, `"4"`))}
	for _, tt := range []struct {
		name   string
		events []history.Event
		wrong  bool
	}{
		{"left behind the first set", append([]history.Event{a}, moved...), false},
		{"left before the delete", append([]history.Event{a, b, again}, moved...), false},
		{"left behind the first set, told as none", append([]history.Event{change("set", "a", 10, 1, "null", `"1"`)}, moved...), true},
		{"half of it before", append([]history.Event{a, again}, moved...), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			judge(t, check.Atomic(followed("atomic", []history.Op{sets, mixed, last}, told("s", tt.events...), nil)), tt.wrong)
		})
	}
}

func unrevised(op history.Op) history.Op {
	op.Revision = 0
	return op
}

// Ensure what nobody was told shows in what is left in the end.
func TestStreamEnd(t *testing.T) {
	ops := []history.Op{at(0, 1, token(0, 10, on("a", set("1", 1)))), at(2, 3, token(0, 11, lasting(ms, on("b", set("2", 1)))))}
	events := told("s", change("set", "a", 10, 1, "null", "1"), change("set", "b", 11, 1, "null", "2"))
	expired := append(slices.Clone(events), told("s", change("expire", "b", 12, 2, "2", "null"))...)
	a, b := has("a", "1", 1), has("b", "2", 1)
	for _, tt := range []struct {
		name   string
		events []history.Event
		left   []history.Entry
		wrong  bool
	}{
		{"all there", events, []history.Entry{a, b}, false},
		{"one ended, and all were told", expired, []history.Entry{a}, false},
		{"one ended, and nobody was told", events, []history.Entry{a}, true},
		{"one told to have ended, and still there", expired, []history.Entry{a, b}, true},
		{"another value", events, []history.Entry{a, has("b", "3", 1)}, true},
		{"another version", events, []history.Entry{a, has("b", "2", 2)}, true},
		{"one more", events, []history.Entry{a, b, has("c", "3", 1)}, true},
		{"another workflow's", events, []history.Entry{a, b, {Workflow: "x", Key: "c", Value: "3", Version: 1}}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := followed("stream", ops, tt.events, nil)
			h.Final = map[string][]history.Entry{"n1": tt.left}
			judge(t, check.Stream(h), tt.wrong)
		})
	}
}

// Ensure it is told how many answers could not be judged.
func TestSkippedIsTold(t *testing.T) {
	ops := []history.Op{at(0, 1, token(0, 10, set("1", 1))), at(2, 3, token(0, 25, get("2", 2)))}
	events := told("s", change("set", "k", 10, 1, "null", "1"), named("resync", 0), snapshot("k", 3, "3"), named("synced", 45), change("set", "k", 50, 4, "3", "4"))
	v := check.Stream(followed("stream", append(ops, at(4, 5, token(0, 50, set("4", 4)))), events, nil))
	if !slices.Contains(v.Notes, "1 answers are of states that nobody was told of") {
		t.Errorf("told %q", v.Notes)
	}
}

func TestPages(t *testing.T) {
	events := told("s",
		change("set", "1", 10, 1, "null", `"a"`), change("set", "2", 11, 1, "null", `"b"`), change("set", "3", 12, 1, "null", `"c"`),
		change("delete", "2", 15, 2, `"b"`, "null"), change("set", "0", 16, 3, "null", `"d"`),
	)
	two := history.Query{Limit: 2}
	behind := func(key string) history.Query { return history.Query{Limit: 2, After: key} }
	for _, tt := range []struct {
		name  string
		page  history.Op
		wrong bool
	}{
		{"first", list(12, two, "2", has("1", `"a"`, 1), has("2", `"b"`, 1)), false},
		{"last", list(12, behind("2"), "", has("3", `"c"`, 1)), false},
		{"behind a key that is gone", list(16, behind("2"), "", has("3", `"c"`, 1)), false},
		{"reverse", list(16, history.Query{Limit: 2, Reverse: true}, "1", has("3", `"c"`, 1), has("1", `"a"`, 1)), false},
		{"reverse behind", list(16, history.Query{Limit: 2, Reverse: true, After: "1"}, "", has("0", `"d"`, 3)), false},
		{"no more told", list(12, two, "", has("1", `"a"`, 1), has("2", `"b"`, 1)), true},
		{"more told than there is", list(12, behind("1"), "3", has("2", `"b"`, 1), has("3", `"c"`, 1)), true},
		{"one skipped", list(12, two, "3", has("1", `"a"`, 1), has("3", `"c"`, 1)), true},
		{"one twice", list(12, behind("2"), "", has("2", `"b"`, 1), has("3", `"c"`, 1)), true},
		{"a key that is gone", list(15, behind("1"), "", has("2", `"b"`, 1), has("3", `"c"`, 1)), true},
		{"a page of two states", list(16, history.Query{}, "", has("1", `"a"`, 1), has("3", `"c"`, 1)), true},
		{"longer than asked for", list(12, two, "3", has("1", `"a"`, 1), has("2", `"b"`, 1), has("3", `"c"`, 1)), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ops := []history.Op{
				at(0, 1, token(0, 10, on("1", set(`"a"`, 1)))), at(2, 3, token(0, 11, on("2", set(`"b"`, 1)))), at(4, 5, token(0, 12, on("3", set(`"c"`, 1)))),
				at(6, 7, token(0, 15, on("2", del(true)))), at(8, 9, token(0, 16, on("0", set(`"d"`, 3)))), at(10, 11, tt.page),
			}
			judge(t, check.Pages(followed("pages", ops, events, nil)), tt.wrong)
		})
	}
}

// Ensure streams that begin anywhere in the history are told what comes behind,
// and all keys only where they must be.
func TestStreamStarts(t *testing.T) {
	changes := []history.Event{
		change("set", "k", 10, 1, "null", "1"), change("set", "k", 12, 2, "1", "2"), change("delete", "k", 13, 3, "2", "null"), change("set", "k", 30, 4, "null", "3"),
	}
	ops := []history.Op{
		at(0, 1, token(0, 10, set("1", 1))), at(2, 3, token(0, 12, set("2", 2))), at(4, 5, token(0, 13, del(true))), at(6, 7, token(0, 30, set("3", 4))),
	}
	for _, tt := range []struct {
		name  string
		from  uint64
		told  []history.Event
		wrong bool
	}{
		{"in the middle", 12, changes[2:], false},
		{"between two", 11, changes[1:3], false},
		{"at the newest", 30, nil, false},
		{"one skipped", 11, changes[2:], true},
		{"a delete skipped", 12, changes[3:], true},
		{"one that it had", 12, changes[1:], true},
		{"too old, all keys", 1, []history.Event{named("resync", 0), snapshot("k", 2, "2"), named("synced", 12), changes[2]}, false},
		{"too old, no key left", 1, []history.Event{named("resync", 0), named("synced", 13), changes[3]}, false},
		{"in the future, all keys, and then changes", 1000, []history.Event{named("resync", 0), snapshot("k", 2, "2"), named("synced", 12), changes[2], changes[3]}, false},
		{"all keys as of the past", 12, []history.Event{changes[2], changes[3], named("resync", 0), snapshot("k", 2, "2"), named("synced", 12), changes[2], changes[3]}, true},
		{"all keys, all changes, and all keys again", 1, []history.Event{named("resync", 0), snapshot("k", 2, "2"), named("synced", 12), changes[2], changes[3], named("resync", 0), snapshot("k", 4, "3"), named("synced", 30)}, true},
		{"synced without a resync", 1, []history.Event{named("synced", 12), changes[2]}, true},
		{"in the future, all keys", 1000, []history.Event{named("resync", 0), snapshot("k", 4, "3"), named("synced", 30)}, false},
		{"all keys, begun and broken off", 1, []history.Event{named("resync", 0), snapshot("k", 1, "1")}, false},
		{"all keys, one of the past", 1, []history.Event{named("resync", 0), snapshot("k", 1, "1"), named("synced", 12)}, true},
		{"all keys, one that is gone", 1, []history.Event{named("resync", 0), snapshot("k", 2, "2"), named("synced", 13)}, true},
		{"all keys, one missing", 1, []history.Event{named("resync", 0), named("synced", 12)}, true},
		{"all keys, one twice", 1, []history.Event{named("resync", 0), snapshot("k", 2, "2"), snapshot("k", 2, "2"), named("synced", 12)}, true},
		{"all keys, not announced", 1, []history.Event{snapshot("k", 2, "2"), named("synced", 12)}, true},
		{"all keys, and one skipped behind them", 1, []history.Event{named("resync", 0), snapshot("k", 2, "2"), named("synced", 12), changes[3]}, true},
		{"all keys, although the history reaches", 11, []history.Event{named("resync", 0), snapshot("k", 2, "2"), named("synced", 12)}, true},
		{"of another workflow", 12, []history.Event{{Workflow: "w", Scope: "x", Type: "delete", Key: "k", Revision: 13, Version: 3, Old: "2", New: "null"}}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			events := append(told("s", changes...), told("start", tt.told...)...)
			h := followed("stream", ops, events, map[string]history.Subscriber{"start": {From: tt.from}})
			judge(t, check.Stream(h), tt.wrong)
		})
	}
}

// Ensure a time that nobody saw, because the history had moved on, is no loss,
// and what comes behind it still is checked.
func TestStreamHole(t *testing.T) {
	ops := []history.Op{at(0, 1, token(0, 10, set("1", 1))), at(2, 3, token(0, 25, set("2", 2))), at(4, 5, token(0, 40, set("3", 3))), at(6, 7, token(0, 50, set("4", 4)))}
	hole := []history.Event{change("set", "k", 10, 1, "null", "1"), named("resync", 0), snapshot("k", 3, "3"), named("synced", 45)}
	for _, tt := range []struct {
		name  string
		last  history.Event
		wrong bool
	}{
		{"goes on", change("set", "k", 50, 4, "3", "4"), false},
		{"goes on with another version", change("set", "k", 50, 5, "3", "4"), true},
		{"goes on with another value before", change("set", "k", 50, 4, "2", "4"), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			judge(t, check.Stream(followed("stream", ops, told("s", append(slices.Clone(hole), tt.last)...), nil)), tt.wrong)
		})
	}
}

// Ensure a reader who is told all keys without a resync, and none of them, is a
// violation and no end of the tester.
func TestSyncedAlone(t *testing.T) {
	ops := []history.Op{at(0, 1, token(0, 10, set("1", 1))), at(6, 7, token(0, 50, set("4", 4)))}
	events := told("s", change("set", "k", 10, 1, "null", "1"), named("synced", 45), change("set", "k", 50, 4, "3", "4"))
	judge(t, check.Stream(followed("stream", ops, events, nil)), true)
}

// Ensure a stretch of changes that lies in a time of which else nobody was told,
// and begins there without all keys, is held against nothing that is unknown.
func TestStreamStartsInHole(t *testing.T) {
	ops := []history.Op{
		at(0, 1, token(0, 10, set("1", 1))), at(2, 3, token(0, 25, set("2", 2))), at(4, 5, token(0, 40, set("3", 3))), at(6, 7, token(0, 50, set("4", 4))),
		at(8, 9, stale(token(0, 20, get("1", 1)))), at(10, 11, stale(token(0, 25, get("2", 2)))), at(12, 13, stale(token(0, 45, get("3", 3)))),
	}
	reader := told("s", change("set", "k", 10, 1, "null", "1"), named("resync", 0), snapshot("k", 3, "3"), named("synced", 45))
	started := told("start", change("set", "k", 25, 2, "1", "2"))
	last := told("s", change("set", "k", 50, 4, "3", "4"))
	end := told("stay", change("set", "k", 50, 4, "3", "4"))
	final := []history.Entry{has("k", "4", 4)}
	for _, tt := range []struct {
		name   string
		events []history.Event
		ops    []history.Op
		final  []history.Entry
		wrong  bool
	}{
		{"goes on", slices.Concat(reader, started, last), ops, final, false},
		{"goes on with another version", slices.Concat(reader, started, told("s", change("set", "k", 50, 5, "3", "4"))), ops, final, true},
		{"a read of another state behind", slices.Concat(reader, started, last), append(slices.Clone(ops), at(14, 15, stale(token(0, 46, get("2", 2))))), final, true},
		{"the reader gets all keys behind the end", slices.Concat(reader[:1], started, end, told("s", named("resync", 0), snapshot("k", 4, "4"), named("synced", 50))), ops, final, false},
		{"the reader gets all keys later than the end", slices.Concat(reader[:1], started, end, told("s", named("resync", 0), snapshot("k", 4, "4"), named("synced", 60))), ops, final, false},
		{"others are left than the reader was told", slices.Concat(reader[:1], started, end, told("s", named("resync", 0), snapshot("k", 4, "4"), named("synced", 60))), ops, []history.Entry{has("k", "3", 3)}, true},
		{"nobody is told of all keys again", slices.Concat(reader[:1], started, end), ops, final, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := followed("stream", tt.ops, tt.events, map[string]history.Subscriber{"start": {From: 20}, "stay": {From: 49, Follows: true}})
			if tt.final != nil {
				h.Final = map[string][]history.Entry{"n1": tt.final}
			}
			judge(t, check.Stream(h), tt.wrong)
		})
	}
}

// Ensure a stream that begins at a revision that there was is not told of an older
// state, as one may be that begins in the future.
func TestStreamBegunBehindAll(t *testing.T) {
	ops := []history.Op{at(0, 1, token(0, 10, set("1", 1))), at(2, 3, token(0, 30, set("2", 2)))}
	events := append(told("s", change("set", "k", 10, 1, "null", "1"), change("set", "k", 30, 2, "1", "2")),
		told("start", named("resync", 0), snapshot("k", 1, "1"), named("synced", 12))...)
	for _, tt := range []struct {
		name  string
		begun time.Duration
		wrong bool
	}{
		{"after the answer of that revision", 4 * ms, true},
		{"before it", 2 * ms, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			late := slices.Clone(events)
			for i := range late {
				late[i].At = 10 * ms
			}
			judge(t, check.Stream(followed("stream", ops, late, map[string]history.Subscriber{"start": {From: 30, Begun: tt.begun}})), tt.wrong)
		})
	}
}

func TestAgentLists(t *testing.T) {
	events := told("s", change("set", "k", 10, 1, "null", "1"))
	ops := []history.Op{at(0, 1, agent(token(0, 10, set("1", 1))))}
	for _, tt := range []struct {
		name  string
		list  history.Op
		wrong bool
	}{
		{"its own", list(10, history.Query{}, "", has("k", "1", 1)), false},
		{"another subject's key", list(10, history.Query{}, "", has("k", "1", 1), has("x", "2", 1)), true},
		{"one missing", list(10, history.Query{}, ""), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			judge(t, check.AgentLists(followed("agent", append(slices.Clone(ops), at(2, 3, agent(tt.list))), events, nil)), tt.wrong)
		})
	}
}

func TestRevisions(t *testing.T) {
	run(t, "any", check.Revisions, []scenario{
		{"rising", []history.Op{at(0, 1, token(0, 7, set("1", 1))), at(2, 3, token(0, 7, get("1", 1))), at(4, 5, token(0, 9, get("1", 1)))}, nil, false},
		{"in any order at the same time", []history.Op{at(0, 9, token(0, 7, set("1", 1))), at(1, 8, token(0, 6, get("", 0)))}, nil, false},
		{"a stale read of the past", []history.Op{at(0, 1, token(0, 7, set("1", 1))), at(2, 3, stale(token(0, 6, get("", 0))))}, nil, false},
		{"a copy gets the old answer", []history.Op{at(0, 1, token(0, 7, set("1", 1))), at(2, 3, copyOf("a", token(0, 6, set("0", 1))))}, nil, false},
		{"a read of the past", []history.Op{at(0, 1, token(0, 7, set("1", 1))), at(2, 3, token(0, 6, get("", 0)))}, nil, true},
		{"a write of the past", []history.Op{at(0, 1, token(0, 7, set("1", 1))), at(2, 3, token(0, 6, set("2", 1)))}, nil, true},
		{"a read of the past that tells no revision", []history.Op{at(0, 1, token(0, 7, set("1", 1))), at(2, 3, onNode(get("", 0)))}, nil, true},
		{"a read through the Go client", []history.Op{at(0, 1, token(0, 7, set("1", 1))), at(2, 3, get("1", 1))}, nil, false},
		{"as new as its token", []history.Op{at(0, 1, stale(token(7, 7, get("1", 1))))}, nil, false},
		{"older than its token", []history.Op{at(0, 1, stale(token(7, 6, get("1", 1))))}, nil, true},
		{"a write that makes no revision", []history.Op{at(0, 1, token(0, 7, get("", 0))), at(2, 3, token(0, 7, set("1", 1)))}, nil, true},
		{"a delete that makes no revision", []history.Op{at(0, 1, token(0, 7, get("1", 1))), at(2, 3, token(0, 7, del(true)))}, nil, true},
		{"a delete of nothing", []history.Op{at(0, 1, token(0, 7, get("", 0))), at(2, 3, token(0, 7, del(false)))}, nil, false},
		{"an atomic write that makes no revision", []history.Op{at(0, 1, token(0, 7, get("", 0))), at(2, 3, atomic(7, history.Step{Kind: history.Get, Key: "l"}, history.Step{Kind: history.Set, Key: "k", Version: 1}))}, nil, true},
		{"checks alone", []history.Op{at(0, 1, token(0, 7, get("", 0))), at(2, 3, atomic(7, history.Step{Kind: history.Get, Key: "l"}, history.Step{Kind: history.Delete, Key: "k"}))}, nil, false},
		{"a write that is refused", []history.Op{at(0, 1, token(0, 7, get("2", 2))), at(2, 3, token(0, 7, conflict("3", 1, 2)))}, nil, false},
		{"two writes of one revision", []history.Op{at(0, 9, token(0, 7, set("1", 1))), at(1, 8, token(0, 7, on("x", set("2", 1))))}, nil, true},
		{"two writes of one revision, one with an idempotency key", []history.Op{at(0, 9, token(0, 7, set("1", 1))), at(1, 8, copyOf("a", token(0, 7, on("x", set("2", 1)))))}, nil, true},
		{"copies of one write", []history.Op{at(0, 1, copyOf("a", token(0, 7, set("1", 1)))), at(2, 3, token(0, 9, set("2", 2))), at(4, 5, copyOf("a", token(0, 7, set("1", 1))))}, nil, false},
		{"an answer through the Go client and one of its revision", []history.Op{at(0, 1, set("1", 1)), at(2, 3, set("2", 2)), at(4, 5, token(0, 2, set("3", 3)))}, nil, false},
		{"a read older than a stale one", []history.Op{at(0, 1, stale(token(0, 7, get("1", 1)))), at(2, 3, token(0, 6, get("", 0)))}, nil, true},
	})
}

// Ensure nobody is answered from an older state than somebody else was told of
// before.
func TestRevisionsAfterEvents(t *testing.T) {
	events := told("s", change("set", "k", 7, 1, "null", "1"), named("resync", 0), snapshot("k", 3, "3"), named("synced", 20))
	events[0].At, events[3].At = 2*ms, 9*ms
	for _, tt := range []struct {
		name  string
		op    history.Op
		wrong bool
	}{
		{"a read as new", at(3, 4, token(0, 7, get("1", 1))), false},
		{"an older read", at(3, 4, token(0, 6, get("", 0))), true},
		{"an older read that was under way", at(2, 4, token(0, 6, get("", 0))), false},
		{"an older stale read", at(3, 4, stale(token(0, 6, get("", 0)))), false},
		{"a write of that revision", at(3, 4, token(0, 7, on("x", set("2", 1)))), true},
		{"that write, which returns late", at(0, 4, token(0, 7, set("1", 1))), false},
		{"an older read after all keys", at(10, 11, token(0, 19, get("3", 3))), true},
		{"an older read while all keys were told", at(8, 11, token(0, 19, get("3", 3))), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			judge(t, check.Revisions(followed("any", []history.Op{tt.op}, events, nil)), tt.wrong)
		})
	}
}

func stale(op history.Op) history.Op {
	op.Stale = true
	return op
}
