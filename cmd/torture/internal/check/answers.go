package check

import (
	"slices"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
)

// bearable are the errors that a right request may meet on a cluster that is
// hurt: nobody was heard, or a node says what it lacks.
var bearable = []string{
	"no answer", "unreachable", "NO_ANSWER", "UNREACHABLE",
	"NO_LEADER", "BEHIND", "OUTCOME_UNKNOWN", "OVERLOADED", "USAGE_LIMIT_EXCEEDED", "DISK_FULL",
}

// ofKeys are those that API keys bring about, which Isolation looks at.
var ofKeys = []string{"FORBIDDEN", "UNAUTHORIZED", history.StillOpen}

// Answers checks, in all workloads, why requests fail: all of them are right, so
// none meets a bug of a node, an answer that is not of the contract, or an error
// that blames the request. A revision is only ever asked for that an answer gave,
// so none is unknown to a cluster that is not restored itself. What answers say is
// for the other checkers, and so is what another cluster says of a backup.
func Answers(h *history.History) *Verdict {
	v := &Verdict{Name: "answers", Promise: "a right request is done, or fails because a node lacks something"}
	for _, op := range h.Ops {
		if op.Kind == history.Restore || op.Kind == history.Resume {
			continue
		}
		v.Checked++
		switch {
		case op.Outcome == history.OK, slices.Contains(bearable, op.Error):
		case h.Older && op.Kind == history.Open && op.Error == "NOT_READY": // a stream of a node that drained
		case op.Token != "" && slices.Contains(ofKeys, op.Error):
		default:
			v.Fail("the %s failed: %s %q", describe(op), op.Outcome, op.Error)
		}
	}
	return v
}
