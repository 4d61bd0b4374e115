package check_test

import (
	"fmt"
	"testing"

	"github.com/stateraft/stateraft/cmd/torture/internal/check"
	"github.com/stateraft/stateraft/cmd/torture/internal/history"
)

// Ensure refusals that are to carry the present value do so, if not always.
func TestPresentValues(t *testing.T) {
	refusals := func(n int, refuse func(i int) history.Op) []history.Op {
		ops := []history.Op{at(0, 1, set("1", 1))}
		for i := range n {
			ops = append(ops, at(2+2*i, 3+2*i, refuse(i)))
		}
		return ops
	}
	asked := func(present string) history.Op {
		return with(present, no(1, when(history.IfAbsent, 0, set("2", 0))))
	}
	never := func(int) history.Op { return asked("") }
	for _, tt := range []struct {
		name  string
		ops   []history.Op
		wrong bool
	}{
		{"never", refusals(20, never), true},
		{"once", refusals(40, func(i int) history.Op {
			if i == 30 {
				return asked("1")
			}
			return asked("")
		}), false},
		{"too few to say", refusals(19, never), false},
		{"of absent keys", refusals(40, func(i int) history.Op {
			return within(fmt.Sprint("w", i), with("", no(0, when(history.IfExists, 0, set("2", 0)))))
		}), false},
		{"not asked for", refusals(40, func(int) history.Op { return conflict("2", 7, 1) }), false},
	} {
		run(t, "register", check.Linearizable, []scenario{{tt.name, tt.ops, nil, tt.wrong}})
	}
}
