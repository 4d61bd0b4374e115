package stream

import (
	"strings"

	"github.com/stateraft/stateraft/fsm"
)

// A Topic says which keys of a namespace a stream tells of.
type Topic struct {
	Namespace string
	Name      string // of the one key, or what all the keys begin with
	Prefix    bool   // Name is the beginning of keys
}

func (t Topic) covers(c *fsm.Change) bool {
	if t.Namespace != c.Namespace {
		return false
	}
	if t.Prefix {
		return strings.HasPrefix(c.Key, t.Name)
	}
	return t.Name == c.Key
}

// clone lets go of the request that the names are part of.
func (t Topic) clone() Topic {
	t.Namespace, t.Name = strings.Clone(t.Namespace), strings.Clone(t.Name)
	return t
}

// A Start says where a stream begins, and how long it may last.
type Start struct {
	After    uint64 // it tells the changes after this revision
	Snapshot bool   // it first tells the present keys; After does not matter
	Resync   bool   // the same, and says that it does so because changes may be missing
	While    Lease  // it ends with this
}

// whole reports how the stream begins; it is a resync, too, if the history no
// longer reaches back.
func (s Start) whole(state *fsm.State) whole {
	if s.Snapshot {
		return wholeSnapshot
	}
	if _, reaches := state.Changes(s.After, 0); s.Resync || !reaches {
		return wholeResync
	}
	return wholeNone
}

// whole says whether a stream is to tell all present keys next, and why.
type whole uint8

const (
	wholeNone     whole = iota
	wholeSnapshot       // as the client asked
	wholeResync         // as the history does not reach
)
