package main

import (
	"fmt"

	"github.com/stateraft/stateraft/cmd/torture/internal/check"
)

// Bounds of what a verdict over many epochs tells.
const (
	mostTold  = 20
	mostNotes = 20
)

// all are the verdicts of the run itself and those of the checkers.
func (t *tester) all() []*check.Verdict {
	return append([]*check.Verdict{t.liveness, t.process, t.hashes, t.streams, t.order}, t.verdicts...)
}

// found reports whether the check of that name, or any, has found a violation.
func found(name string, verdicts []*check.Verdict) bool {
	for _, v := range verdicts {
		if !v.OK() && (name == v.Name || name == "any") {
			return true
		}
	}
	return false
}

func allOK(verdicts []*check.Verdict) bool {
	for _, v := range verdicts {
		if !v.OK() {
			return false
		}
	}
	return true
}

// merge adds what the checkers found in one epoch to what they found before.
func (t *tester) merge(epoch int, found []*check.Verdict) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.verdicts) == 0 {
		t.verdicts = found
		return
	}
	for i, v := range found {
		add(t.verdicts[i], v, fmt.Sprintf("epoch %d: ", epoch))
	}
}

// add adds v, whose texts get a prefix, to sum. The first picture stays.
func add(sum, v *check.Verdict, prefix string) {
	sum.Checked += v.Checked
	sum.Violations += v.Violations
	for _, told := range v.Told[:min(len(v.Told), mostTold-len(sum.Told))] {
		sum.Told = append(sum.Told, prefix+told)
	}
	for _, note := range v.Notes[:min(len(v.Notes), mostNotes-min(mostNotes, len(sum.Notes)))] {
		sum.Notes = append(sum.Notes, prefix+note)
	}
	if sum.Picture == nil {
		sum.Picture = v.Picture
	}
}
