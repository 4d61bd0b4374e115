package check

import (
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
)

// CalmName is that of Calm's verdict.
const CalmName = "calm"

// promptly is how soon an error comes that is none of slowness.
const promptly = time.Second

// Stretch is a time in which nothing hurt the cluster, nor had done so shortly
// before.
type Stretch struct{ From, To time.Duration }

// Calm checks what a prober asked, and was answered, while nothing hurt the
// cluster: every request succeeds. No other promise keeps a node from refusing a
// part of all requests. How long they take is not judged; where things may take
// longer than is promised, only errors count that come promptly.
func Calm(h *history.History, prober string, calm []Stretch) *Verdict {
	v := &Verdict{Name: CalmName, Promise: "while nothing hurts the cluster no request fails"}
	for _, op := range h.Of(prober) {
		if !within(op, calm) {
			continue
		}
		v.Checked++
		isSlow := h.Slack > 1 && op.Return-op.Call > promptly
		if op.Outcome != history.OK && !isSlow {
			v.Fail("the %s failed: %s %s", describe(op), op.Outcome, op.Error)
		}
	}
	return v
}

// within reports whether the whole of an operation lies in one of the stretches.
func within(op history.Op, stretches []Stretch) bool {
	for _, s := range stretches {
		if s.From <= op.Call && op.Return < s.To {
			return true
		}
	}
	return false
}
