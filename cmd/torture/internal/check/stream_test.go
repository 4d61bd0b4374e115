package check_test

import (
	"testing"

	"github.com/stateraft/stateraft/cmd/torture/internal/check"
	"github.com/stateraft/stateraft/cmd/torture/internal/history"
)

// event is a change of key k.
func event(kind string, revision, version uint64, old, value string) history.Event {
	return history.Event{Subscriber: "s", Workflow: "w", Type: kind, Key: "k", Revision: revision, Version: version, Old: old, New: value}
}

func TestStream(t *testing.T) {
	ops := []history.Op{
		at(0, 1, set("1", 1)), at(2, 3, set("2", 2)), at(4, 5, token(0, 13, del(true))), at(6, 7, lasting(ms, set("3", 4))),
		at(8, 9, unknown(set("4", 0))), at(10, 11, refused(set("5", 0))),
	}
	for i := range ops {
		ops[i].Workload = "stream"
	}
	first, second := event("set", 10, 1, "null", "1"), event("set", 12, 2, "1", "2")
	third, fourth := event("delete", 13, 3, "2", "null"), event("set", 20, 4, "null", "3")
	all := []history.Event{first, second, third, fourth}
	change := func(i int, to history.Event) []history.Event {
		events := append([]history.Event{}, all...)
		events[i] = to
		return events
	}
	for _, tt := range []struct {
		name   string
		events []history.Event
		wrong  bool
	}{
		{"each once", all, false},
		{"with the unknown one", append(all[:4:4], event("set", 21, 5, "3", "4")), false},
		{"with an expiry", append(all[:4:4], event("expire", 21, 5, "3", "null")), false},
		{"told as of an atomic write", change(0, in(10, 10, first)), true},
		{"a delete told as of an atomic write", change(2, in(13, 13, third)), true},
		{"an expiry told as of an atomic write", append(all[:4:4], in(21, 21, event("expire", 21, 5, "3", "null"))), true},
		{"first dropped", all[1:], true},
		{"one dropped", []history.Event{first, third, fourth}, true},
		{"delete dropped", []history.Event{first, second, fourth}, true},
		{"last dropped", all[:3], true},
		{"all dropped", nil, true},
		{"one twice", []history.Event{first, second, second, third, fourth}, true},
		{"last twice, after a resume", append(all[:4:4], fourth), true},
		{"in another order", []history.Event{second, first, third, fourth}, true},
		{"revision reset", change(3, event("set", 5, 4, "null", "3")), true},
		{"version reset", change(3, event("set", 20, 1, "null", "3")), true},
		{"another version than the answer's", change(0, event("set", 10, 2, "null", "1")), true},
		{"another value before", change(1, event("set", 12, 2, "7", "2")), true},
		{"another value", change(1, event("set", 12, 2, "1", "7")), true},
		{"the refused one", append(all[:4:4], event("set", 21, 5, "3", "5")), true},
		{"one that nobody wrote", append(all[:4:4], event("set", 21, 5, "3", "9")), true},
		{"unknown one twice", append(all[:4:4], event("set", 21, 5, "3", "4"), event("set", 22, 6, "4", "4")), true},
		{"delete twice", append(all[:3:3], event("delete", 14, 4, "null", "null"), fourth), true},
		{"all keys, although the history reaches", append(all[:4:4], event("resync", 0, 0, "", ""), event("snapshot", 0, 4, "null", "3"), event("synced", 20, 0, "", "")), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := &history.History{Ops: ops, Events: tt.events, Subscribers: map[string]history.Subscriber{"s": {Workload: "stream", Workflow: "w", Follows: true}}}
			if v := check.Stream(h); v.OK() == tt.wrong {
				t.Errorf("%d violations: %q", v.Violations, v.Told)
			}
		})
	}
}
