package httpapi

import (
	"net/http"
	"strconv"

	"github.com/stateraft/stateraft/fsm"
	"github.com/stateraft/stateraft/fsm/fsmpb"
)

// getKey serves GET /v1/state/{workflow}/{key}.
func (s *Server) getKey(w http.ResponseWriter, r *request) error {
	namespace, key, err := r.target()
	if err != nil {
		return err
	}
	state, err := s.consistent(r)
	if err != nil {
		return err
	}
	entry, ok, at := state.Get(namespace, key)
	setRevision(w, at.Revision)
	if !ok {
		return refuse(codeNotFound, "the key does not exist, was deleted or has expired")
	}
	setETag(w, entry.Version)
	if notModified(r, state, entry.Version) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	body := make([]byte, 0, len(entry.Value)+128)
	writeJSON(w, http.StatusOK, append(appendEntry(append(body, '{'), entry), '}'))
	return nil
}

// appendEntry appends the members that tell a key's value and its life.
func appendEntry(b []byte, e fsm.Entry) []byte {
	b = append(b, `"value":`...)
	b = append(b, e.Value...)
	b = appendMember(b, "version", e.Version)
	b = append(b, `,"expiresAt":`...)
	b = appendInstant(b, e.ExpiresAt)
	b = append(b, `,"updatedAt":`...)
	return appendInstant(b, e.UpdatedAt)
}

// setKey serves POST /v1/state/{workflow}/{key}. If-Match and If-None-Match
// make it conditional.
func (s *Server) setKey(w http.ResponseWriter, r *request) error {
	namespace, key, err := r.target()
	if err != nil {
		return err
	}
	op := &fsmpb.Op{Kind: fsmpb.Op_SET, Key: key}
	if err := precondition(r, op); err != nil {
		return err
	}
	f, err := s.readFields(w, r, "value", "ttl")
	if err != nil {
		return err
	}
	if err := s.fillSet(op, "", f[0], f[1]); err != nil {
		return err
	}
	return s.set(w, r, namespace, op)
}

// setKeyAtVersion serves POST /v1/state/{workflow}/{key}/version: the key is
// set only if it is at the version that the body expects.
func (s *Server) setKeyAtVersion(w http.ResponseWriter, r *request) error {
	namespace, key, err := r.target()
	if err != nil {
		return err
	}
	if err := noPrecondition(r); err != nil {
		return err
	}
	f, err := s.readFields(w, r, "value", "ttl", versionNames[0], versionNames[1], versionNames[2])
	if err != nil {
		return err
	}
	op := &fsmpb.Op{Kind: fsmpb.Op_SET, Key: key}
	if err := s.fillSet(op, "", f[0], f[1]); err != nil {
		return err
	}
	expected, err := expectedVersion(f[2:])
	if err != nil {
		return err
	}
	atVersion(op, expected)
	return s.set(w, r, namespace, op)
}

// versionNames are the names that the expected version may have in the body
// of a versioned set.
var versionNames = [...]string{"expectedVersion", "version", "expected_version"}

// expectedVersion reads the version from any of versionNames' members.
func expectedVersion(raws [][]byte) (uint64, error) {
	var expected uint64
	first := ""
	for i, raw := range raws {
		if raw == nil {
			continue
		}
		v, err := version(raw, versionNames[i])
		if err != nil {
			return 0, err
		}
		if first != "" && v != expected {
			return 0, refuse(codeInvalidRequest, "%s and %s disagree", first, versionNames[i])
		}
		expected, first = v, versionNames[i]
	}
	if first == "" {
		return 0, refuse(codeInvalidRequest, "%s is required; 0 is an absent key", versionNames[0])
	}
	return expected, nil
}

// readFields reads a body that carries one value, and returns the raw values
// of its members of these names. Where it would be for nothing it does not begin:
// an overloaded node has better use for the time.
func (s *Server) readFields(w http.ResponseWriter, r *request, names ...string) ([][]byte, error) {
	if err := s.cluster.Admits(int(max(r.ContentLength, 0))); err != nil {
		return nil, err
	}
	body, err := s.readBody(w, r, s.maxValue+bodySlack)
	if err != nil {
		return nil, err
	}
	return fields(body, "", names...)
}

// fillSet puts a value and a time to live into op; at stands before their
// names in messages.
func (s *Server) fillSet(op *fsmpb.Op, at string, rawValue, rawTTL []byte) (err error) {
	if op.Value, err = s.value(rawValue, at+"value"); err != nil {
		return err
	}
	op.Ttl, err = ttl(rawTTL, at+"ttl")
	return err
}

func (s *Server) set(w http.ResponseWriter, r *request, namespace string, op *fsmpb.Op) error {
	a, err := s.propose(w, r, &fsmpb.Command{Namespace: namespace, Ops: []*fsmpb.Op{op}})
	if err != nil {
		return err
	}
	version := a.Results[0].Version
	setETag(w, version)
	body := strconv.AppendUint([]byte(`{"version":`), version, 10)
	writeJSON(w, http.StatusOK, append(body, '}'))
	return nil
}

// deleteKey serves DELETE /v1/state/{workflow}/{key}. To delete a key that
// does not exist is no error.
func (s *Server) deleteKey(w http.ResponseWriter, r *request) error {
	namespace, key, err := r.target()
	if err != nil {
		return err
	}
	deleted, err := s.remove(w, r, namespace, key)
	if err != nil {
		return err
	}
	body := strconv.AppendBool([]byte(`{"deleted":`), deleted)
	writeJSON(w, http.StatusOK, append(body, `,"ok":true}`...))
	return nil
}

// remove deletes a key, if the request's conditions hold, and reports whether
// it was there.
func (s *Server) remove(w http.ResponseWriter, r *request, namespace, key string) (bool, error) {
	op := &fsmpb.Op{Kind: fsmpb.Op_DELETE, Key: key}
	if err := precondition(r, op); err != nil {
		return false, err
	}
	if _, err := s.readOptional(w, r); err != nil {
		return false, err
	}
	a, err := s.propose(w, r, &fsmpb.Command{Namespace: namespace, Ops: []*fsmpb.Op{op}})
	if err != nil {
		return false, err
	}
	return a.Results[0].Deleted, nil
}
