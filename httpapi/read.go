package httpapi

import (
	"context"
	"strconv"

	"github.com/stateraft/stateraft/cluster"
	"github.com/stateraft/stateraft/fsm"
)

// checkFreshness refuses a request that asks for freshness in a wrong way.
func (r *request) checkFreshness() error {
	if _, err := r.stale(); err != nil {
		return err
	}
	_, err := r.minRevision()
	return err
}

// consistent returns the local state once it is as fresh as the request asks:
// by default it covers every write acknowledged before, with
// consistency=stale it is what it is, but never older than the revision in
// X-Stateraft-Min-Revision. The sender's key must be in it.
func (s *Server) consistent(r *request) (*fsm.State, error) {
	stale, err := r.stale()
	if err != nil {
		return nil, err
	}
	atLeast, err := r.minRevision()
	if err != nil {
		return nil, err
	}
	ctx, cancel, err := r.deadline()
	if err != nil {
		return nil, err
	}
	defer cancel()
	if err := s.await(ctx, stale, atLeast); err != nil {
		return nil, err
	}
	state := s.cluster.State()
	return state, r.keyStands(state)
}

func (s *Server) await(ctx context.Context, stale bool, atLeast uint64) error {
	switch {
	case stale && atLeast == 0:
		return nil
	case stale:
		return s.cluster.WaitRevision(ctx, atLeast)
	}
	if err := s.cluster.ReadIndex(ctx); err != nil {
		return err
	}
	state := s.cluster.State()
	if atLeast > state.Point().Revision || state.IsFromBefore(atLeast) {
		return cluster.ErrRevisionUnknown // the state covers all there is
	}
	return nil
}

func (r *request) stale() (bool, error) {
	if !r.query.Has(queryConsistency) {
		return false, nil
	}
	switch r.query.Get(queryConsistency) {
	case "linearizable":
		return false, nil
	case "stale":
		return true, nil
	}
	return false, refuse(codeInvalidRequest, "query parameter %s must be linearizable or stale", queryConsistency)
}

func (r *request) minRevision() (uint64, error) {
	h, sent, err := r.header(headerMinRevision)
	if err != nil || !sent {
		return 0, err
	}
	n, err := parseRevision(h)
	if err != nil {
		return 0, refuse(codeInvalidRequest, "header %s must be a revision: an integer from 0", headerMinRevision)
	}
	return n, nil
}

func parseRevision(s string) (uint64, error) { return strconv.ParseUint(s, 10, 64) }
