package check_test

import (
	"testing"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/check"
	"github.com/stateraft/stateraft/cmd/torture/internal/history"
)

// Ensure a key ends by itself only if its last write gave it a TTL.
func TestExpiryWithoutTTL(t *testing.T) {
	first := at(0, 1, token(0, 10, lasting(time.Second, set("1", 1))))
	plain := at(2, 3, token(0, 11, set("2", 2)))
	ended := event("expire", 12, 3, "2", "null")
	step := at(2, 3, atomic(11, history.Step{Kind: history.Set, Key: "k", Value: "2", Version: 2}))
	for _, tt := range []struct {
		name    string
		replace history.Op // the first write
		events  []history.Event
		wrong   bool
	}{
		{"stays", plain, nil, false},
		{"renewed, and ends", lasting(time.Second, plain), []history.Event{ended}, false},
		{"replaced without a TTL, and ends", plain, []history.Event{ended}, true},
		{"replaced without a TTL by a write of unknown outcome, and ends", unknown(plain), []history.Event{ended}, true},
		{"replaced on condition of its version, and ends", at(2, 3, token(0, 11, setAt("2", 1, 2))), []history.Event{ended}, true},
		{"replaced by an atomic write, and ends", step, []history.Event{ended}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			second := event("set", 11, 2, "1", "2")
			if tt.replace.Kind == history.Atomic {
				second = in(11, 11, second)
			}
			events := told("s", append([]history.Event{event("set", 10, 1, "null", "1"), second}, tt.events...)...)
			judge(t, check.Stream(followed("stream", []history.Op{first, tt.replace}, events, nil)), tt.wrong)
		})
	}
}

func TestTTLIsTaken(t *testing.T) {
	first := at(0, 5, lasting(time.Second, set("1", 1)))
	plain := at(100, 105, set("2", 2))
	run(t, "ttl", check.TTL, []scenario{
		{"there behind its old end, then deleted", []history.Op{first, plain, at(1500, 1505, get("2", 2)), at(1510, 1515, del(true)), at(1520, 1525, get("", 0))}, nil, false},
		{"a delete of unknown outcome", []history.Op{first, plain, at(1500, 1505, get("2", 2)), at(1510, 1515, unknown(del(true))), at(1520, 1525, get("", 0))}, nil, false},
		{"gone with its old end", []history.Op{first, plain, at(1500, 1505, get("", 0))}, nil, true},
		{"a delete that was refused", []history.Op{first, plain, at(1510, 1515, refused(del(true))), at(1520, 1525, get("", 0))}, nil, true},
		{"a set of unknown outcome, and ends in time", []history.Op{first, unknown(plain), at(1500, 1505, get("", 0))}, nil, false},
		{"a set with a TTL that may come yet", []history.Op{first, at(50, 60, unknown(lasting(time.Second, set("3", 0)))), plain, at(1500, 1505, get("", 0))}, nil, false},
	})
}
