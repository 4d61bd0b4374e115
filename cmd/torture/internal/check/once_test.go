package check_test

import (
	"slices"
	"testing"

	"github.com/stateraft/stateraft/cmd/torture/internal/check"
	"github.com/stateraft/stateraft/cmd/torture/internal/history"
)

// Ensure all copies of a write with an idempotency key have one answer and one
// effect, whatever kind of write it is.
func TestOnceOfAllKinds(t *testing.T) {
	in := func(workflow string, ops ...history.Op) []history.Op {
		all := slices.Clone(ops)
		for i := range all {
			all[i].Workflow = workflow
		}
		return all
	}
	register := func(ops ...history.Op) []history.Op { return in("once r0-0", ops...) }
	stepOf := func(kind history.Kind, value string, version uint64, found bool) history.Op {
		return history.Op{Kind: history.Atomic, Steps: []history.Step{{Kind: kind, Key: "k", Value: value, Version: version, Found: found}}}
	}
	both := func(first, second uint64) history.Op {
		return history.Op{Kind: history.Atomic, Steps: []history.Step{{Kind: history.Set, Key: "k", Value: "1", Version: first}, {Kind: history.Set, Key: "l", Value: "1", Version: second}}}
	}
	one := at(0, 1, copyOf("a", set("1", 1)))
	gone := at(2, 3, copyOf("b", del(true)))
	anew := at(4, 5, copyOf("c", set("2", 3)))
	second := at(4, 5, copyOf("c", set("2", 2)))
	late := at(6, 7, copyOf("b", del(true)))
	none := map[string][]history.Entry{"n1": nil}
	run(t, "once", check.Once, []scenario{
		{"a late copy of a delete", register(one, gone, anew, late, at(8, 9, get("2", 3))), none, false},
		{"a late copy that deletes again", register(one, gone, anew, late, at(8, 9, get("", 0))), none, true},
		{"a copy of a delete with another answer", register(one, gone, at(4, 5, copyOf("b", del(false)))), none, true},
		{"a copy of a conflict", register(one, at(2, 3, copyOf("b", conflict("2", 7, 1))), second, at(6, 7, copyOf("b", conflict("2", 7, 1)))), none, false},
		{"a copy of a conflict with a later answer", register(one, at(2, 3, copyOf("b", conflict("2", 7, 1))), second, at(6, 7, copyOf("b", conflict("2", 7, 2)))), none, true},
		{"a copy of a conflict that writes", register(one, at(2, 3, copyOf("b", conflict("2", 7, 1))), at(4, 5, copyOf("b", setAt("2", 7, 2)))), none, true},
		{"a lost answer, and a copy's", register(at(0, 1, unknown(copyOf("a", set("1", 0)))), at(8, 9, copyOf("a", set("1", 1))), at(2, 3, get("1", 1))), none, false},
		{"lost answers alone", register(one, at(2, 3, unknown(copyOf("b", set("2", 0)))), at(4, 5, unknown(copyOf("b", set("2", 0)))), at(8, 9, get("2", 2))), none, false},
		{"lost answers alone, and two effects", register(one, at(2, 3, unknown(copyOf("b", set("2", 0)))), at(4, 5, unknown(copyOf("b", set("2", 0)))), at(8, 9, get("2", 3))), none, true},
		{"a step", register(at(0, 1, copyOf("a", stepOf(history.Set, "1", 1, false))), at(2, 3, get("1", 1)), at(4, 5, copyOf("b", stepOf(history.Delete, "", 2, true))), at(6, 7, get("", 0))), none, false},
		{"a step whose copy has another answer", register(at(0, 1, copyOf("a", stepOf(history.Set, "1", 1, false))), at(4, 5, copyOf("a", stepOf(history.Set, "1", 2, false)))), none, true},
		{"a copy as of another revision", register(token(0, 7, one), at(2, 3, token(0, 8, copyOf("a", set("1", 1))))), none, true},
		{"a copy whose revision is not told", register(token(0, 7, one), at(2, 3, copyOf("a", set("1", 1))), at(4, 5, token(0, 7, copyOf("a", set("1", 1))))), none, false},
		{"several keys", in("w", at(0, 1, copyOf("a", both(1, 1))), at(2, 3, copyOf("b", both(2, 2)))), map[string][]history.Entry{"n1": {entry("1", 2), has("l", "1", 2)}}, false},
		{"several keys, twice", in("w", at(0, 1, copyOf("a", both(1, 1))), at(2, 3, copyOf("b", both(2, 2)))), map[string][]history.Entry{"n1": {entry("1", 3), has("l", "1", 2)}}, true},
		{"several keys, one of them answered anew", in("w", at(0, 1, copyOf("a", both(1, 1))), at(2, 3, copyOf("a", both(1, 2)))), map[string][]history.Entry{"n1": {entry("1", 1), has("l", "1", 1)}}, true},
	})
}
