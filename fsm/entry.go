package fsm

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"google.golang.org/protobuf/proto"

	"github.com/stateraft/stateraft/fsm/fsmpb"
)

// The protocol versions that this build speaks. A version says which entries
// may stand in the log and what they mean; numbers are never used again.
//
//	1: everything in fsm.proto that does not name a later version
//	2: restores of backups; an idempotency key is compared with the session, too
const (
	MinVersion = 1
	MaxVersion = 2

	RestoreVersion  = 2 // that restores need
	SessionsVersion = 2 // from which on every node knows the sessions of Agent State
)

// A VersionError says that an entry or a snapshot is of a protocol version
// that this build does not speak. The node must stop: it cannot know what it
// would have to do.
type VersionError struct {
	What     string // "log entry 12", "snapshot"
	Need     uint32
	Min, Max uint32 // what this build speaks
	Of       string // what is counted; empty: the protocol
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("%s needs %s version %d and this build speaks %d to %d", e.What, cmp.Or(e.Of, "protocol"), e.Need, e.Min, e.Max)
}

// Encode returns e as the data of a log entry: the protocol version that it
// needs, then the message. It refuses what Apply would not take, so that such
// an entry never reaches a log, where it would stop every node.
func Encode(e *fsmpb.Entry) ([]byte, error) {
	if err := checkEntry(e); err != nil {
		return nil, err
	}
	buf := binary.AppendUvarint(make([]byte, 0, 1+proto.Size(e)), uint64(needs(e)))
	return proto.MarshalOptions{}.MarshalAppend(buf, e)
}

// needs returns the protocol version that e needs.
func needs(e *fsmpb.Entry) uint32 {
	if e.Restore != nil {
		return RestoreVersion
	}
	return MinVersion
}

// decode is the inverse of Encode. It refuses what this build does not know in
// full, down to single fields.
func decode(index uint64, data []byte, maxVersion uint32) (*fsmpb.Entry, error) {
	version, n := binary.Uvarint(data)
	if n <= 0 {
		return nil, fmt.Errorf("log entry %d has no protocol version", index)
	}
	if version < MinVersion || version > uint64(maxVersion) {
		return nil, beyond(index, version, maxVersion)
	}
	e := new(fsmpb.Entry)
	if err := proto.Unmarshal(data[n:], e); err != nil {
		return nil, fmt.Errorf("log entry %d: %w", index, err)
	}
	if err := checkEntry(e); err != nil {
		return nil, fmt.Errorf("log entry %d: %w", index, err)
	}
	if need := needs(e); uint64(need) > version {
		return nil, fmt.Errorf("log entry %d of protocol version %d holds what needs version %d", index, version, need)
	}
	if v := e.GetRaiseVersion().GetVersion(); v > maxVersion {
		return nil, beyond(index, uint64(v), maxVersion)
	}
	return e, nil
}

// Stamp returns the cluster time, in µs, that the data of a log entry carries.
func Stamp(data []byte) (int64, error) {
	_, n := binary.Uvarint(data)
	var e fsmpb.Entry
	if n <= 0 {
		return 0, errors.New("a log entry has no protocol version")
	}
	if err := proto.Unmarshal(data[n:], &e); err != nil {
		return 0, fmt.Errorf("log entry: %w", err)
	}
	return e.Stamp, nil
}

func beyond(index, need uint64, maxVersion uint32) error {
	return &VersionError{
		What: fmt.Sprintf("log entry %d", index), Need: uint32(min(need, math.MaxUint32)),
		Min: MinVersion, Max: maxVersion,
	}
}
