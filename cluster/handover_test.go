package cluster

import (
	"context"
	"errors"
	"testing"
	"time"
)

// Ensure what a hand-over says of itself: without a leader that is known nobody
// can tell whether the one that was told to lead still will.
func TestAwaitSuccessor(t *testing.T) {
	own := &identity{record: identityRecord{NodeID: "n1"}}
	term, next := new(leadTerm), new(leadTerm)
	for name, tt := range map[string]struct {
		leader string
		term   *leadTerm
		want   error
	}{
		"another leads":                 {"n2", nil, nil},
		"another leads, not noticed":    {"n2", term, nil},
		"leads anew":                    {"n1", next, errNotLeader},
		"still leads":                   {"n1", term, ErrOutcomeUnknown},
		"nobody leads":                  {"", nil, ErrOutcomeUnknown},
		"nobody leads, not noticed yet": {"", term, ErrOutcomeUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			n := &Node{id: own, leaders: &leaders{now: leader{id: tt.leader, ctx: t.Context()}}}
			n.term.Store(tt.term)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer cancel()
			if err := n.awaitSuccessor(ctx, term, "n2"); !errors.Is(err, tt.want) {
				t.Errorf("%v, want %v", err, tt.want)
			}
		})
	}
}
