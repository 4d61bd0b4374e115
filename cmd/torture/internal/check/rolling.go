package check

import (
	"fmt"
	"slices"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
)

// Step is the replacement of one node's process. All times are the history's.
type Step struct {
	Node     string
	From, To string // builds
	Led      bool
	Lingers  bool          // the process that is ended still serves those who thought it ready
	Begin    time.Duration // it is sent SIGTERM
	Ended    time.Duration
	Ready    time.Duration // the next process says that it is
}

// Span is a time in which a node counted as ready, because it had said so
// shortly before.
type Span struct {
	Node     string
	From, To time.Duration
}

// blamed are the errors that tell the caller what is wrong with the request.
var blamed = []string{
	"UNAUTHORIZED", "FORBIDDEN", "NOT_FOUND", "INVALID_REQUEST", "INVALID_KEY", "INVALID_TTL", "VALUE_REQUIRED",
	"TOO_LARGE", "METHOD_NOT_ALLOWED", "IDEMPOTENCY_MISMATCH", "VERSION_CONFLICT",
}

// RollingName is that of Rolling's verdict.
const RollingName = "rolling"

// Rolling checks that no request fails that is sent, while a node is being
// replaced, to a node that counts as ready. One that has just been told to end, and
// was ready when it was last asked, still counts if it lingers; if it does not, the
// Go client, which may have asked it, cannot be blamed either. A failure is any outcome but
// a success, a conflict, or an error that blames the request.
//
// Excused is the share of the steps, of those that linger and of the others, at
// which requests may fail because of something else than the step. 0: none; 1:
// all, so that it only tells.
func Rolling(h *history.History, steps []Step, ready []Span, excused float64) *Verdict {
	v := &Verdict{Name: RollingName, Promise: "while nodes are replaced no request to a ready node fails"}
	failures := map[bool][][]string{}
	for _, s := range steps {
		failures[s.Lingers] = append(failures[s.Lingers], v.step(h, s, ready))
	}
	v.judge(failures[false], excused)
	v.judge(failures[true], excused)
	return v
}

// judge fails if more than the excused share of the steps have failures.
func (v *Verdict) judge(steps [][]string, excused float64) {
	hit := slices.DeleteFunc(slices.Clone(steps), func(failures []string) bool { return len(failures) == 0 })
	if float64(len(hit)) <= excused*float64(len(steps)) {
		return
	}
	for _, f := range slices.Concat(hit...) {
		v.Fail("%s", f)
	}
}

// step notes what a step was like, and returns the failures that no step should
// cause.
func (v *Verdict) step(h *history.History, s Step, ready []Span) (failures []string) {
	var sent, failed, late, byClient int
	var slowest time.Duration
	for _, op := range h.Ops {
		switch {
		case op.Call < s.Begin || op.Call > s.Ready || op.Node != "" && !counts(op, ready):
			continue
		case op.Kind.IsWrite():
			slowest = max(slowest, op.Return-op.Call)
		}
		sent++
		if op.Outcome == history.OK || slices.Contains(blamed, op.Error) {
			continue
		}
		failed++
		draining := op.Node == s.Node && before(op, s, ready)
		switch {
		case op.Node == "":
			byClient++
		case draining:
			late++
		}
		if s.Lingers || !draining && op.Node != "" {
			failures = append(failures, fmt.Sprintf("%s at %v: %s failed: %s %s", s.Node, round(s.Begin), describe(op), op.Outcome, op.Error))
		}
	}
	v.Checked += sent
	led := ""
	if s.Led {
		led = ", the leader"
	}
	v.note("%s%s, %s to %s: ended after %v, ready after %v; of %d requests to ready nodes %d failed (%d at the node that drained, %d in the Go client); no write for %v, slowest write %v",
		s.Node, led, s.From, s.To, round(s.Ended-s.Begin), round(s.Ready-s.Begin), sent, failed, late, byClient, round(longestGap(h, s)), round(slowest))
	return failures
}

// counts reports whether the node that was asked counted as ready.
func counts(op history.Op, ready []Span) bool {
	return slices.ContainsFunc(ready, func(s Span) bool { return s.Node == op.Node && s.From <= op.Call && op.Call <= s.To })
}

// before reports whether the node counted as ready because of the process that
// the step ended.
func before(op history.Op, s Step, ready []Span) bool {
	return slices.ContainsFunc(ready, func(r Span) bool { return r.Node == op.Node && r.From < s.Ended && op.Call <= r.To })
}

// longestGap is the longest time without the acknowledgement of a write by any
// node that overlaps with the step.
func longestGap(h *history.History, s Step) (longest time.Duration) {
	var acked []time.Duration
	for _, op := range h.Ops {
		if op.Kind.IsWrite() && op.Outcome == history.OK && !op.Conflict {
			acked = append(acked, op.Return)
		}
	}
	slices.Sort(acked)
	for i, at := range acked[min(1, len(acked)):] {
		if at > s.Begin && acked[i] < s.Ready {
			longest = max(longest, at-acked[i])
		}
	}
	return longest
}

func round(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
