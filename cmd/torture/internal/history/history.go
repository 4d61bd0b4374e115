// Package history holds what clients saw: every operation with the monotonic
// times of its call and return, every event of a stream, and what the keys were
// in the end. Workloads record it, checkers read it.
package history

import (
	"maps"
	"slices"
	"strings"
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
	Atomic Kind = "atomic" // all of Steps or none
	List   Kind = "list"   // a page of a workflow's keys
	Open   Kind = "open"   // a stream; of all but isolation only those that were refused

	// Of API keys, which the root token makes: Key is the key's id.
	Grant  Kind = "grant"
	Revoke Kind = "revoke"

	// Of backups: Revision is the backup's. Node is that which was asked.
	Backup  Kind = "backup"
	Restore Kind = "restore" // into another cluster, of a file that Key describes; Value is its state from then on, Present that before
	Resume  Kind = "resume"  // of a stream in the other cluster, with an id of this one
)

// StillOpen is the error of a stream that its reader had to end.
const StillOpen = "still open"

// IsWrite reports whether an operation of that kind can change a key.
func (k Kind) IsWrite() bool { return k == Set || k == SetAt || k == Delete || k == Atomic }

// Condition is a header that makes an operation conditional.
type Condition string

const (
	Always    Condition = ""
	IfVersion Condition = "if version" // the key is at Expected; 0: absent
	IfExists  Condition = "if exists"
	IfAbsent  Condition = "if absent"
	IfChanged Condition = "if changed" // of a get: the key is not at Expected
)

// Step is one operation of an atomic write, and what it did.
type Step struct {
	Kind     Kind    `json:"kind"` // Set, Delete; Get: a check
	Key      string  `json:"key"`
	Value    string  `json:"value,omitempty"`
	Expected *uint64 `json:"expected,omitempty"` // nil: on no condition
	Version  uint64  `json:"version,omitempty"`
	Found    bool    `json:"found,omitempty"` // a delete met the key
}

// Query selects the keys of a list.
type Query struct {
	Prefix  string `json:"prefix,omitempty"`
	After   string `json:"after,omitempty"`
	Limit   int    `json:"limit,omitempty"`
	Reverse bool   `json:"reverse,omitempty"`
}

// Op is one operation. Times count from the start of the run.
type Op struct {
	Workload string        `json:"workload"`
	Project  string        `json:"project,omitempty"` // empty: the root token's
	Agent    bool          `json:"agent,omitempty"`   // Workflow is a subject of Agent State
	Token    string        `json:"token,omitempty"`   // id of the API key; empty: the root token
	Client   int           `json:"client"`            // one operation at a time, where a checker needs that
	Node     string        `json:"node"`              // that was asked; empty: the Go client chose
	Kind     Kind          `json:"kind"`
	Workflow string        `json:"workflow"`
	Key      string        `json:"key"`
	Call     time.Duration `json:"call"`
	Return   time.Duration `json:"return"`

	Value       string        `json:"value,omitempty"` // JSON text to write, or that was read
	If          Condition     `json:"if,omitempty"`
	Current     bool          `json:"current,omitempty"` // a conflict is to carry the present value
	Expected    uint64        `json:"expected,omitempty"`
	Steps       []Step        `json:"steps,omitempty"`
	Query       Query         `json:"query,omitzero"`
	TTL         time.Duration `json:"ttl,omitempty"`
	Idempotency string        `json:"idempotency,omitempty"` // key that makes copies of the request one
	Stale       bool          `json:"stale,omitempty"`
	MinRevision uint64        `json:"minRevision,omitempty"`

	Outcome  Outcome `json:"outcome"`
	Error    string  `json:"error,omitempty"`    // why not OK
	Found    bool    `json:"found,omitempty"`    // a get or a delete met the key
	Conflict bool    `json:"conflict,omitempty"` // the condition did not hold
	Failed   int     `json:"failed,omitempty"`   // with Conflict: the first step whose condition did not hold
	Version  uint64  `json:"version,omitempty"`  // of the key; with Conflict the current one, 0: absent
	Present  string  `json:"present,omitempty"`  // with Conflict and Current: JSON text of the value at Version
	Revision uint64  `json:"revision,omitempty"` // of the state that gave the answer; see Dated
	Entries  []Entry `json:"entries,omitempty"`  // of a list
	Next     string  `json:"next,omitempty"`     // of a list that was cut
}

// Holds reports whether the operation's condition holds for a key at version;
// 0: absent.
func (o Op) Holds(version uint64) bool {
	switch {
	case o.Kind == SetAt || o.If == IfVersion:
		return version == o.Expected
	case o.If == IfExists:
		return version > 0
	case o.If == IfAbsent:
		return version == 0
	case o.If == IfChanged:
		return version == 0 || version != o.Expected
	}
	return true
}

// Dated reports whether the operation was answered from the tested cluster's
// state at Revision, which may be 0: a node that has just begun has seen no change.
// The Go client does not tell, nor a node that need not revoke a key again.
func (o Op) Dated() bool {
	switch o.Kind {
	case Open, Restore, Resume:
		return false
	case Grant, Revoke:
		return o.Outcome == OK && o.Revision > 0
	}
	return o.Outcome == OK && (o.Node != "" || o.Revision > 0)
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
	First      uint64        `json:"first,omitempty"` // revisions of the atomic write that it is part of
	Last       uint64        `json:"last,omitempty"`
	Scope      string        `json:"scope,omitempty"` // workflow or subject, as the event has it; empty: it has none
}

// Subscriber is one who recorded events of a workflow.
type Subscriber struct {
	Workload string        `json:"workload"`
	Workflow string        `json:"workflow"`
	Agent    bool          `json:"agent,omitempty"`   // Workflow is a subject of Agent State
	Project  string        `json:"project,omitempty"` // of the API key; empty: the root token's
	Token    string        `json:"token,omitempty"`   // id of the API key; empty: the root token
	From     uint64        `json:"from,omitempty"`    // revision behind which it began
	Follows  bool          `json:"follows,omitempty"` // to the end; else it may stop anywhere
	Begun    time.Duration `json:"begun,omitempty"`   // before it asked for anything
}

// Sample is what a process used at a moment.
type Sample struct {
	Node       string        `json:"node"`
	At         time.Duration `json:"at"`
	Life       int           `json:"life"` // of the node's processes, which one
	Goroutines int           `json:"goroutines"`
	Files      int           `json:"files"`    // open descriptors
	Resident   int64         `json:"resident"` // bytes of memory
	Disk       int64         `json:"disk"`     // bytes in the data directory
}

// Entry is a key as a list or the end showed it.
type Entry struct {
	Workflow string `json:"workflow"`
	Agent    bool   `json:"agent,omitempty"` // Workflow is a subject of Agent State
	Key      string `json:"key"`
	Value    string `json:"value"`
	Version  uint64 `json:"version"`
	Expires  string `json:"expires,omitempty"` // instant, where a list told it
}

// History is all that a run has recorded.
type History struct {
	Ops    []Op
	Events []Event
	Final  map[string][]Entry // by node, in the order of workflow and key

	Subscribers map[string]Subscriber // by name, also those that recorded no event
	Drifts      []Drift

	// Slack is how many times longer than is promised things may take; 0 is as 1.
	Slack int

	// Older says that nodes of an older build took part.
	Older bool

	// Reach is how many changes, of the whole cluster, every node remembers at
	// least. 0: DefaultReach.
	Reach uint64
}

// DefaultReach is how many changes a node remembers unless it is told
// otherwise.
const DefaultReach = 100_000

// Remembered is how many changes every node remembers at least.
func (h *History) Remembered() uint64 {
	if h.Reach == 0 {
		return DefaultReach
	}
	return h.Reach
}

// Slacken returns how long what is promised to take d may take.
func (h *History) Slacken(d time.Duration) time.Duration { return d * time.Duration(max(h.Slack, 1)) }

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

// AnyFinal returns what some node held in the end; nil: none was read.
func (h *History) AnyFinal() []Entry {
	for _, entries := range h.Final {
		return entries
	}
	return nil
}

// Place is a workflow or a subject of Agent State.
type Place struct {
	Workflow string
	Agent    bool // Workflow is a subject
}

// Places returns those of the root token's project in which operations named a
// key, in order.
func (h *History) Places() []Place {
	seen := map[Place]bool{}
	for _, op := range h.Ops {
		if ofKeys := op.Kind.IsWrite() || op.Kind == Get || op.Kind == List; ofKeys && op.Project == "" {
			seen[Place{op.Workflow, op.Agent}] = true
		}
	}
	return slices.SortedFunc(maps.Keys(seen), func(a, b Place) int { return strings.Compare(a.Workflow, b.Workflow) })
}
