// Package check says whether a history keeps what the store promises. Its
// checkers look at the history alone, so that each is proven by forged ones.
package check

import (
	"fmt"
	"slices"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
)

// Bounds of what a verdict tells in words.
const (
	mostTold  = 20
	mostNotes = 20
)

// Verdict is what one checker found.
type Verdict struct {
	Name    string
	Promise string
	Checked int      // operations, events or entries looked at
	Notes   []string // figures that are no violation

	Violations int      // in all
	Told       []string // the first of them

	// Undecided says why the checker has no answer, which is nobody's fault but
	// the tester's. Nil: it has one.
	Undecided error

	// Tell is called with each violation that is told, at once. Nil: nobody is.
	Tell func(told string)

	// Picture writes an HTML page that shows the violation. Nil: there is none.
	Picture func(path string) error
}

// OK reports whether the promise was kept, as far as the history can tell.
func (v *Verdict) OK() bool { return v.Violations == 0 }

// Fail adds a violation.
func (v *Verdict) Fail(format string, args ...any) {
	v.Violations++
	if len(v.Told) == mostTold {
		return
	}
	told := fmt.Sprintf(format, args...)
	v.Told = append(v.Told, told)
	if v.Tell != nil {
		v.Tell(told)
	}
}

// FailIdle fails those of a run's verdicts that had nothing to look at: a promise
// that nobody put to the test was not kept. Rolling may have had no step.
func FailIdle(verdicts []*Verdict) {
	for _, v := range verdicts {
		if v.Checked == 0 && v.Name != RollingName {
			v.Fail("nothing was looked at: a fault of the tester, or nothing works")
		}
	}
}

// Add adds what the same checker found elsewhere, whose texts get a prefix. The
// first picture stays.
func (v *Verdict) Add(other *Verdict, prefix string) {
	v.Checked += other.Checked
	v.Violations += other.Violations
	v.Told = extend(v.Told, other.Told, prefix, mostTold)
	v.Notes = extend(v.Notes, other.Notes, prefix, mostNotes)
	if v.Picture == nil {
		v.Picture = other.Picture
	}
}

// extend adds texts to others, up to a number.
func extend(all, more []string, prefix string, most int) []string {
	for _, text := range more[:max(0, min(len(more), most-len(all)))] {
		all = append(all, prefix+text)
	}
	return all
}

// AllOK reports whether all promises were kept.
func AllOK(verdicts []*Verdict) bool {
	return !slices.ContainsFunc(verdicts, func(v *Verdict) bool { return !v.OK() })
}

func (v *Verdict) note(format string, args ...any) {
	v.Notes = append(v.Notes, fmt.Sprintf(format, args...))
}

// A Checker looks at a whole history and takes from it what concerns it.
type Checker func(*history.History) *Verdict

// All are the checkers by the workload whose promise they check. Those of ""
// look at all workloads.
var All = []struct {
	Workload string
	Check    Checker
}{
	{"register", Linearizable},
	{"counter", Counter},
	{"once", Once},
	{"adds", Adds},
	{"session", Session},
	{"ttl", TTL},
	{"stream", Stream},
	{"atomic", Atomic},
	{"pages", Pages},
	{"lock", Fencing},
	{"agent", Agent},
	{"agent", AgentLists},
	{"isolation", Isolation},
	{"backup", Backup},
	{"", Revisions},
	{"", Versions},
	{"", Equal},
	{"", Answers},
}

// Names returns those of all verdicts of All.
func Names() (names []string) {
	for _, c := range All {
		names = append(names, c.Check(&history.History{}).Name)
	}
	return names
}

// slot is a key in its workflow, of a project, or of a subject.
type slot struct{ workflow, key string }

func (s slot) String() string { return s.workflow + "/" + s.key }

func slotOf(op history.Op) slot {
	workflow := op.Workflow
	if op.Agent {
		workflow = "subject " + workflow
	}
	if op.Project != "" {
		workflow = op.Project + ": " + workflow
	}
	return slot{workflow, op.Key}
}

// placeOf is where an entry of the end is.
func placeOf(e history.Entry) slot {
	return slotOf(history.Op{Workflow: e.Workflow, Agent: e.Agent, Key: e.Key})
}

// describe says an operation in words.
func describe(op history.Op) string {
	where := op.Node
	if where == "" {
		where = "the Go client"
	}
	return fmt.Sprintf("%s of %s at %s by client %d, %v to %v", op.Kind, slotOf(op), where, op.Client, op.Call.Round(1e5), op.Return.Round(1e5))
}
