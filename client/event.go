package client

import "encoding/json"

// EventType says what an Event tells.
type EventType string

// Changes of a key.
const (
	EventSet    EventType = "set"
	EventDelete EventType = "delete"
	EventExpire EventType = "expire"
)

// The state from the start, where it is asked for with Snapshot or the history
// no longer reaches back to where a subscription was: a resync, a snapshot event
// for each present key, then synced. Changes follow from there.
const (
	// EventResync voids all that was told: keys that the snapshot events behind
	// it do not name are gone. A snapshot that was asked for begins without one,
	// and one that broke off begins again with one.
	EventResync   EventType = "resync"
	EventSnapshot EventType = "snapshot" // NewValue and Version are the key's
	EventSynced   EventType = "synced"   // the snapshot is complete, as of Revision
)

// Event is what a subscription tells. A change has all members but Tx, which
// those of an atomic write have. It marshals as the wire contract tells it.
type Event struct {
	Type     EventType       `json:"type"`
	Workflow string          `json:"workflowId,omitempty"` // in the State Store
	Subject  string          `json:"subject_id,omitempty"` // in Agent State
	Key      string          `json:"key,omitempty"`
	OldValue json.RawMessage `json:"oldValue,omitempty"` // null where the key was absent
	NewValue json.RawMessage `json:"newValue,omitempty"` // null also where the key is absent: Type tells
	Version  uint64          `json:"version,omitempty"`  // of the key, with this change
	Revision uint64          `json:"revision,omitempty"` // of the cluster; each change has its own
	Tx       Tx              `json:"tx,omitzero"`
}

// Tx is the range of revisions of an atomic write, all of whose changes became
// visible together. It is zero for a change by itself.
type Tx struct {
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
}

// IsChange reports whether the event is a change of a key.
func (e Event) IsChange() bool {
	return e.Type == EventSet || e.Type == EventDelete || e.Type == EventExpire
}

// Decode unmarshals the new value.
func (e Event) Decode(into any) error { return decodeValue(e.Key, e.NewValue, into) }
