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

// searchLimit bounds the search for an order of operations.
const searchLimit = 3 * time.Minute

// Linearizable checks that the answers of each register are those of one
// register that does one operation after the other, each between its call and
// its return. A write of unknown outcome may happen at any time after its call,
// or never; one that was refused may not. Each register is alone in its
// workflow, so its versions follow from its own operations.
func Linearizable(h *history.History) *Verdict {
	v := &Verdict{Name: "linearizable", Promise: "reads and writes of a key take effect one after the other, between call and return"}
	ops := porcupineHistory(h.Of("register"), v)
	v.Checked = len(ops)
	result, info := porcupine.CheckOperationsVerbose(registerModel, ops, searchLimit)
	switch result {
	case porcupine.Illegal:
		v.Fail("no order of the operations explains the answers of %v", illegalKeys(ops))
		v.Picture = func(path string) error { return porcupine.VisualizePath(registerModel, info, path) }
	case porcupine.Unknown:
		v.Fail("no answer within %v: the history is too hard, which is a fault of the tester", searchLimit)
	}
	return v
}

// porcupineHistory leaves out what had no effect and no answer.
func porcupineHistory(ops []history.Op, v *Verdict) []porcupine.Operation {
	var out []porcupine.Operation
	unknown := 0
	for _, op := range ops {
		p := porcupine.Operation{ClientId: op.Client, Input: op, Output: op, Call: int64(op.Call), Return: int64(op.Return)}
		switch {
		case op.Outcome == history.Refused, op.Outcome == history.Unknown && !op.Kind.IsWrite():
			continue
		case op.Outcome == history.Unknown:
			p.Return = math.MaxInt64
			unknown++
		}
		out = append(out, p)
	}
	v.note("%d writes of unknown outcome", unknown)
	return out
}

func illegalKeys(ops []porcupine.Operation) []string {
	var keys []string
	for _, part := range registerModel.Partition(ops) {
		if porcupine.CheckOperationsTimeout(registerModel, part, searchLimit) == porcupine.Illegal {
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
	next := register{op.Value, r.changes + 1}
	switch {
	case op.Kind == history.Get:
		return op.Found == (r.value != "") && op.Value == r.value && op.Version == r.version(), r
	case op.Kind == history.SetAt && op.Expected != r.version():
		return unknown || op.Conflict && op.Version == r.version(), r
	case op.Kind == history.Delete && r.value == "":
		return unknown || !op.Found, r
	case op.Kind == history.Delete:
		return unknown || op.Found, register{"", r.changes + 1}
	}
	return unknown || !op.Conflict && op.Version == next.changes, next
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
	if op.Kind == history.SetAt {
		call += fmt.Sprintf(" if %d", op.Expected)
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
