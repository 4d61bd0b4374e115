package check_test

import (
	"testing"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/check"
	"github.com/stateraft/stateraft/cmd/torture/internal/history"
)

const ms = time.Millisecond

// at gives an operation its time, in milliseconds.
func at(call, ret int, op history.Op) history.Op {
	op.Call, op.Return = time.Duration(call)*ms, time.Duration(ret)*ms
	if op.Outcome == "" {
		op.Outcome = history.OK
	}
	return op
}

func set(value string, version uint64) history.Op {
	return history.Op{Kind: history.Set, Workflow: "w", Key: "k", Value: value, Version: version}
}

func setAt(value string, expected, version uint64) history.Op {
	return history.Op{Kind: history.SetAt, Workflow: "w", Key: "k", Value: value, Expected: expected, Version: version}
}

func conflict(value string, expected, current uint64) history.Op {
	op := setAt(value, expected, current)
	op.Conflict = true
	return op
}

func get(value string, version uint64) history.Op {
	return history.Op{Kind: history.Get, Workflow: "w", Key: "k", Value: value, Version: version, Found: value != ""}
}

func del(found bool) history.Op {
	return history.Op{Kind: history.Delete, Workflow: "w", Key: "k", Found: found}
}

func unknown(op history.Op) history.Op {
	op.Outcome, op.Version, op.Found = history.Unknown, 0, false
	return op
}

func refused(op history.Op) history.Op {
	op.Outcome, op.Version = history.Refused, 0
	return op
}

func by(client int, op history.Op) history.Op {
	op.Client = client
	return op
}

func copyOf(id string, op history.Op) history.Op {
	op.Idempotency = id
	return op
}

func token(min, revision uint64, op history.Op) history.Op {
	op.MinRevision, op.Revision = min, revision
	return op
}

func lasting(d time.Duration, op history.Op) history.Op {
	op.TTL = d
	return op
}

func on(key string, op history.Op) history.Op {
	op.Key = key
	return op
}

// when makes an operation conditional, no says that the condition did not hold.
func when(c history.Condition, expected uint64, op history.Op) history.Op {
	op.If, op.Expected = c, expected
	return op
}

func no(current uint64, op history.Op) history.Op {
	op.Conflict, op.Version = true, current
	return op
}

// with gives a refusal the present value.
func with(present string, op history.Op) history.Op {
	op.Current, op.Present = true, present
	return op
}

func agent(op history.Op) history.Op {
	op.Agent = true
	return op
}

func within(workflow string, op history.Op) history.Op {
	op.Workflow = workflow
	return op
}

// final is one key on two nodes.
func final(first, second history.Entry) map[string][]history.Entry {
	return map[string][]history.Entry{"n1": {first}, "n2": {second}}
}

func entry(value string, version uint64) history.Entry {
	return history.Entry{Workflow: "w", Key: "k", Value: value, Version: version}
}

func same(value string, version uint64) map[string][]history.Entry {
	return final(entry(value, version), entry(value, version))
}

// scenario is a forged history and whether a checker must find fault with it.
type scenario struct {
	name  string
	ops   []history.Op
	final map[string][]history.Entry
	wrong bool
}

func run(t *testing.T, workload string, checker check.Checker, scenarios []scenario) {
	t.Helper()
	for _, tt := range scenarios {
		t.Run(tt.name, func(t *testing.T) {
			for i := range tt.ops {
				tt.ops[i].Workload = workload
			}
			v := checker(&history.History{Ops: tt.ops, Final: tt.final})
			if v.OK() == tt.wrong {
				t.Errorf("%d violations: %q", v.Violations, v.Told)
			}
			if v.OK() && v.Checked == 0 {
				t.Error("nothing was looked at")
			}
		})
	}
}

func TestLinearizable(t *testing.T) {
	run(t, "register", check.Linearizable, []scenario{
		{"in turn", []history.Op{
			at(0, 1, set("1", 1)), at(2, 3, get("1", 1)), at(4, 5, setAt("2", 1, 2)), at(6, 7, conflict("3", 1, 2)),
			at(8, 9, del(true)), at(10, 11, get("", 0)), at(12, 13, del(false)), at(14, 15, conflict("4", 2, 0)), at(16, 17, set("5", 4)),
		}, nil, false},
		{"at the same time", []history.Op{at(0, 9, set("1", 2)), at(1, 8, set("2", 1)), at(2, 7, get("2", 1))}, nil, false},
		{"stale read", []history.Op{at(0, 1, set("1", 1)), at(2, 3, set("2", 2)), at(4, 5, get("1", 1))}, nil, true},
		{"read of nothing after a write", []history.Op{at(0, 1, set("1", 1)), at(2, 3, get("", 0))}, nil, true},
		{"read that goes back", []history.Op{at(0, 1, set("1", 1)), at(2, 9, set("2", 2)), at(3, 4, get("2", 2)), at(5, 6, get("1", 1))}, nil, true},
		{"lost write", []history.Op{at(0, 1, set("1", 1)), at(2, 3, set("2", 2)), at(4, 5, set("3", 2))}, nil, true},
		{"two winners of one version", []history.Op{at(0, 1, set("1", 1)), at(2, 9, setAt("2", 1, 2)), at(3, 8, setAt("3", 1, 2))}, nil, true},
		{"conflict that was none", []history.Op{at(0, 1, set("1", 1)), at(2, 3, conflict("2", 1, 1))}, nil, true},
		{"version from the start after a delete", []history.Op{at(0, 1, set("1", 1)), at(2, 3, del(true)), at(4, 5, set("2", 1))}, nil, true},
		{"unknown, and it happened", []history.Op{at(0, 1, unknown(set("1", 0))), at(2, 3, get("1", 1))}, nil, false},
		{"unknown, and it happened late", []history.Op{at(0, 1, unknown(set("1", 0))), at(2, 3, set("2", 1)), at(4, 5, get("2", 1)), at(6, 7, get("1", 2))}, nil, false},
		{"unknown, and it never happened", []history.Op{at(0, 1, unknown(set("1", 0))), at(2, 3, set("2", 1)), at(4, 5, get("2", 1))}, nil, false},
		{"unknown, and it happened twice", []history.Op{at(0, 1, unknown(set("1", 0))), at(2, 3, get("1", 1)), at(4, 5, set("2", 2)), at(6, 7, get("1", 3))}, nil, true},
		{"unknown, before its call", []history.Op{at(0, 1, get("1", 1)), at(2, 3, unknown(set("1", 0)))}, nil, true},
		{"refused, and it happened", []history.Op{at(0, 1, refused(set("1", 0))), at(2, 3, get("1", 1))}, nil, true},
		{"conditions that hold", []history.Op{
			at(0, 1, when(history.IfAbsent, 0, set("1", 1))), at(2, 3, when(history.IfExists, 0, set("2", 2))),
			at(4, 5, when(history.IfVersion, 2, set("3", 3))), at(6, 7, when(history.IfChanged, 2, get("3", 3))),
			at(8, 9, when(history.IfVersion, 3, del(true))), at(10, 11, when(history.IfAbsent, 0, del(false))),
		}, nil, false},
		{"conditions that do not hold", []history.Op{
			at(0, 1, no(0, when(history.IfExists, 0, set("1", 0)))), at(2, 3, set("2", 1)), at(4, 5, no(1, when(history.IfAbsent, 0, set("3", 0)))),
			at(6, 7, no(1, when(history.IfVersion, 2, del(false)))), at(8, 9, no(1, when(history.IfChanged, 1, get("", 0)))), at(10, 11, get("2", 1)),
		}, nil, false},
		{"set though it exists", []history.Op{at(0, 1, set("1", 1)), at(2, 3, when(history.IfAbsent, 0, set("2", 2)))}, nil, true},
		{"set though it does not exist", []history.Op{at(0, 1, when(history.IfExists, 0, set("1", 1)))}, nil, true},
		{"set at another version", []history.Op{at(0, 1, set("1", 1)), at(2, 3, when(history.IfVersion, 3, set("2", 2)))}, nil, true},
		{"deleted at another version", []history.Op{at(0, 1, set("1", 1)), at(2, 3, when(history.IfVersion, 3, del(true)))}, nil, true},
		{"refused though it is absent", []history.Op{at(0, 1, no(0, when(history.IfAbsent, 0, set("1", 0))))}, nil, true},
		{"refused for another version", []history.Op{at(0, 1, set("1", 1)), at(2, 3, no(2, when(history.IfAbsent, 0, set("2", 0))))}, nil, true},
		{"called unchanged though it changed", []history.Op{at(0, 1, set("1", 1)), at(2, 3, set("2", 2)), at(4, 5, no(1, when(history.IfChanged, 1, get("", 0))))}, nil, true},
		{"told of the present value", []history.Op{at(0, 1, set("1", 1)), at(2, 3, with("1", no(1, when(history.IfAbsent, 0, set("2", 0)))))}, nil, false},
		{"told of a value that came after the refusal", []history.Op{at(0, 1, set("1", 1)), at(2, 9, with("3", no(2, when(history.IfAbsent, 0, set("2", 0))))), at(3, 4, set("3", 2))}, nil, false},
		{"not told of the present value, and it is another version", []history.Op{at(0, 1, set("1", 1)), at(2, 9, with("", no(2, when(history.IfAbsent, 0, set("2", 0))))), at(3, 4, set("3", 3))}, nil, true},
		{"told of a past value", []history.Op{at(0, 1, set("1", 1)), at(2, 3, set("2", 2)), at(4, 5, with("1", no(1, when(history.IfAbsent, 0, set("3", 0)))))}, nil, true},
		{"unknown, and its condition never held", []history.Op{at(0, 1, set("1", 1)), at(2, 3, unknown(when(history.IfAbsent, 0, set("2", 0)))), at(4, 5, get("2", 2))}, nil, true},
	})
}

func TestAgent(t *testing.T) {
	run(t, "agent", check.Agent, []scenario{
		{"in turn", []history.Op{at(0, 1, agent(set("1", 1))), at(2, 3, agent(del(false))), at(4, 5, agent(set("2", 3))), at(6, 7, agent(get("2", 3)))}, nil, false},
		{"deleted and still there", []history.Op{at(0, 1, agent(set("1", 1))), at(2, 3, agent(del(false))), at(4, 5, agent(get("1", 1)))}, nil, true},
		{"of another subject", []history.Op{at(0, 1, agent(set("1", 1))), at(2, 3, within("other", agent(get("1", 1))))}, nil, true},
		{"made anew from the start", []history.Op{at(0, 1, agent(set("1", 1))), at(2, 3, agent(del(false))), at(4, 5, agent(set("2", 1)))}, nil, true},
	})
}

func TestVersions(t *testing.T) {
	dated := []history.Op{at(0, 1, token(0, 100, set("5", 5))), at(2, 3, token(0, 110, set("6", 6)))}
	run(t, "any", check.Versions, []scenario{
		{"rising", []history.Op{at(0, 1, set("1", 1)), at(2, 3, set("2", 2)), at(4, 5, get("1", 1)), at(6, 7, set("3", 5))}, nil, false},
		{"in any order at the same time", []history.Op{at(0, 9, set("1", 2)), at(1, 8, set("2", 1))}, nil, false},
		{"a copy gets the old answer", []history.Op{at(0, 1, copyOf("a", set("1", 1))), at(2, 3, set("2", 2)), at(4, 5, copyOf("a", set("1", 1)))}, nil, false},
		{"reset", []history.Op{at(0, 1, set("1", 1)), at(2, 3, set("2", 2)), at(4, 5, set("3", 1))}, nil, true},
		{"given twice at the same time", []history.Op{at(0, 9, set("1", 1)), at(1, 8, set("2", 1))}, nil, true},
		{"read with another value", []history.Op{at(0, 1, set("1", 1)), at(2, 3, get("2", 1))}, nil, true},
		{"listed with another value", []history.Op{at(0, 1, set("1", 1)), at(2, 3, list(0, history.Query{}, "", has("k", "2", 1)))}, nil, true},
		{"left with another value", []history.Op{at(0, 1, set("1", 1))}, same("2", 1), true},
		{"set by a step with another value", []history.Op{at(0, 1, atomic(0, history.Step{Kind: history.Set, Key: "k", Value: "1", Version: 1})), at(2, 3, get("2", 1))}, nil, true},
		{"left at an older version", []history.Op{at(0, 1, token(0, 10, set("1", 1))), at(2, 3, token(0, 11, set("2", 2)))}, same("1", 1), true},
		{"left at a newer version", []history.Op{at(0, 1, token(0, 10, set("1", 1))), at(2, 3, unknown(set("2", 0)))}, same("2", 2), false},
		{"gone in the end", []history.Op{at(0, 1, token(0, 10, set("1", 1)))}, map[string][]history.Entry{"n1": nil}, false},
		{"another cluster's", []history.Op{at(0, 1, token(0, 10, set("1", 1))), at(2, 3, history.Op{Kind: history.Restore, Key: "keys", Workflow: "w", Revision: 10, Entries: []history.Entry{entry("7", 1)}})}, nil, false},
		{"as of their revisions", append(dated, at(20, 21, stale(token(0, 105, get("5", 5)))), at(20, 21, stale(token(0, 115, get("6", 6)))), at(20, 21, stale(token(0, 100, get("5", 5))))), nil, false},
		{"as of another's revision, in a list", append(dated, at(20, 21, stale(list(115, history.Query{}, "", has("k", "5", 5))))), nil, true},
		{"older than its revision", append(dated, at(20, 21, stale(token(0, 115, get("5", 5))))), nil, true},
		{"newer than its revision", append(dated, at(20, 21, stale(token(0, 105, get("6", 6))))), nil, true},
		{"found before it was made", append(dated, at(20, 21, stale(token(0, 99, get("5", 5))))), nil, true},
		{"found without a revision", append(dated, at(20, 21, onNode(stale(get("5", 5))))), nil, true},
		{"found through the Go client", append(dated, at(0, 21, get("5", 5))), nil, false},
		{"of a write of unknown outcome", append(dated, at(0, 21, unknown(set("7", 0))), at(20, 21, stale(token(0, 120, get("7", 7)))), at(20, 21, stale(token(0, 99, get("4", 4))))), nil, false},
		{"deleted and made anew", append(dated, at(4, 5, token(0, 120, del(true))), at(6, 7, token(0, 121, set("8", 8))), at(20, 21, stale(token(0, 119, get("6", 6)))), at(20, 21, stale(token(0, 121, get("8", 8))))), nil, false},
		{"written at the same time, in another order of revisions", []history.Op{at(0, 9, token(0, 110, set("5", 5))), at(0, 9, token(0, 100, set("6", 6)))}, nil, true},
		{"a copy with the first answer's revision", append(dated, at(20, 21, copyOf("a", token(0, 100, set("5", 5))))), nil, false},
		{"steps of one write", []history.Op{
			at(0, 1, atomic(101, history.Step{Kind: history.Set, Key: "k", Value: "1", Version: 1}, history.Step{Kind: history.Set, Key: "l", Value: "2", Version: 1})),
			at(2, 3, list(101, history.Query{}, "", has("k", "1", 1), has("l", "2", 1))),
		}, nil, false},
		{"a step before the write", []history.Op{
			at(0, 9, atomic(101, history.Step{Kind: history.Set, Key: "k", Value: "1", Version: 1}, history.Step{Kind: history.Set, Key: "l", Value: "2", Version: 1})),
			at(2, 3, list(100, history.Query{}, "", has("k", "1", 1))),
		}, nil, true},
	})
}

func TestCounter(t *testing.T) {
	run(t, "counter", check.Counter, []scenario{
		{"all there", []history.Op{at(0, 1, setAt("1", 0, 1)), at(2, 3, conflict("1", 0, 1)), at(4, 5, setAt("2", 1, 2))}, same("2", 2), false},
		{"unknown, and it happened", []history.Op{at(0, 1, setAt("1", 0, 1)), at(2, 3, unknown(setAt("2", 1, 0)))}, same("2", 2), false},
		{"unknown, and it did not", []history.Op{at(0, 1, setAt("1", 0, 1)), at(2, 3, unknown(setAt("2", 1, 0)))}, same("1", 1), false},
		{"lost", []history.Op{at(0, 1, setAt("1", 0, 1)), at(4, 5, setAt("2", 1, 2))}, same("1", 1), true},
		{"lost on one node", []history.Op{at(0, 1, setAt("1", 0, 1)), at(4, 5, setAt("2", 1, 2))}, final(entry("2", 2), entry("1", 1)), true},
		{"gone", []history.Op{at(0, 1, setAt("1", 0, 1))}, map[string][]history.Entry{"n1": nil}, true},
		{"two winners", []history.Op{at(0, 1, setAt("1", 0, 1)), at(2, 9, setAt("2", 1, 2)), at(3, 8, setAt("2", 1, 3))}, same("3", 3), true},
		{"one too many", []history.Op{at(0, 1, setAt("1", 0, 1)), at(2, 3, refused(setAt("2", 1, 0)))}, same("2", 2), true},
	})
}

func TestOnce(t *testing.T) {
	run(t, "once", check.Once, []scenario{
		{"sent once", []history.Op{at(0, 1, copyOf("a", set("a", 1))), at(2, 3, copyOf("b", set("b", 2)))}, same("b", 2), false},
		{"sent again", []history.Op{at(0, 1, unknown(copyOf("a", set("a", 0)))), at(2, 3, copyOf("a", set("a", 1))), at(4, 5, copyOf("b", set("b", 2))), at(6, 7, copyOf("a", set("a", 1)))}, same("b", 2), false},
		{"unknown for ever", []history.Op{at(0, 1, copyOf("a", set("a", 1))), at(2, 3, unknown(copyOf("b", set("b", 0))))}, same("b", 2), false},
		{"refused for ever", []history.Op{at(0, 1, copyOf("a", set("a", 1))), at(2, 3, refused(copyOf("b", set("b", 0))))}, same("a", 1), false},
		{"done twice, as its answers say", []history.Op{at(0, 1, copyOf("a", set("a", 1))), at(2, 3, copyOf("a", set("a", 2)))}, same("a", 2), true},
		{"done twice, as the end says", []history.Op{at(0, 1, copyOf("a", set("a", 1))), at(2, 3, copyOf("b", set("b", 2)))}, same("b", 3), true},
		{"lost", []history.Op{at(0, 1, copyOf("a", set("a", 1))), at(2, 3, copyOf("b", set("b", 2)))}, same("a", 1), true},
		{"two with one version", []history.Op{at(0, 9, copyOf("a", set("a", 1))), at(1, 8, copyOf("b", set("b", 1))), at(10, 11, copyOf("c", set("c", 2)))}, same("c", 3), true},
	})
}

func TestAdds(t *testing.T) {
	run(t, "adds", check.Adds, []scenario{
		{"there", []history.Op{at(0, 1, set("1", 1))}, same("1", 1), false},
		{"unknown, and not there", []history.Op{at(0, 1, set("1", 1)), at(2, 3, unknown(on("x", set("1", 0))))}, same("1", 1), false},
		{"acknowledged and lost", []history.Op{at(0, 1, set("1", 1)), at(2, 3, on("x", set("2", 1)))}, same("1", 1), true},
		{"lost on one node", []history.Op{at(0, 1, set("1", 1))}, map[string][]history.Entry{"n1": {entry("1", 1)}, "n2": nil}, true},
		{"refused and there", []history.Op{at(0, 1, refused(set("1", 0)))}, same("1", 1), true},
		{"unknown, and there", []history.Op{at(0, 1, unknown(set("1", 0)))}, same("1", 1), false},
		{"unknown, and there twice", []history.Op{at(0, 1, unknown(set("1", 0)))}, same("1", 2), true},
		{"unknown, and there with another value", []history.Op{at(0, 1, unknown(set("1", 0)))}, same("2", 1), true},
		{"done twice, and answered so", []history.Op{at(0, 1, set("1", 2))}, same("1", 2), true},
		{"there though nobody wrote it", []history.Op{at(0, 1, on("x", set("1", 1)))}, map[string][]history.Entry{"n1": {entry("1", 1), has("x", "1", 1)}}, true},
		{"another workflow's", []history.Op{at(0, 1, within("x", set("1", 1)))}, map[string][]history.Entry{"n1": {entry("1", 1), {Workflow: "x", Key: "k", Value: "1", Version: 1}}}, false},
	})
}

func TestSession(t *testing.T) {
	run(t, "session", check.Session, []scenario{
		{"goes on", []history.Op{at(0, 1, token(0, 7, set("1", 1))), at(2, 3, token(7, 7, get("1", 1))), at(4, 5, token(7, 9, get("2", 2)))}, nil, false},
		{"another session's past", []history.Op{at(0, 1, token(0, 7, set("1", 2))), at(2, 3, by(2, token(0, 5, get("0", 1))))}, nil, false},
		{"misses its own write", []history.Op{at(0, 1, token(0, 7, set("1", 2))), at(2, 3, token(7, 7, get("0", 1)))}, nil, true},
		{"finds nothing after its own write", []history.Op{at(0, 1, token(0, 7, set("1", 1))), at(2, 3, token(7, 7, get("", 0)))}, nil, true},
		{"goes back", []history.Op{at(0, 1, token(0, 7, get("2", 2))), at(2, 3, token(7, 8, get("1", 1)))}, nil, true},
		{"an answer from before the token", []history.Op{at(0, 1, token(7, 6, get("1", 1)))}, nil, true},
		{"left as written", []history.Op{at(0, 1, token(0, 7, set("1", 1)))}, same("1", 1), false},
		{"left by a write of unknown outcome", []history.Op{at(0, 1, token(0, 7, set("1", 1))), at(2, 3, unknown(set("2", 0)))}, same("2", 2), false},
		{"lost in the end", []history.Op{at(0, 1, token(0, 7, set("1", 1)))}, map[string][]history.Entry{"n1": nil}, true},
		{"lost on one node", []history.Op{at(0, 1, token(0, 7, set("1", 1))), at(2, 3, token(0, 8, set("2", 2)))}, final(entry("2", 2), entry("1", 1)), true},
	})
}

func TestTTL(t *testing.T) {
	second := func(op history.Op) history.Op { return lasting(time.Second, op) }
	run(t, "ttl", check.TTL, []scenario{
		{"ends in time", []history.Op{at(0, 5, second(set("1", 1))), at(500, 505, get("1", 1)), at(1001, 1003, get("", 0))}, nil, false},
		{"renewed", []history.Op{at(0, 5, second(set("1", 1))), at(800, 805, second(set("2", 2))), at(1500, 1505, get("2", 2)), at(1801, 1803, get("", 0))}, nil, false},
		{"a renewal that was refused", []history.Op{at(0, 5, second(set("1", 1))), at(800, 805, second(refused(set("2", 0)))), at(1001, 1003, get("", 0))}, nil, false},
		{"early", []history.Op{at(0, 5, second(set("1", 1))), at(980, 990, get("", 0))}, nil, true},
		{"early after a renewal", []history.Op{at(0, 5, second(set("1", 1))), at(800, 805, second(set("2", 2))), at(1500, 1505, get("", 0))}, nil, true},
		{"comes back", []history.Op{at(0, 5, second(set("1", 1))), at(1001, 1003, get("", 0)), at(1100, 1103, get("1", 1))}, nil, true},
		{"comes back in a stale read", []history.Op{at(0, 5, second(token(0, 9, set("1", 1)))), at(1001, 1003, stale(token(9, 10, get("", 0)))), at(1100, 1103, stale(token(9, 10, get("1", 1))))}, nil, true},
		{"still there in an older stale read", []history.Op{at(0, 5, second(token(0, 9, set("1", 1)))), at(1001, 1003, token(0, 10, get("", 0))), at(1100, 1103, stale(token(9, 9, get("1", 1))))}, nil, false},
		{"made by a set of unknown outcome", []history.Op{at(0, 5, second(set("1", 1))), at(10, 15, second(unknown(set("2", 0)))), at(2001, 2003, get("", 0)), at(2100, 2103, get("2", 4))}, nil, false},
		{"set again, behind its end", []history.Op{at(0, 5, second(set("1", 1))), at(1001, 1003, get("", 0)), at(1100, 1103, second(set("2", 3))), at(1200, 1203, get("2", 3))}, nil, false},
		{"early after a renewal of unknown outcome", []history.Op{at(0, 5, second(set("1", 1))), at(500, 505, second(unknown(set("2", 0)))), at(900, 905, get("", 0))}, nil, true},
	})
}

// failing gives an operation an outcome and its reason.
func failing(o history.Outcome, why string, op history.Op) history.Op {
	op.Outcome, op.Error, op.Version = o, why, 0
	return op
}

// onNode gives an operation the node that was asked.
func onNode(op history.Op) history.Op {
	op.Node = "n1"
	return op
}

func TestAnswers(t *testing.T) {
	const foreign = "an answer that is not of the contract, status 200"
	open := history.Op{Kind: history.Open, Workflow: "w", Key: "all"}
	run(t, "any", check.Answers, []scenario{
		{"done", []history.Op{at(0, 1, set("1", 1)), at(2, 3, conflict("2", 3, 1))}, nil, false},
		{"no leader", []history.Op{at(0, 1, failing(history.Refused, "NO_LEADER", get("", 0)))}, nil, false},
		{"nobody heard", []history.Op{at(0, 1, failing(history.Unknown, "no answer", set("1", 0))), at(2, 3, failing(history.Refused, "UNREACHABLE", set("1", 0)))}, nil, false},
		{"a panic in a read", []history.Op{at(0, 1, failing(history.Refused, "INTERNAL", list(0, history.Query{}, "")))}, nil, true},
		{"a panic in a write", []history.Op{at(0, 1, failing(history.Unknown, "INTERNAL", set("1", 0)))}, nil, true},
		{"a revision that an answer gave, unknown", []history.Op{at(0, 1, token(0, 7, set("1", 1))), at(2, 3, failing(history.Refused, "REVISION_UNKNOWN", stale(token(7, 0, get("", 0)))))}, nil, true},
		{"a read refused for its version", []history.Op{at(0, 1, failing(history.Refused, "VERSION_CONFLICT", get("", 0)))}, nil, true},
		{"a write refused for its version after a lost attempt", []history.Op{at(0, 1, failing(history.Unknown, "OUTCOME_UNKNOWN", setAt("1", 0, 0)))}, nil, false},
		{"not of the contract", []history.Op{at(0, 1, failing(history.Unknown, foreign, get("", 0)))}, nil, true},
		{"not of the contract, as the Go client says", []history.Op{at(0, 1, failing(history.Refused, "BAD_RESPONSE", get("", 0)))}, nil, true},
		{"an error without a code", []history.Op{at(0, 1, failing(history.Refused, "", get("", 0)))}, nil, true},
		{"blamed", []history.Op{at(0, 1, failing(history.Refused, "INVALID_REQUEST", agent(del(false))))}, nil, true},
		{"another's idempotency key", []history.Op{at(0, 1, failing(history.Refused, "IDEMPOTENCY_MISMATCH", copyOf("a", set("1", 0))))}, nil, true},
		{"forbidden to the root token", []history.Op{at(0, 1, failing(history.Refused, "FORBIDDEN", get("", 0)))}, nil, true},
		{"forbidden to an API key", []history.Op{at(0, 1, of("narrow", failing(history.Refused, "FORBIDDEN", get("", 0))))}, nil, false},
		{"an API key blamed for more", []history.Op{at(0, 1, of("narrow", failing(history.Refused, "INVALID_KEY", get("", 0))))}, nil, true},
		{"a backup", []history.Op{at(0, 1, failing(history.Refused, "INTERNAL", history.Op{Kind: history.Backup}))}, nil, true},
		{"a damaged backup, elsewhere", []history.Op{at(0, 1, set("1", 1)), at(2, 3, failing(history.Refused, "INVALID_REQUEST", history.Op{Kind: history.Restore}))}, nil, false},
		{"too many streams", []history.Op{at(0, 1, failing(history.Refused, "OVERLOADED", open)), at(2, 3, failing(history.Refused, "USAGE_LIMIT_EXCEEDED", agent(open)))}, nil, false},
		{"a stream of a node that drains refused", []history.Op{at(0, 1, failing(history.Refused, "NOT_READY", open))}, nil, true},
		{"a stream refused", []history.Op{at(0, 1, failing(history.Refused, "INVALID_REQUEST", open))}, nil, true},
	})
}

// Ensure an older build may refuse streams while it drains, and nothing else.
func TestAnswersOfOlder(t *testing.T) {
	open := failing(history.Refused, "NOT_READY", history.Op{Kind: history.Open, Workflow: "w", Key: "all"})
	read := failing(history.Refused, "NOT_READY", get("", 0))
	v := check.Answers(&history.History{Older: true, Ops: []history.Op{open, read}})
	if v.Violations != 1 {
		t.Errorf("%d violations, want that of the read: %q", v.Violations, v.Told)
	}
}

// Ensure a checker that saw nothing fails a run, unless it may have seen nothing.
func TestFailIdle(t *testing.T) {
	idle, busy, rolling := &check.Verdict{Name: "ttl"}, &check.Verdict{Name: "pages", Checked: 1}, &check.Verdict{Name: check.RollingName}
	check.FailIdle([]*check.Verdict{idle, busy, rolling})
	if idle.OK() || !busy.OK() || !rolling.OK() {
		t.Errorf("violations %d, %d, %d", idle.Violations, busy.Violations, rolling.Violations)
	}
}

// Ensure every checker says nothing of a history of refusals: then none was put
// to the test.
func TestNothingDone(t *testing.T) {
	for _, tt := range []struct {
		workload string
		check    check.Checker
		ops      []history.Op
	}{
		{"backup", check.Backup, []history.Op{at(0, 1, refused(history.Op{Kind: history.Backup})), at(2, 3, set("1", 1))}},
		{"backup", check.Backup, []history.Op{at(0, 1, history.Op{Kind: history.Backup, Revision: 7})}},
		{"isolation", check.Isolation, []history.Op{at(0, 1, refused(grant("none", "", "")))}},
		{"session", check.Session, []history.Op{at(0, 1, refused(get("", 0)))}},
		{"ttl", check.TTL, []history.Op{at(0, 1, refused(lasting(ms, set("1", 0)))), at(2, 3, get("", 0))}},
	} {
		for i := range tt.ops {
			tt.ops[i].Workload = tt.workload
		}
		if v := tt.check(&history.History{Ops: tt.ops}); v.Checked != 0 {
			t.Errorf("%s looked at %d operations", v.Name, v.Checked)
		}
	}
}

func TestVerdictsAdd(t *testing.T) {
	sum, more := &check.Verdict{Checked: 1}, &check.Verdict{Checked: 2, Notes: []string{"a figure"}}
	for range 15 {
		sum.Fail("first")
		more.Fail("again")
	}
	told := 0
	sum.Tell = func(string) { told++ }
	sum.Add(more, "epoch 2: ")
	sum.Fail("last")
	if sum.Checked != 3 || sum.Violations != 31 || len(sum.Told) != 20 || sum.Told[19] != "epoch 2: again" || sum.Notes[0] != "epoch 2: a figure" || told != 0 {
		t.Errorf("%+v", sum)
	}
	if check.AllOK([]*check.Verdict{{}, sum}) || !check.AllOK([]*check.Verdict{{}}) {
		t.Error("AllOK is wrong")
	}
}

func TestEqual(t *testing.T) {
	run(t, "any", check.Equal, []scenario{
		{"equal", nil, same("1", 1), false},
		{"another value", nil, final(entry("1", 1), entry("2", 1)), true},
		{"another version", nil, final(entry("1", 1), entry("1", 2)), true},
		{"a key is missing", nil, map[string][]history.Entry{"n1": {entry("1", 1)}, "n2": nil}, true},
		{"a key too many", nil, map[string][]history.Entry{"n1": nil, "n2": {entry("1", 1)}}, true},
		{"nobody was read", nil, nil, true},
		{"a subject in place of the workflow of its name", nil, final(entry("1", 1), history.Entry{Workflow: "w", Agent: true, Key: "k", Value: "1", Version: 1}), true},
	})
}
