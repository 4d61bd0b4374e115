package check

import "github.com/stateraft/stateraft/cmd/torture/internal/history"

// agentRegister is the key of a subject that has no other: only then its
// versions follow from its own operations.
const agentRegister = "k"

// Agent checks that keys of Agent State are registers, as Linearizable does.
func Agent(h *history.History) *Verdict {
	var ops []history.Op
	for _, op := range h.Of("agent") {
		if op.Key == agentRegister {
			ops = append(ops, op)
		}
	}
	return linearizable(ops, &Verdict{Name: "agent state", Promise: "reads and writes of a subject's key take effect one after the other, between call and return"})
}

// AgentLists checks the lists and streams of subjects: each shows the subject's
// own keys, as they were at its revision.
func AgentLists(h *history.History) *Verdict {
	v := &Verdict{Name: "agent lists", Promise: "a subject's lists and streams show its own keys as they were at their revision"}
	compare(h, "agent", v)
	return v
}
