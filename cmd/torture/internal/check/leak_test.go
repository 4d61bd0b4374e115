package check_test

import (
	"testing"

	"github.com/stateraft/stateraft/cmd/torture/internal/check"
	"github.com/stateraft/stateraft/cmd/torture/internal/history"
)

// Ensure events of another workflow, behind all that is known of this one, are
// told and nothing else.
func TestLeakedEvents(t *testing.T) {
	ops := []history.Op{at(0, 1, token(0, 10, set("1", 1)))}
	own := event("set", 10, 1, "null", "1")
	for _, leaked := range []history.Event{event("set", 12, 1, "null", "9"), event("expire", 1<<63, 1, "9", "null"), event("set", 5, 1, "null", "9")} {
		leaked.Scope = "x"
		for _, events := range [][]history.Event{{own, leaked}, {leaked, own}, {leaked}} {
			h := followed("stream", ops, told("s", events...), nil)
			v := check.Stream(h)
			if want := 1 + (2 - len(events)); v.Violations != want {
				t.Errorf("%+v: %d violations, want %d: %q", events, v.Violations, want, v.Told)
			}
		}
	}
}
