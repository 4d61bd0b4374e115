// Package report tells people what a run did and found: a page of HTML that
// needs nothing else, and a text.
package report

import (
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/check"
	"github.com/stateraft/stateraft/cmd/torture/internal/history"
)

// Run is all there is to tell.
type Run struct {
	Command  string // to repeat it
	Seed     uint64
	Version  string // what the server says of itself
	Build    string // hash of its binary
	Tester   string // hash of the tester's
	Started  time.Time
	Duration time.Duration // from the begin to the end of load
	Nodes    []string
	Isolated bool

	Faults    []Fault
	Workloads []string
	Skipped   []string // faults that could not be had, and why
	Verdicts  []*check.Verdict
	Digest    *Digest
	Probe     string // workload of the prober
	Epochs    []Epoch
	Samples   []history.Sample // of what the nodes used, in the order of time
	Unusable  error            // why the run cannot be judged, as far as no promise was broken; nil: it can
}

// Epoch is a time in which workloads worked on keys of their own.
type Epoch struct{ Begin, End time.Duration }

// Fault is one that was carried out. Times count from the start of the run.
type Fault struct {
	Round int
	Name  string
	Row   string
	Kind  string
	What  string
	Begin time.Duration
	End   time.Duration
	Whole time.Duration // from when the cluster was whole again; 0: it was not
	Error string        // why it could not be carried out
}

// Healing is how long after its end the cluster was whole.
func (f Fault) Healing() time.Duration { return f.Whole - f.End }

// OK reports whether every promise was kept.
func (r *Run) OK() bool { return check.AllOK(r.Verdicts) }

// Failed is how many faults could not be carried out.
func (r *Run) Failed() (n int) {
	for _, f := range r.Faults {
		if f.Error != "" {
			n++
		}
	}
	return n
}
