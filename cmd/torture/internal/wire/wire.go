// Package wire asks nodes: by raw HTTP, one attempt at one node with every
// header in the caller's hand, or through the Go client with its retries. Both
// say the same of what became of a request.
package wire

import (
	"context"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
)

// Request is one operation on a key, or on several of one workflow.
type Request struct {
	Kind        history.Kind
	Agent       bool   // Workflow is a subject of Agent State
	Token       string // API key; empty: the node's
	Workflow    string
	Key         string
	Value       string // JSON text
	If          history.Condition
	Expected    uint64 // of SetAt, IfVersion and IfChanged
	Current     bool   // a conflict is to carry the present value
	Steps       []history.Step
	Query       history.Query
	TTL         time.Duration
	Idempotency string
	Stale       bool
	MinRevision uint64
}

// Answer is what became of it, as in history.Op.
type Answer struct {
	Outcome  history.Outcome
	Error    string // why not OK
	Found    bool
	Conflict bool
	Failed   int
	Present  string
	Value    string
	Version  uint64
	Steps    []history.Step // as they were sent, with what they did
	Entries  []history.Entry
	Next     string
	Revision uint64 // 0: not told
}

// Store takes requests.
type Store interface {
	// Name is the node that is asked; empty: one of many.
	Name() string
	// Do makes one request and waits for what becomes of it, for at most
	// Patience or until ctx ends.
	Do(ctx context.Context, r Request) Answer
}

// Patience bounds a request with all its attempts.
const Patience = 4 * time.Second
