package check

import (
	"maps"
	"slices"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
)

// Stream checks subscribers that resume at other nodes, and streams that begin
// anywhere: every change that was acknowledged comes once, whole and in the
// order of revisions, and nothing that was refused.
func Stream(h *history.History) *Verdict {
	v := &Verdict{Name: "streams", Promise: "a subscriber that resumes gets each change once and in order, and catches up"}
	compare(h, "stream", v)
	return v
}

// Atomic checks writes of several keys, and reads beside them: a reader, a list
// and a stream see all changes of a write together or none, and every answer is
// that of the state at its revision.
func Atomic(h *history.History) *Verdict {
	v := &Verdict{Name: "atomic writes", Promise: "several keys change together or not at all, and each answer is of the state at its revision"}
	compare(h, "atomic", v)
	return v
}

// Pages checks lists that are read page by page while keys come and go: each
// page is what lies behind the last one in the state at its own revision.
func Pages(h *history.History) *Verdict {
	v := &Verdict{Name: "pages", Promise: "each page of a list is the whole of its piece of the state at its revision"}
	compare(h, "pages", v)
	return v
}

// compare checks all that was seen of the workflows of one workload, and what is
// left of them in the end, against the changes that its subscribers were told of.
func compare(h *history.History, workload string, v *Verdict) {
	ops := map[string][]history.Op{}
	for _, op := range h.Of(workload) {
		v.Checked++
		ops[op.Workflow] = append(ops[op.Workflow], op)
	}
	all := truths(h, workload, v)
	resyncs, skipped := 0, 0
	for _, workflow := range slices.Sorted(maps.Keys(all)) {
		t := all[workflow]
		questions := t.compareWrites(v, ops[workflow])
		questions = append(questions, compareTellings(slices.Concat(t.tellings, t.inTheEnd(h)))...)
		skipped += t.replay(v, append(questions, compareReads(ops[workflow])...))
		resyncs += len(t.tellings)
	}
	if resyncs > 0 {
		v.note("%d times all keys were told in place of changes", resyncs)
	}
	if skipped > 0 {
		v.note("%d answers are of states that nobody was told of", skipped)
	}
	if begun, silent := startsOf(h, workload); begun > 0 {
		v.note("%d of %d streams that began anywhere told nothing", silent, begun)
	}
}

// startsOf counts the streams that began anywhere and were left soon, and those of
// them that told nothing.
func startsOf(h *history.History, workload string) (begun, silent int) {
	told := map[string]bool{}
	for _, e := range h.Events {
		told[e.Subscriber] = true
	}
	for name, s := range h.Subscribers {
		if s.Workload != workload || s.Follows {
			continue
		}
		begun++
		if !told[name] {
			silent++
		}
	}
	return begun, silent
}
