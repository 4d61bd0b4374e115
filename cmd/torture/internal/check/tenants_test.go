package check_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/check"
	"github.com/stateraft/stateraft/cmd/torture/internal/history"
)

func grant(token, prefix, scopes string) history.Op {
	return history.Op{Kind: history.Grant, Key: token, Query: history.Query{Prefix: prefix}, Value: scopes}
}

func revoke(token string, revision uint64) history.Op {
	return history.Op{Kind: history.Revoke, Key: token, Revision: revision}
}

// of makes an operation one of project red's with an API key.
func of(token string, op history.Op) history.Op {
	op.Project, op.Token = "red", token
	return op
}

func TestIsolation(t *testing.T) {
	given := []history.Op{
		at(0, 1, grant("all", "", "[state:read state:write]")), at(0, 1, grant("narrow", "w", "[state:read state:write]")), at(0, 1, grant("reader", "", "[state:read]")),
		at(0, 1, grant("old", "", "[state:read state:write]")), at(100, 101, revoke("old", 20)),
	}
	elsewhere := within("x", get(`"red 1"`, 1))
	streamed := func(ret int, failed string) history.Op {
		op := at(10, ret, of("old", history.Op{Kind: history.Open, Workflow: "w", Key: "all"}))
		op.Error = failed
		return op
	}
	event := func(at int, revision uint64, value string) history.Event {
		e := change("set", "k", revision, 1, "null", value)
		e.At, e.Subscriber = time.Duration(at)*ms, "stream"
		return e
	}
	here := func(e history.Event) history.Event {
		e.At, e.Subscriber = 5*ms, "stream"
		return e
	}
	for _, tt := range []struct {
		name   string
		ops    []history.Op
		events []history.Event
		wrong  bool
	}{
		{"its own", []history.Op{at(2, 3, of("all", set(`"red 1"`, 1))), at(4, 5, of("reader", get(`"red 1"`, 1)))}, []history.Event{event(5, 9, `"red 1"`)}, false},
		{"its own, stale", []history.Op{at(2, 3, of("all", set(`"red 1"`, 1))), at(4, 5, of("all", set(`"red 2"`, 2))), at(6, 7, of("all", stale(get(`"red 1"`, 1))))}, nil, false},
		{"its own, stale where it may not be", []history.Op{at(2, 3, of("all", set(`"red 1"`, 1))), at(4, 5, of("all", set(`"red 2"`, 2))), at(6, 7, of("all", get(`"red 1"`, 1)))}, nil, true},
		{"two projects, one name", []history.Op{at(2, 3, of("all", set(`"red 1"`, 1))), at(4, 5, set(`"blue 1"`, 1)), at(6, 7, of("all", get(`"red 1"`, 1)))}, nil, false},
		{"another project's value", []history.Op{at(2, 3, of("all", get(`"blue 1"`, 1)))}, nil, true},
		{"another project's change", []history.Op{at(2, 3, of("all", set(`"red 1"`, 1))), at(4, 5, of("all", set(`"red 2"`, 3)))}, nil, true},
		{"another project's conflict", []history.Op{at(2, 3, of("all", no(4, when(history.IfAbsent, 0, set(`"red 1"`, 0)))))}, nil, true},
		{"another project's value in a conflict", []history.Op{at(2, 3, of("all", with(`"blue 1"`, no(4, when(history.IfAbsent, 0, set(`"red 1"`, 0))))))}, nil, true},
		{"another project's key in a list", []history.Op{at(2, 3, of("all", list(0, history.Query{}, "", has("k", `"blue 1"`, 1))))}, nil, true},
		{"another project's idempotency key", []history.Op{at(2, 3, of("all", history.Op{Kind: history.Set, Outcome: history.Refused, Error: "IDEMPOTENCY_MISMATCH"}))}, nil, true},
		{"another project's event", nil, []history.Event{event(5, 9, `"blue 1"`)}, true},
		{"its own keys, when its stream fell behind", nil, []history.Event{here(named("resync", 0)), here(snapshot("k", 3, `"red 1"`)), here(named("synced", 9))}, false},
		{"another workflow's key, when its stream fell behind", nil, []history.Event{here(named("resync", 0)), here(history.Event{Type: "snapshot", Scope: "x", New: `"red 1"`})}, true},
		{"outside its prefix, refused", []history.Op{at(2, 3, of("narrow", refused(elsewhere)))}, nil, false},
		{"within its prefix, refused", []history.Op{at(2, 3, of("narrow", failing(history.Refused, "FORBIDDEN", get("", 0))))}, nil, true},
		{"outside its scope, refused", []history.Op{at(2, 3, of("reader", failing(history.Refused, "FORBIDDEN", set(`"red 1"`, 0))))}, nil, false},
		{"unknown before it was revoked", []history.Op{at(90, 99, of("old", failing(history.Refused, "UNAUTHORIZED", get("", 0))))}, nil, true},
		{"unknown while it was revoked", []history.Op{at(90, 101, of("old", failing(history.Refused, "UNAUTHORIZED", get("", 0))))}, nil, false},
		{"unknown though nobody revoked it", []history.Op{at(90, 99, of("all", failing(history.Refused, "UNAUTHORIZED", get("", 0))))}, nil, true},
		{"unknown once it may have been revoked", []history.Op{at(2, 3, unknown(revoke("all", 0))), at(4, 5, of("all", failing(history.Refused, "UNAUTHORIZED", get("", 0))))}, nil, false},
		{"outside its prefix", []history.Op{at(2, 3, of("narrow", on("y", within("x", get("", 0)))))}, nil, true},
		{"outside its scope", []history.Op{at(2, 3, of("reader", on("y", set(`"red 1"`, 1))))}, nil, true},
		{"before it was revoked", []history.Op{at(90, 99, of("old", on("y", get("", 0))))}, nil, false},
		{"while it was revoked", []history.Op{at(150, 199, of("old", on("y", get("", 0))))}, nil, false},
		{"after it was revoked, refused", []history.Op{at(250, 260, of("old", refused(get("", 0))))}, nil, false},
		{"after it was revoked, stale", []history.Op{at(250, 260, of("old", stale(on("y", get("", 0)))))}, nil, false},
		{"after it was revoked", []history.Op{at(250, 260, of("old", on("y", get("", 0))))}, nil, true},
		{"a write after it was revoked", []history.Op{at(250, 260, of("old", on("y", set(`"red 1"`, 1))))}, nil, true},
		{"its stream ends", []history.Op{streamed(130, "")}, []history.Event{event(120, 21, `"red 1"`)}, false},
		{"its stream ends late", []history.Op{streamed(30000, "")}, nil, true},
		{"its stream does not end", []history.Op{streamed(5000, "still open")}, nil, true},
		{"its stream goes on", []history.Op{streamed(6000, "")}, []history.Event{event(120, 21, `"red 1"`), event(5000, 22, `"red 2"`)}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := &history.History{
				Ops: append(slices.Clone(given), tt.ops...), Events: tt.events,
				Subscribers: map[string]history.Subscriber{"stream": {Workload: "isolation", Workflow: "w", Project: "red", Token: "old"}},
			}
			for i := range h.Ops {
				h.Ops[i].Workload = "isolation"
			}
			judge(t, check.Isolation(h), tt.wrong)
		})
	}
}

// Ensure streams of a revoked key may go on for longer where all may take longer,
// and not for ever.
func TestIsolationWithSlack(t *testing.T) {
	for _, tt := range []struct {
		name  string
		slack int
		last  int // when the stream was told of the last change, in ms
		ended int // when it ended
		wrong bool
	}{
		{"promised", 0, 3900, 25000, false},
		{"told late", 1, 4400, 5000, true},
		{"ended late", 1, 3900, 25500, true},
		{"late, on a slow machine", 3, 12000, 75000, false},
		{"told too late there", 3, 12400, 20000, true},
		{"ended too late there", 3, 12000, 75500, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			events := told("stream", change("set", "k", 21, 1, "null", `"red 1"`), change("set", "k", 22, 2, `"red 1"`, `"red 2"`))
			events[0].At, events[1].At = 200*ms, time.Duration(tt.last)*ms
			h := &history.History{
				Ops: []history.Op{
					at(0, 1, grant("old", "", "[state:read state:write]")), at(100, 101, revoke("old", 20)),
					at(10, tt.ended, of("old", history.Op{Kind: history.Open, Workflow: "w", Key: "all"})),
				},
				Events: events, Slack: tt.slack,
				Subscribers: map[string]history.Subscriber{"stream": {Workload: "isolation", Workflow: "w", Project: "red", Token: "old"}},
			}
			for i := range h.Ops {
				h.Ops[i].Workload = "isolation"
			}
			judge(t, check.Isolation(h), tt.wrong)
		})
	}
}

// Ensure a node that has shown that it knows of a key's end takes it for no stale
// read any more.
func TestIsolationOfStaleReads(t *testing.T) {
	read := func(call, ret int, node string, revision uint64) history.Op {
		op := at(call, ret, token(0, revision, on("x", get("", 0))))
		op.Node = node
		return op
	}
	late := stale(of("old", read(300, 310, "n1", 25)))
	older := stale(of("old", read(300, 310, "n1", 21)))
	write := onNode(at(280, 290, token(0, 22, on("x", set("1", 1)))))
	for _, tt := range []struct {
		name  string
		ops   []history.Op
		wrong bool
	}{
		{"it knew", []history.Op{read(280, 290, "n1", 22), late}, true},
		{"it knew from a stale read", []history.Op{stale(read(280, 290, "n1", 20)), late}, true},
		{"it was older", []history.Op{read(280, 290, "n1", 19), late}, false},
		{"another node knew", []history.Op{read(280, 290, "n2", 22), late}, false},
		{"it answered later", []history.Op{read(295, 301, "n1", 22), late}, false},
		{"long before, perhaps as another process", []history.Op{read(100, 150, "n1", 22), late}, false},
		{"it has gone back since, as another process", []history.Op{read(280, 290, "n1", 22), older}, false},
		{"another made a write for it", []history.Op{write, late}, false},
		{"refused", []history.Op{read(280, 290, "n1", 22), failing(history.Refused, "UNAUTHORIZED", late)}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := &history.History{Ops: append([]history.Op{at(0, 1, grant("old", "", "[state:read]")), at(50, 60, revoke("old", 20))}, tt.ops...)}
			for i := range h.Ops {
				h.Ops[i].Workload = "isolation"
			}
			judge(t, check.Isolation(h), tt.wrong)
		})
	}
}

// Ensure most streams of revoked keys end soon.
func TestIsolationEndsMostStreams(t *testing.T) {
	for _, tt := range []struct {
		name       string
		soon, late int // streams
		slack      int
		wrong      bool
	}{
		{"all soon", 12, 0, 1, false},
		{"some late", 8, 4, 1, false},
		{"most late", 4, 8, 1, true},
		{"most late, on a slow machine", 4, 8, 3, false},
		{"most late, of few", 2, 5, 1, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := &history.History{Ops: []history.Op{at(0, 1, grant("old", "", "[state:read]")), at(50, 60, revoke("old", 20))}, Slack: tt.slack}
			for i := range tt.soon + tt.late {
				end := 61
				if i >= tt.soon {
					end = 2000
				}
				h.Ops = append(h.Ops, at(10, end, of("old", history.Op{Kind: history.Open, Workflow: "w", Key: "all"})))
			}
			for i := range h.Ops {
				h.Ops[i].Workload = "isolation"
			}
			judge(t, check.Isolation(h), tt.wrong)
		})
	}
}

func TestFencing(t *testing.T) {
	lock := func(revision, token uint64) history.Op {
		return history.Op{Kind: history.SetAt, Workflow: "w", Key: "lock", Version: token, Revision: revision}
	}
	guarded := func(revision, token uint64) history.Op {
		return atomic(revision, history.Step{Kind: history.Get, Key: "lock", Expected: v(token)}, history.Step{Kind: history.Set, Key: "x", Value: "1"})
	}
	late := func(token, current uint64) history.Op { return no(current, guarded(30, token)) }
	run(t, "lock", check.Fencing, []scenario{
		{"in turn", []history.Op{at(0, 1, lock(10, 1)), at(2, 3, guarded(11, 1)), at(4, 5, lock(20, 3)), at(6, 7, late(1, 3)), at(8, 9, guarded(21, 3))}, nil, false},
		{"token from the start", []history.Op{at(0, 1, lock(10, 1)), at(4, 5, lock(20, 1))}, nil, true},
		{"given again before it ended", []history.Op{at(0, 1, lock(10, 1)), at(4, 5, lock(20, 2))}, nil, true},
		{"given again, a write of unknown outcome in between", []history.Op{at(0, 1, lock(10, 1)), at(2, 3, unknown(lock(0, 0))), at(4, 5, lock(20, 5))}, nil, false},
		{"a write with an old token", []history.Op{at(0, 1, lock(10, 1)), at(4, 5, lock(20, 3)), at(6, 7, guarded(21, 1))}, nil, true},
		{"a write with an old token, of an old revision", []history.Op{at(0, 1, lock(10, 1)), at(4, 5, lock(20, 3)), at(6, 7, guarded(15, 1))}, nil, true},
		{"a refusal with the right token", []history.Op{at(0, 1, lock(10, 1)), at(2, 3, late(1, 1))}, nil, true},
	})
}

// Ensure a write with an old token shows to those who follow the lock, also if
// nobody knows its outcome.
func TestFencingFollowed(t *testing.T) {
	lock := func(value string, revision, version uint64) history.Op {
		return token(0, revision, lasting(300*ms, on("lock", setAt(value, 0, version))))
	}
	write := func(value string, token uint64) history.Op {
		return unknown(atomic(0, history.Step{Kind: history.Get, Key: "lock", Expected: v(token)}, history.Step{Kind: history.Set, Key: "guarded", Value: value}))
	}
	ops := []history.Op{at(0, 1, lock(`"a"`, 10, 1)), at(2, 9, write(`"1"`, 1)), at(400, 401, lock(`"b"`, 20, 3)), at(402, 409, write(`"2"`, 3))}
	taken, ended, again := change("set", "lock", 10, 1, "null", `"a"`), change("expire", "lock", 15, 2, `"a"`, "null"), change("set", "lock", 20, 3, "null", `"b"`)
	guarded := func(value string, revision, version uint64, old string) history.Event {
		return in(revision, revision, change("set", "guarded", revision, version, old, value))
	}
	for _, tt := range []struct {
		name   string
		events []history.Event
		wrong  bool
	}{
		{"in time", []history.Event{taken, guarded(`"1"`, 11, 1, "null"), ended, again, guarded(`"2"`, 21, 2, `"1"`)}, false},
		{"never", []history.Event{taken, ended, again}, false},
		{"when the lock was free", []history.Event{taken, ended, guarded(`"1"`, 16, 3, "null"), again}, true},
		{"when another had it", []history.Event{taken, ended, again, guarded(`"1"`, 22, 3, "null")}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			judge(t, check.Fencing(followed("lock", ops, told("s", tt.events...), nil)), tt.wrong)
		})
	}
}

func TestBackup(t *testing.T) {
	const instant, later = "2026-11-22T10:00:00.000Z", "2026-11-22T10:00:05.000Z"
	ends := func(e history.Entry, at string) history.Entry {
		e.Expires = at
		return e
	}
	events := told("s",
		change("set", "a", 10, 1, "null", `"1"`), change("set", "b", 11, 1, "null", `"2"`), change("delete", "b", 12, 2, `"2"`, "null"), change("set", "c", 13, 3, "null", `"3"`),
	)
	b, c := on("b", set(`"2"`, 1)), on("c", set(`"3"`, 3))
	given := []history.Op{
		at(0, 1, on("a", set(`"1"`, 1))), at(2, 3, b), at(4, 5, on("b", del(true))), at(6, 7, lasting(50*ms, c)),
		at(8, 9, list(13, history.Query{}, "", ends(has("a", `"1"`, 1), instant), has("c", `"3"`, 3))),
		at(10, 11, history.Op{Kind: history.Backup, Revision: 13}),
	}
	restore := func(what string, o history.Outcome, before, after string) history.Op {
		return history.Op{Kind: history.Restore, Key: what, Outcome: o, Error: "INVALID_REQUEST", Present: before, Value: after, Revision: 13}
	}
	keys := func(ret int, anew uint64, entries ...history.Entry) history.Op {
		return at(12, ret, history.Op{Kind: history.Restore, Key: "keys", Workflow: "w", Revision: 13, Version: anew, Entries: entries})
	}
	before := func(failed string) history.Op {
		return history.Op{Kind: history.Restore, Key: "token", Outcome: history.Refused, Error: failed, Revision: 13}
	}
	a, last := ends(has("a", `"1"`, 1), instant), has("c", `"3"`, 3)
	resync := history.Op{Kind: history.Resume, Outcome: history.OK, Found: true, Revision: 13}
	for _, tt := range []struct {
		name  string
		op    history.Op
		wrong bool
	}{
		{"all keys", keys(13, 4, a, last), false},
		{"one has ended meanwhile", keys(60, 5, a), false},
		{"one has ended early", keys(13, 5, a), true},
		{"one lost", keys(13, 4, last), true},
		{"one that was deleted", keys(13, 4, a, has("b", `"2"`, 1), last), true},
		{"another value", keys(13, 4, ends(has("a", `"9"`, 1), instant), last), true},
		{"another version", keys(13, 4, ends(has("a", `"1"`, 2), instant), last), true},
		{"another end", keys(13, 4, ends(has("a", `"1"`, 1), later), last), true},
		{"no end", keys(13, 4, has("a", `"1"`, 1), last), true},
		{"a version that comes back", keys(13, 2, a, last), true},
		{"not listed", at(12, 13, refused(keys(13, 4))), true},
		{"not restored", restore("whole", history.Unknown, "x", "y"), true},
		{"damaged and refused", restore("flipped", history.Refused, "x", "x"), false},
		{"damaged and taken", restore("flipped", history.OK, "x", "x"), true},
		{"cut and half taken", restore("cut", history.Refused, "x", "y"), true},
		{"unasked and taken", restore("unasked", history.OK, "x", "y"), true},
		{"a token from before", before("REVISION_UNKNOWN"), false},
		{"a token from before that waits", before("BEHIND"), true},
		{"an id from before", resync, false},
		{"an id from before that goes on", history.Op{Kind: history.Resume, Outcome: history.OK, Revision: 13}, true},
		{"an id from before and silence", history.Op{Kind: history.Resume, Outcome: history.Refused, Found: true, Revision: 13}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			op := tt.op
			if op.Outcome == "" {
				op.Outcome = history.OK
			}
			judge(t, check.Backup(followed("backup", append(slices.Clone(given), op), events, nil)), tt.wrong)
		})
	}
}
