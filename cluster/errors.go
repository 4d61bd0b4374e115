package cluster

import "errors"

// What can keep a request from being answered. Each says what became of a
// write: callers tell their clients exactly that, and never guess.
var (
	// ErrNoLeader: the deadline passed before any leader was given the write,
	// or before one could confirm a read. A write did not happen.
	ErrNoLeader = errors.New("no leader answered in time")

	// ErrOutcomeUnknown: a leader was given the write and nobody knows whether
	// it was, or will be, committed.
	ErrOutcomeUnknown = errors.New("the outcome of the write is unknown")

	// ErrOverloaded: a queue is full. The write did not happen.
	ErrOverloaded = errors.New("too many writes are waiting")

	// ErrDiskFull: this node's disk or some voter's is nearly full, and only
	// deletes are accepted. The write did not happen.
	ErrDiskFull = errors.New("the disk is nearly full; only deletes are accepted")

	// ErrTooLarge: the write fits no log entry. It did not happen.
	ErrTooLarge = errors.New("the write is larger than a log entry may be")

	// ErrBehind: this node did not apply the revision asked for in time.
	ErrBehind = errors.New("this node has not applied that revision in time")

	// ErrRevisionUnknown: the cluster itself has not reached that revision; it
	// is from before a restore, or from another cluster.
	ErrRevisionUnknown = errors.New("the revision is not of the cluster's present state")

	// ErrNotFound: no member of that id or name.
	ErrNotFound = errors.New("no such member")

	// ErrRefused wraps why an administrative request was not carried out.
	ErrRefused = errors.New("refused")

	// ErrDamaged wraps why a file is no whole backup that this build reads.
	// Nothing was changed.
	ErrDamaged = errors.New("the backup is damaged")

	// ErrClosed: the node is stopping. What was not yet sent did not happen.
	ErrClosed = errors.New("the node is stopping")
)
