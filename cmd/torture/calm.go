package main

import (
	"slices"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/check"
	"github.com/stateraft/stateraft/cmd/torture/internal/report"
	"github.com/stateraft/stateraft/cmd/torture/internal/wire"
)

// calmPause is how long after a fault, or the begin of an epoch, a cluster that is
// whole may still fail a request.
const calmPause = time.Second

// calmAtFirst is how long a long epoch is calm for certain, at its begin: longer
// than nodes are told to try, so that requests that wait for that long count.
const calmAtFirst = wire.NodeTimeout + 1500*time.Millisecond

// passes are the rows of the fault matrix that leave nothing behind once the
// cluster is whole. Clocks that drifted, changed members and builds, disks that
// were full, slow or damaged, and crowds of clients may.
var passes = []string{
	"N1", "N2", "N3", "N4", "N5", "N6", "N7", "N8", "N9",
	"P1", "P2", "P3", "P4", "P5", "D1", "D2", "D3", "S1", "S2",
}

// calm returns when nothing hurt the cluster in an epoch, by the epoch's times.
func (t *tester) calm(e *epoch) (calm []check.Stretch) {
	t.mu.Lock()
	defer t.mu.Unlock()
	pause := t.config.slacken(calmPause)
	begin, end := e.begin, t.epochs[e.number].End
	add := func(from, to time.Duration) {
		from, to = max(from, begin)+pause-begin, min(to, end)-begin
		if from < to {
			calm = append(calm, check.Stretch{From: from, To: to})
		}
	}
	from, isCalm := begin, true
	for _, round := range rounds(t.faults) {
		if isCalm {
			add(from, round.begin)
		}
		from, isCalm = round.whole, round.passes
	}
	if isCalm {
		add(from, end)
	}
	return calm
}

// round is what faults that overlap were together.
type round struct {
	number       int
	begin, whole time.Duration
	passes       bool // what they did is over since the cluster was whole
}

// rounds puts faults together, which come in the order of their rounds.
func rounds(faults []report.Fault) (all []round) {
	for _, f := range faults {
		if n := len(all); n == 0 || all[n-1].number != f.Round {
			all = append(all, round{number: f.Round, begin: f.Begin, whole: f.Whole, passes: f.Whole > 0})
		}
		r := &all[len(all)-1]
		r.begin = min(r.begin, f.Begin)
		r.passes = r.passes && f.Error == "" && slices.Contains(passes, f.Row)
	}
	return all
}
