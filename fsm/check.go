package fsm

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/stateraft/stateraft/fsm/fsmpb"
)

// checkEntry refuses an entry that this build does not know in full, or that
// holds a command no edge lets through.
func checkEntry(e *fsmpb.Entry) error {
	if err := known[proto.Message](e, e.LeaderStart, e.LeaderStart.GetSettings(), e.OpenSession, e.OpenSession.GetNode(), e.RaiseVersion, e.Restore); err != nil {
		return err
	}
	if err := checkRestore(e.Restore); err != nil {
		return err
	}
	for _, b := range e.Batches {
		if err := known(b); err != nil {
			return err
		}
		for _, c := range b.Commands {
			if err := Check(c); err != nil {
				return err
			}
		}
	}
	return nil
}

// Check returns why c may not stand in the log, whatever the state; nil if it
// may. An entry with a command that it refuses stops every node, so commands
// are checked where they come in.
func Check(c *fsmpb.Command) error {
	if err := known(c); err != nil {
		return err
	}
	if n := len(c.IdempotencyKey); n != 0 && n != len(recordKey{}) {
		return fmt.Errorf("idempotency key of %d bytes, it has %d", n, len(recordKey{}))
	}
	for _, op := range c.Ops {
		if err := checkOp(op); err != nil {
			return err
		}
	}
	return checkNames(c.Ops)
}

func checkOp(op *fsmpb.Op) error {
	if err := known(op); err != nil {
		return err
	}
	switch {
	case op.Kind < fsmpb.Op_SET || op.Kind > fsmpb.Op_CHECK:
		return fmt.Errorf("operation of kind %d, which this build does not know", op.Kind)
	case op.Condition < fsmpb.Op_ALWAYS || op.Condition > fsmpb.Op_EXISTS:
		return fmt.Errorf("condition %d, which this build does not know", op.Condition)
	case op.Ttl < 0:
		return fmt.Errorf("ttl of %d µs, it must not be negative", op.Ttl)
	}
	return nil
}

// checkNames refuses a key named twice: conditions and the span of revisions
// are settled before the first change.
func checkNames(ops []*fsmpb.Op) error {
	if len(ops) < 2 {
		return nil
	}
	seen := make(map[string]bool, len(ops))
	for _, op := range ops {
		if seen[op.Key] {
			return errors.New("command names a key twice")
		}
		seen[op.Key] = true
	}
	return nil
}

// checkRestore refuses a step that this build does not know in full, or that
// adds what no state holds.
func checkRestore(r *fsmpb.Restore) error {
	switch {
	case r == nil:
		return nil
	case r.Step < fsmpb.Restore_BEGIN || r.Step > fsmpb.Restore_DROP:
		return fmt.Errorf("restore step %d, which this build does not know", r.Step)
	case len(r.Id) != restoreIDBytes:
		return fmt.Errorf("restore id of %d bytes, it has %d", len(r.Id), restoreIDBytes)
	case r.Revision > MaxRevision:
		return fmt.Errorf("restore of revision %d, the limit is %d", r.Revision, uint64(MaxRevision))
	}
	return checkContents(r.Keys, r.Floors)
}

// checkContents refuses keys and floors that no state holds.
func checkContents(keys []*fsmpb.ImageKey, floors []*fsmpb.ImageFloor) error {
	if err := errors.Join(known(keys...), known(floors...)); err != nil {
		return err
	}
	if len(keys) > 0 && keys[0].Namespace == "" {
		return errors.New("the first key has no namespace")
	}
	for _, k := range keys {
		if k.Version == 0 || k.Version > MaxRevision || len(k.Value) == 0 {
			return fmt.Errorf("key of version %d and %d bytes, it has a version from 1 to %d and a value", k.Version, len(k.Value), uint64(MaxRevision))
		}
	}
	for _, f := range floors {
		if f.Floor > MaxRevision {
			return fmt.Errorf("floor of %d, the limit is %d", f.Floor, uint64(MaxRevision))
		}
	}
	return nil
}

// checkFragment refuses a part of a snapshot with fields that this build does
// not know. It does not look into the answers that sessions keep.
func checkFragment(f *fsmpb.Image) error {
	for _, s := range f.Sessions {
		if err := known(s.Node); err != nil {
			return err
		}
	}
	return errors.Join(
		known(f), known(f.Header), known(f.Header.GetSettings()),
		known(f.Keys...), known(f.Floors...), known(f.Sessions...), known(f.Records...), known(f.Changes...),
		known(f.StagedKeys...), known(f.StagedFloors...), known(f.Backup), known(f.Header.GetStaging()), known(f.Header.GetRestored()),
	)
}

// known refuses messages with fields that this build does not know. A nil one
// has none.
func known[M proto.Message](messages ...M) error {
	for _, m := range messages {
		if r := m.ProtoReflect(); r.IsValid() && len(r.GetUnknown()) > 0 {
			return fmt.Errorf("%s has a field that this build does not know", r.Descriptor().Name())
		}
	}
	return nil
}
