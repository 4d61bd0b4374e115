// Package check says whether a history keeps what the store promises. Its
// checkers look at the history alone, so that each is proven by forged ones.
package check

import (
	"fmt"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
)

// mostTold bounds the violations that a verdict tells in words.
const mostTold = 20

// Verdict is what one checker found.
type Verdict struct {
	Name    string
	Promise string
	Checked int      // operations, events or entries looked at
	Notes   []string // figures that are no violation

	Violations int      // in all
	Told       []string // the first of them

	// Picture writes an HTML page that shows the violation. Nil: there is none.
	Picture func(path string) error
}

// OK reports whether the promise was kept, as far as the history can tell.
func (v *Verdict) OK() bool { return v.Violations == 0 }

// Fail adds a violation.
func (v *Verdict) Fail(format string, args ...any) {
	v.Violations++
	if len(v.Told) < mostTold {
		v.Told = append(v.Told, fmt.Sprintf(format, args...))
	}
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

// describe says an operation in words.
func describe(op history.Op) string {
	where := op.Node
	if where == "" {
		where = "the Go client"
	}
	return fmt.Sprintf("%s of %s at %s by client %d, %v to %v", op.Kind, slotOf(op), where, op.Client, op.Call.Round(1e5), op.Return.Round(1e5))
}
