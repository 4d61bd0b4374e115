package client

import (
	"context"
	"time"
	"unicode/utf8"
)

// Op is one operation of an atomic write: SetOp, DeleteOp or CheckOp.
type Op struct {
	kind     string
	key      string
	value    any
	ttl      time.Duration
	expected *uint64
}

// SetOp stores value under key.
func SetOp(key string, value any) Op { return Op{kind: "set", key: key, value: value} }

// DeleteOp removes key.
func DeleteOp(key string) Op { return Op{kind: "delete", key: key} }

// CheckOp changes nothing, and lets the others happen only if key is at that
// version; 0: if it is absent.
func CheckOp(key string, version uint64) Op {
	return Op{kind: "check", key: key, expected: &version}
}

// TTL returns the operation with an end for its key, as WithTTL has it.
func (o Op) TTL(d time.Duration) Op {
	o.ttl = d
	return o
}

// AtVersion returns the operation on condition that its key is at that version;
// 0: that it is absent.
func (o Op) AtVersion(version uint64) Op {
	o.expected = &version
	return o
}

// changesVersion says that the operation can happen once at most: it is on
// condition of a version that it ends.
func (o Op) changesVersion() bool {
	return o.kind != "check" && o.expected != nil && *o.expected > 0
}

// opBody is an operation on the wire. Value is a pointer because it must be
// there for a set, null included, and nowhere else.
type opBody struct {
	Op              string  `json:"op"`
	Key             string  `json:"key"`
	Value           *any    `json:"value,omitempty"`
	TTL             float64 `json:"ttl,omitempty"`
	ExpectedVersion *uint64 `json:"expectedVersion,omitempty"`
}

func (o Op) body() opBody {
	b := opBody{Op: o.kind, Key: o.key, TTL: seconds(o.ttl), ExpectedVersion: o.expected}
	if o.kind == "set" {
		b.Value = &o.value
	}
	return b
}

// OpResult is what one operation did.
type OpResult struct {
	Version uint64 // of the key afterwards, or at which a delete ended it
	Deleted bool   // a delete found the key
}

// Atomic carries out up to 128 operations on different keys of one workflow,
// all or none, and visible together. If a condition does not hold it fails with
// ErrVersionConflict, and Error.Op is the index of the first such operation.
// Results are in the order of ops. Of the options it takes WithIdempotencyKey
// and ReturnCurrent.
func (s *State) Atomic(ctx context.Context, workflow string, ops []Op, opts ...WriteOption) ([]OpResult, error) {
	o := gatherWrite(opts)
	if o.ttl != 0 || o.condition.header != "" || o.session != "" {
		return nil, refuse(ErrInvalidRequest, "TTLs and conditions of an atomic write belong to its operations, and a session to Agent.Set")
	}
	r, err := atomicRequest(workflow, ops, o)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Results []OpResult `json:"results"`
	}
	if err := s.c.do(ctx, r, &answer); err != nil {
		return nil, err
	}
	return answer.Results, nil
}

func atomicRequest(workflow string, ops []Op, o writeOptions) (*request, *Error) {
	path, err := workflowPath(workflow)
	if err != nil {
		return nil, err
	}
	bodies, once := make([]opBody, len(ops)), false
	for i, op := range ops {
		if !utf8.ValidString(op.key) { // encoding it would make another key of it
			return nil, refuse(ErrInvalidKey, "the key of operation %d is not UTF-8", i)
		}
		bodies[i], once = op.body(), once || op.changesVersion()
	}
	body, err := encode(map[string]any{"ops": bodies})
	if err != nil {
		return nil, err
	}
	r := &request{kind: o.kind(once), method: "POST", path: path, body: body}
	return r, o.apply(r)
}
