// Package history holds what clients saw: every operation with the monotonic
// times of its call and return, every event of a stream, and what the keys were
// in the end. Workloads record it, checkers read it.
package history

import (
	"maps"
	"slices"
	"time"
)

// Outcome is what a caller knows of an operation.
type Outcome string

const (
	OK      Outcome = "ok"      // answered; a version conflict is an answer too
	Refused Outcome = "refused" // it had, and will have, no effect
	Unknown Outcome = "unknown" // it may have had its effect, or may yet
)

// Kind is what an operation does.
type Kind string

const (
	Get    Kind = "get"
	Set    Kind = "set"
	SetAt  Kind = "set at" // on condition that the key is at Expected; 0: absent
	Delete Kind = "delete"
)

// IsWrite reports whether an operation of that kind can change a key.
func (k Kind) IsWrite() bool { return k != Get }

// Op is one operation. Times count from the start of the run.
type Op struct {
	Workload string        `json:"workload"`
	Client   int           `json:"client"` // one operation at a time, where a checker needs that
	Node     string        `json:"node"`   // that was asked; empty: the Go client chose
	Kind     Kind          `json:"kind"`
	Workflow string        `json:"workflow"`
	Key      string        `json:"key"`
	Call     time.Duration `json:"call"`
	Return   time.Duration `json:"return"`

	Value       string        `json:"value,omitempty"` // JSON text to write, or that was read
	Expected    uint64        `json:"expected,omitempty"`
	TTL         time.Duration `json:"ttl,omitempty"`
	Idempotency string        `json:"idempotency,omitempty"` // key that makes copies of the request one
	Stale       bool          `json:"stale,omitempty"`
	MinRevision uint64        `json:"minRevision,omitempty"`

	Outcome  Outcome `json:"outcome"`
	Error    string  `json:"error,omitempty"`    // why not OK
	Found    bool    `json:"found,omitempty"`    // a get or a delete met the key
	Conflict bool    `json:"conflict,omitempty"` // the condition did not hold
	Version  uint64  `json:"version,omitempty"`  // of the key; with Conflict the current one, 0: absent
	Revision uint64  `json:"revision,omitempty"` // of the state that gave the answer
}

// Wrote reports whether the operation is known to have set the key.
func (o Op) Wrote() bool {
	return (o.Kind == Set || o.Kind == SetAt) && o.Outcome == OK && !o.Conflict
}

// Event is one block of a subscriber's stream, in the order of arrival.
type Event struct {
	Subscriber string        `json:"subscriber"`
	Workflow   string        `json:"workflow"`
	At         time.Duration `json:"at"`
	Type       string        `json:"type"` // set, delete, expire; or resync, snapshot, synced
	Key        string        `json:"key"`
	Old        string        `json:"old"` // JSON text; "null": absent
	New        string        `json:"new"`
	Version    uint64        `json:"version"`
	Revision   uint64        `json:"revision"`
}

// Entry is a key as it was in the end.
type Entry struct {
	Workflow string `json:"workflow"`
	Key      string `json:"key"`
	Value    string `json:"value"`
	Version  uint64 `json:"version"`
}

// History is all that a run has recorded.
type History struct {
	Ops    []Op
	Events []Event
	Final  map[string][]Entry // by node, in the order of workflow and key

	Subscribers map[string]string // those that recorded events, with their workflow
}

// Of returns the operations of one workload, in the order of their returns.
func (h *History) Of(workload string) []Op {
	var ops []Op
	for _, op := range h.Ops {
		if op.Workload == workload {
			ops = append(ops, op)
		}
	}
	return ops
}

// Workflows returns those that operations named, in order.
func (h *History) Workflows() []string {
	seen := map[string]bool{}
	for _, op := range h.Ops {
		seen[op.Workflow] = true
	}
	return slices.Sorted(maps.Keys(seen))
}
