// Package wire asks nodes: by raw HTTP, one attempt at one node with every
// header in the caller's hand, or through the Go client with its retries. Both
// say the same of what became of a request.
package wire

import (
	"context"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
)

// Request is one operation on one key.
type Request struct {
	Kind        history.Kind
	Workflow    string
	Key         string
	Value       string // JSON text
	Expected    uint64
	TTL         time.Duration
	Idempotency string
	Stale       bool
	MinRevision uint64
}

// Answer is what became of it.
type Answer struct {
	Outcome  history.Outcome
	Error    string // why not OK
	Found    bool
	Conflict bool
	Value    string
	Version  uint64
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
