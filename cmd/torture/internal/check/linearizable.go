package check

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
)

// searchLimit bounds the search for an order of operations, and namesLimit that
// for the keys of which there is none.
const (
	searchLimit = 3 * time.Minute
	namesLimit  = time.Minute
)

// valuesLeast is how many refusals may lack the present value that they were to
// carry: nodes leave it out where they cannot read it in time.
const valuesLeast = 20

// Linearizable checks that the answers of each register are those of one
// register that does one operation after the other, each between its call and
// its return. A write of unknown outcome may happen at any time after its call,
// or never; one that was refused may not. Each register is alone in its
// workflow, so its versions follow from its own operations.
func Linearizable(h *history.History) *Verdict {
	return linearizable(h.Of("register"), &Verdict{Name: "linearizable", Promise: "reads and writes of a key take effect one after the other, between call and return"})
}

func linearizable(of []history.Op, v *Verdict) *Verdict {
	ops := porcupineHistory(of, v)
	v.Checked += len(ops)
	presentValues(of, v)
	result, info := porcupine.CheckOperationsVerbose(registerModel, ops, searchLimit)
	switch result {
	case porcupine.Illegal:
		v.Fail("no order of the operations explains the answers of %v", illegalKeys(ops))
		v.Picture = func(path string) error { return porcupine.VisualizePath(registerModel, info, path) }
	case porcupine.Unknown:
		v.Undecided = fmt.Errorf("%s: no answer within %v: the history is too hard; give a shorter --epoch", v.Name, searchLimit)
	}
	return v
}

// porcupineHistory leaves out what had no effect and no answer.
func porcupineHistory(ops []history.Op, v *Verdict) []porcupine.Operation {
	var out []porcupine.Operation
	unknown := 0
	for _, op := range ops {
		if op.Version > 0 && op.Present == "" {
			op.Current = false // the state could not be read in time: the version is that of the refusal
		}
		p := porcupine.Operation{ClientId: op.Client, Input: op, Output: op, Call: int64(op.Call), Return: int64(op.Return)}
		switch {
		case op.Outcome == history.Refused, op.Outcome == history.Unknown && !op.Kind.IsWrite():
			continue
		case op.Outcome == history.Unknown:
			p.Return = math.MaxInt64
			unknown++
		}
		out = append(out, p)
		if op.Conflict && op.Current && op.Outcome == history.OK {
			out = append(out, present(p))
		}
	}
	v.note("%d writes of unknown outcome", unknown)
	return out
}

// present is the second part of a refusal that carries the present value: a
// read, after the condition was found not to hold, which gives the version.
func present(p porcupine.Operation) porcupine.Operation {
	op := p.Input.(history.Op)
	op.Kind, op.If, op.Conflict, op.Current = history.Get, history.Always, false, false
	op.Found, op.Value = op.Version > 0, op.Present
	p.Input, p.Output = op, op
	return p
}

// presentValues checks that refusals carry the present value at all.
func presentValues(ops []history.Op, v *Verdict) {
	met, told := 0, 0
	for _, op := range ops {
		if op.Outcome != history.OK || !op.Conflict || !op.Current || op.Version == 0 {
			continue
		}
		met++
		if op.Present != "" {
			told++
		}
	}
	if met >= valuesLeast && told == 0 {
		v.Fail("none of %d refusals that met a key carries its value, for which they were asked", met)
	}
}

// illegalKeys names keys for which there is no order, as many as are found soon.
func illegalKeys(ops []porcupine.Operation) []string {
	var keys []string
	end := time.Now().Add(namesLimit)
	for _, part := range registerModel.Partition(ops) {
		left := time.Until(end)
		if left <= 0 {
			break // porcupine takes no limit for none
		}
		if porcupine.CheckOperationsTimeout(registerModel, part, left) == porcupine.Illegal {
			keys = append(keys, slotOf(part[0].Input.(history.Op)).String())
		}
	}
	slices.Sort(keys)
	return keys
}

// register is one key: each change, also a delete, takes the next version, and
// none comes back.
type register struct {
	value   string // "": absent
	changes uint64
}

func (r register) version() uint64 {
	if r.value == "" {
		return 0
	}
	return r.changes
}

// step returns the register after op, and whether op's answer is the one that
// the register before it gives.
func (r register) step(op history.Op) (bool, register) {
	unknown := op.Outcome == history.Unknown
	switch {
	case !op.Holds(r.version()):
		return unknown || op.Conflict && (op.Current || op.Version == r.version()), r
	case op.Conflict:
		return false, r
	case op.Kind == history.Get:
		return op.Found == (r.value != "") && op.Value == r.value && op.Version == r.version(), r
	case op.Kind == history.Delete:
		met := r.value != ""
		if met {
			r = register{"", r.changes + 1}
		}
		return unknown || op.Agent || op.Found == met, r // Agent State does not tell
	}
	next := register{op.Value, r.changes + 1}
	return unknown || op.Version == next.changes, next
}

var registerModel = porcupine.Model{
	Partition: func(ops []porcupine.Operation) [][]porcupine.Operation {
		bySlot := map[slot][]porcupine.Operation{}
		for _, op := range ops {
			s := slotOf(op.Input.(history.Op))
			bySlot[s] = append(bySlot[s], op)
		}
		return slices.Collect(maps.Values(bySlot))
	},
	Init: func() any { return register{} },
	Step: func(state, input, _ any) (bool, any) {
		return state.(register).step(input.(history.Op))
	},
	DescribeOperation: func(input, _ any) string { return picture(input.(history.Op)) },
	DescribeState: func(state any) string {
		r := state.(register)
		return fmt.Sprintf("%q at version %d", r.value, r.version())
	},
}

// picture is the label of an operation.
func picture(op history.Op) string {
	call := fmt.Sprintf("%s %s", op.Kind, op.Node)
	if op.Kind == history.Set || op.Kind == history.SetAt {
		call += " " + op.Value
	}
	if op.Kind == history.SetAt || op.If != history.Always {
		call += fmt.Sprintf(" %s %d", op.If, op.Expected)
	}
	switch {
	case op.Outcome == history.Unknown:
		return call + " → ?"
	case op.Conflict:
		return fmt.Sprintf("%s → conflict with %d", call, op.Version)
	case op.Kind == history.Get && op.Found:
		return fmt.Sprintf("%s → %s at %d", call, op.Value, op.Version)
	case op.Kind == history.Get:
		return call + " → absent"
	case op.Kind == history.Delete:
		return fmt.Sprintf("%s → %t", call, op.Found)
	}
	return fmt.Sprintf("%s → %d", call, op.Version)
}
