package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/stateraft/stateraft/fsm"
	"github.com/stateraft/stateraft/httpapi/auth"
	"github.com/stateraft/stateraft/httpapi/stream"
)

// maxKeyLag is how far this node may be behind when it lets the holder of a key
// write: it has applied whatever was acknowledged, revocations too, up to so
// long before the request came. So a node asks the leader at most 20 times a
// second for its writers' keys.
const maxKeyLag = 50 * time.Millisecond

// keyLookupTimeout is how long a request with a key that is not known here
// waits to learn that it is known nowhere.
const keyLookupTimeout = 2 * time.Second

// authenticate finds out who sends the request, and refuses it if they may not
// use its route. Where keys are asked for, no cache may share an answer, nor
// give one that it has to the bearer of another: keys are of projects, which have
// names and versions of their own.
func (s *Server) authenticate(w http.ResponseWriter, r *request) (err error) {
	if s.auth == nil {
		r.principal = auth.Everybody
		return nil
	}
	if r.route.scope == auth.Public {
		return nil // and the principal may do nothing
	}
	w.Header().Set("Cache-Control", "private")
	w.Header().Add("Vary", strings.Join(auth.Headers, ", "))
	token, err := r.token()
	if err != nil {
		return err
	}
	if r.principal, err = s.auth.Verify(r.Context(), token); err != nil {
		return err
	}
	if r.route.root && !r.principal.IsRoot() {
		return refuse(codeForbidden, "this path reaches all projects: it takes the root token")
	}
	if err := r.require(r.route.scope); err != nil {
		return err
	}
	return s.confirmKey(r)
}

// confirmKey refuses a write unless its sender's key is there once this node is
// behind by maxKeyLag at most. (Reads are as fresh as they ask, and confirm the
// key then: see consistent.)
func (s *Server) confirmKey(r *request) error {
	if !r.principal.HasKey() || !r.route.writes(r.Request) {
		return nil
	}
	came := time.Now()
	if err := s.reachHorizon(r, came.Add(-maxKeyLag)); err != nil {
		return err
	}
	return r.keyStands(s.cluster.State())
}

// reachHorizon spends at most the request's time.
func (s *Server) reachHorizon(r *request, t time.Time) error {
	if s.horizon.covers(t) {
		return nil
	}
	ctx, cancel, err := r.deadline()
	if err != nil {
		return err
	}
	defer cancel()
	start := time.Now()
	if s.horizon.reach(ctx, t) != nil {
		return refuse(codeNoLeader, "no leader confirmed in time that the API key is still valid")
	}
	r.waited = time.Since(start)
	return nil
}

// keyStands refuses the request if its sender has a key that the state has not.
func (r *request) keyStands(state *fsm.State) error {
	if !r.principal.HasKey() {
		return nil
	}
	if _, ok, _ := state.Get(auth.Namespace, r.principal.ID); !ok {
		return auth.ErrUnknown
	}
	return nil
}

// token returns the token that the request carries; "" if it carries none.
// Browsers' EventSource cannot set headers, so routes of streams take it as a
// query parameter, which nothing may log or repeat.
func (r *request) token() (string, error) {
	token, err := auth.FromHeader(r.Header)
	if token == "" && err == nil && slices.Contains(r.route.query, queryAccessToken) {
		token = r.query.Get(queryAccessToken)
	}
	return token, err
}

// require refuses the request unless its sender has the scope, for what only
// some requests of a route need.
func (r *request) require(scope auth.Scope) error {
	if r.principal.Scopes.Has(scope) {
		return nil
	}
	return refuse(codeForbidden, "the API key has no scope %s", scope)
}

// allow refuses the request unless its sender may act on the workflow or
// subject of this name.
func (r *request) allow(what, name string) error {
	if r.principal.May(name) {
		return nil
	}
	return refuse(codeForbidden, "the API key is for other prefixes of the %s", what)
}

// lease is what a stream of the request's sender depends on: their key.
func (r *request) lease() stream.Lease {
	if !r.principal.HasKey() {
		return stream.Lease{}
	}
	return stream.Lease{Namespace: auth.Namespace, Key: r.principal.ID}
}

// keyEnded puts into err, if it is that the sender's key has ended, what the
// sender is told.
func keyEnded(err error) error {
	if errors.Is(err, stream.ErrGone) {
		return auth.ErrUnknown
	}
	return err
}

// lookupKey finds the record of a key. One that was made at another node a
// moment ago may not be here yet, so that a miss counts once this node has all
// that there is.
func (s *Server) lookupKey(ctx context.Context, id string) ([]byte, error) {
	if e, ok, _ := s.cluster.State().Get(auth.Namespace, id); ok {
		return e.Value, nil
	}
	ctx, cancel := context.WithTimeout(ctx, keyLookupTimeout)
	defer cancel()
	if s.horizon.reach(ctx, time.Now()) != nil {
		return nil, refuse(codeNoLeader, "the API key is not known here, and no leader confirmed in time that it does not exist")
	}
	e, _, _ := s.cluster.State().Get(auth.Namespace, id)
	return e.Value, nil
}

// checkScopes refuses a table in which nobody has decided who may use a route.
func checkScopes(table []*route) error {
	for _, rt := range table {
		if !rt.scope.Decided() {
			return fmt.Errorf("%s %s has no scope", rt.method, rt.pattern)
		}
	}
	return nil
}
