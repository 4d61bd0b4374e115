package httpapi

import (
	"strings"

	"github.com/stateraft/stateraft/fsm"
	"github.com/stateraft/stateraft/fsm/fsmpb"
)

// precondition puts the request's If-Match or If-None-Match into op.
func precondition(r *request, op *fsmpb.Op) error {
	match, matchSent, err := r.header(headerIfMatch)
	if err != nil {
		return err
	}
	noneMatch, noneMatchSent, err := r.header(headerIfNoneMatch)
	if err != nil {
		return err
	}
	switch {
	case matchSent && noneMatchSent:
		return refuse(codeInvalidRequest, "headers %s and %s exclude each other", headerIfMatch, headerIfNoneMatch)
	case matchSent:
		return ifMatch(match, op)
	case noneMatchSent && noneMatch != "*":
		return refuse(codeInvalidRequest, "header %s must be * on a write", headerIfNoneMatch)
	case noneMatchSent:
		atVersion(op, 0)
	}
	return nil
}

func ifMatch(header string, op *fsmpb.Op) error {
	if header == "*" {
		op.Condition = fsmpb.Op_EXISTS
		return nil
	}
	digits, ok := unquoteETag(header)
	if !ok {
		return refuse(codeInvalidRequest, `header %s must be one version in double quotes, as in "3", or *`, headerIfMatch)
	}
	v, err := version([]byte(digits), "the version in header "+headerIfMatch)
	if err != nil {
		return err
	}
	atVersion(op, v)
	return nil
}

func atVersion(op *fsmpb.Op, version uint64) {
	op.Condition, op.ExpectedVersion = fsmpb.Op_AT_VERSION, version
}

func unquoteETag(tag string) (string, bool) {
	if len(tag) < 2 || tag[0] != '"' || tag[len(tag)-1] != '"' {
		return "", false
	}
	return tag[1 : len(tag)-1], true
}

// noPrecondition refuses the headers where the body carries the conditions, so
// that none is ignored in silence.
func noPrecondition(r *request) error {
	for _, name := range []string{headerIfMatch, headerIfNoneMatch} {
		if _, sent := r.Header[name]; sent {
			return refuse(codeInvalidRequest, "header %s cannot stand beside expectedVersion in the body", name)
		}
	}
	return nil
}

// hasPrecondition reports whether a condition came as a header, which decides
// between 412 and 409.
func hasPrecondition(r *request) bool {
	_, match := r.Header[headerIfMatch]
	_, noneMatch := r.Header[headerIfNoneMatch]
	return match || noneMatch
}

// notModified reports whether the reader has this version already. Tags are
// compared as RFC 9110 asks for If-None-Match: weakly, and any of a list. A
// version proves nothing once the state, which the caller has read, was restored:
// the reader may have it from before, with another value.
func notModified(r *request, state *fsm.State, version uint64) bool {
	for _, header := range r.Header[headerIfNoneMatch] {
		for tag := range strings.SplitSeq(header, ",") {
			tag = strings.TrimSpace(tag)
			if tag == "*" || strings.TrimPrefix(tag, "W/") == etag(version) && !state.WasRestored() {
				return true
			}
		}
	}
	return false
}
