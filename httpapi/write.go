package httpapi

import (
	"context"
	"fmt"
	"net/http"

	"github.com/stateraft/stateraft/fsm/fsmpb"
	"github.com/stateraft/stateraft/httpapi/auth"
)

// propose has the cluster carry out c and returns its answer if it did. What
// the state machine refuses is returned as an error.
func (s *Server) propose(w http.ResponseWriter, r *request, c *fsmpb.Command) (*fsmpb.Answer, error) {
	withCurrent, err := r.flag(queryReturnCurrent)
	if err != nil {
		return nil, err
	}
	if withCurrent {
		if err := r.require(auth.StateRead); err != nil {
			return nil, err
		}
	}
	if err := setIdempotency(r, c); err != nil {
		return nil, err
	}
	ctx, cancel, err := r.deadline()
	if err != nil {
		return nil, err
	}
	defer cancel()
	a, err := s.proposeOnce(ctx, r, c)
	if err != nil {
		return nil, err
	}
	setRevision(w, a.Revision)
	switch a.Code {
	case fsmpb.Answer_OK:
		return a, nil
	case fsmpb.Answer_CONFLICT:
		cf := &conflict{command: c, op: int(a.FailedOp), version: a.CurrentVersion, precondition: hasPrecondition(r)}
		if withCurrent {
			s.readCurrent(ctx, w, cf)
		}
		return nil, cf.problem()
	case fsmpb.Answer_IDEMPOTENCY_MISMATCH:
		return nil, refuse(codeMismatch, "header %s was used for another request in the last 10 minutes", headerIdempotency)
	case fsmpb.Answer_IDEMPOTENCY_FULL:
		return nil, refuse(codeOverloaded, "no room to remember another %s", headerIdempotency)
	}
	return nil, fmt.Errorf("unknown answer code %d", a.Code)
}

// A conflict is a command of which one operation's condition did not hold.
type conflict struct {
	command      *fsmpb.Command
	op           int    // index of that operation
	version      uint64 // its key is at; 0: absent
	value        []byte // with that version; nil: not asked for, or absent
	precondition bool   // the condition came as a header
}

// readCurrent replaces the version by a fresh one together with its value. If
// the state cannot be read in time, the conflict is told without a value, and so is
// one that has an idempotency key and may be told again: it stays as it was first.
func (s *Server) readCurrent(ctx context.Context, w http.ResponseWriter, cf *conflict) {
	if s.cluster.ReadIndex(ctx) != nil {
		return
	}
	entry, _, at := s.cluster.State().Get(cf.command.Namespace, cf.command.Ops[cf.op].Key)
	if entry.Version != cf.version {
		if cf.command.IdempotencyKey != nil {
			return
		}
		setRevision(w, at.Revision)
	}
	cf.version, cf.value = entry.Version, entry.Value
}

func (cf *conflict) problem() *problem {
	p := &problem{code: codeVersionConflict, message: cf.message()}
	if cf.precondition {
		p.code = codePreconditionFailed
	}
	if cf.command.Atomic {
		p.members = append(p.members, number("op", uint64(cf.op)))
	}
	if op := cf.command.Ops[cf.op]; op.Condition == fsmpb.Op_AT_VERSION {
		p.members = append(p.members, number("expectedVersion", op.ExpectedVersion))
	}
	p.members = append(p.members, number("currentVersion", cf.version))
	if cf.value != nil {
		p.members = append(p.members, member{"currentValue", cf.value})
	}
	return p
}

func (cf *conflict) message() string {
	op := cf.command.Ops[cf.op]
	at := ""
	if cf.command.Atomic {
		at = fmt.Sprintf("ops[%d]: ", cf.op)
	}
	switch {
	case op.Condition == fsmpb.Op_EXISTS:
		return at + "the key must exist, and it does not"
	case op.ExpectedVersion == 0:
		return fmt.Sprintf("%sthe key must not exist, and it is at version %d", at, cf.version)
	case cf.version == 0:
		return fmt.Sprintf("%sthe expected version is %d, and the key does not exist", at, op.ExpectedVersion)
	}
	return fmt.Sprintf("%sthe expected version is %d, and the key is at version %d", at, op.ExpectedVersion, cf.version)
}
