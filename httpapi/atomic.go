package httpapi

import (
	"fmt"
	"net/http"
	"strconv"

	"github.com/stateraft/stateraft/fsm/fsmpb"
	"github.com/stateraft/stateraft/httpapi/internal/jsonscan"
	"github.com/stateraft/stateraft/httpapi/internal/names"
)

// Limits of an atomic write.
const (
	maxOps         = 128
	maxAtomicBytes = 4 << 20
)

// writeAtomically serves POST /v1/state/{workflow}: several operations that
// happen together or not at all.
func (s *Server) writeAtomically(w http.ResponseWriter, r *request) error {
	namespace, err := r.namespace()
	if err != nil {
		return err
	}
	if err := noPrecondition(r); err != nil {
		return err
	}
	body, err := s.readBody(w, r, maxAtomicBytes)
	if err != nil {
		return err
	}
	f, err := fields(body, "", "ops")
	if err != nil {
		return err
	}
	ops, err := s.parseOps(f[0])
	if err != nil {
		return err
	}
	a, err := s.propose(w, r, &fsmpb.Command{Namespace: namespace, Ops: ops, Atomic: true})
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, appendResults(nil, ops, a.Results))
	return nil
}

func (s *Server) parseOps(raw []byte) ([]*fsmpb.Op, error) {
	if raw == nil {
		return nil, refuse(codeInvalidRequest, "ops is required")
	}
	if raw[0] != '[' {
		return nil, refuse(codeInvalidRequest, "ops must be an array, not %s", jsonscan.Kind(raw))
	}
	items := elements(raw, maxOps)
	if len(items) == 0 || len(items) > maxOps {
		return nil, refuse(codeInvalidRequest, "ops must hold 1 to %d operations", maxOps)
	}
	ops := make([]*fsmpb.Op, len(items))
	seen := make(map[string]int, len(items))
	for i, item := range items {
		op, err := s.parseOp(item, fmt.Sprintf("ops[%d]", i))
		if err != nil {
			return nil, err
		}
		if first, ok := seen[op.Key]; ok {
			return nil, refuse(codeInvalidRequest, "ops[%d].key is the same as ops[%d].key: a key may be named once", i, first)
		}
		ops[i], seen[op.Key] = op, i
	}
	return ops, nil
}

// The members of an operation, in the order in which parseOp reads them.
const (
	opKind = iota
	opKey
	opValue
	opTTL
	opVersion
)

// parseOp reads one operation; at is what it is called in messages.
func (s *Server) parseOp(raw []byte, at string) (*fsmpb.Op, error) {
	if raw[0] != '{' {
		return nil, refuse(codeInvalidRequest, "%s must be an object, not %s", at, jsonscan.Kind(raw))
	}
	at += "."
	f, err := fields(raw, at, "op", "key", "value", "ttl", "expectedVersion")
	if err != nil {
		return nil, err
	}
	op := new(fsmpb.Op)
	if op.Kind, err = parseKind(f[opKind], at+"op"); err != nil {
		return nil, err
	}
	if op.Key, err = text(f[opKey], at+"key"); err != nil {
		return nil, err
	}
	if err := checkName(at+"key", op.Key, names.MaxKeyBytes); err != nil {
		return nil, err
	}
	return op, s.fillOp(op, at, f)
}

func parseKind(raw []byte, name string) (fsmpb.Op_Kind, error) {
	kind, err := text(raw, name)
	if err != nil {
		return 0, err
	}
	switch kind {
	case "set":
		return fsmpb.Op_SET, nil
	case "delete":
		return fsmpb.Op_DELETE, nil
	case "check":
		return fsmpb.Op_CHECK, nil
	}
	return 0, refuse(codeInvalidRequest, "%s must be set, delete or check, not %s", name, quoted(kind))
}

// fillOp reads the members that depend on the kind of operation.
func (s *Server) fillOp(op *fsmpb.Op, at string, f [][]byte) error {
	if op.Kind == fsmpb.Op_SET {
		if err := s.fillSet(op, at, f[opValue], f[opTTL]); err != nil {
			return err
		}
	} else if f[opValue] != nil || f[opTTL] != nil {
		return refuse(codeInvalidRequest, "%svalue and %sttl are for set only", at, at)
	}
	if f[opVersion] == nil {
		if op.Kind == fsmpb.Op_CHECK {
			return refuse(codeInvalidRequest, "%sexpectedVersion is required for check", at)
		}
		return nil
	}
	expected, err := version(f[opVersion], at+"expectedVersion")
	if err != nil {
		return err
	}
	atVersion(op, expected)
	return nil
}

func appendResults(b []byte, ops []*fsmpb.Op, results []*fsmpb.Result) []byte {
	b = append(b, `{"results":[`...)
	for i, res := range results {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '{')
		if ops[i].Kind == fsmpb.Op_DELETE {
			b = append(b, `"deleted":`...)
			b = strconv.AppendBool(b, res.Deleted)
			b = append(b, ',')
		}
		b = append(b, `"version":`...)
		b = strconv.AppendUint(b, res.Version, 10)
		b = append(b, '}')
	}
	return append(b, ']', '}')
}
