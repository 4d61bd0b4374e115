package cluster

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stateraft/stateraft/cluster/clusterpb"
)

// Ensure an administrative call whose answer is lost is told as one of unknown
// outcome: the leader may have carried it out.
func TestAdministerLosesAnswer(t *testing.T) {
	n := &Node{
		id:      &identity{record: identityRecord{NodeID: "n1"}},
		leaders: &leaders{now: leader{id: "n2", ctx: t.Context()}},
		call: func(context.Context, string, *clusterpb.Request) (*clusterpb.Response, error) {
			return nil, fmt.Errorf("%w: the connection broke", errBroken)
		},
	}
	if err := n.RemoveMember(t.Context(), "n3"); !errors.Is(err, ErrOutcomeUnknown) {
		t.Errorf("%v, want %v", err, ErrOutcomeUnknown)
	}
}
