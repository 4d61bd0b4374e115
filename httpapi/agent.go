package httpapi

import (
	"net/http"

	"github.com/stateraft/stateraft/fsm"
	"github.com/stateraft/stateraft/fsm/fsmpb"
	"github.com/stateraft/stateraft/httpapi/auth"
	"github.com/stateraft/stateraft/httpapi/stream"
)

// agentRoutes are those of Agent State. A key is the rest of the path.
func (s *Server) agentRoutes() []*route {
	const (
		keys = "/api/v1/state"
		key  = keys + "/*" + segKey
	)
	list := append([]string{queryPrefix, queryAfter, queryLimit, querySession}, eventParams...)
	return []*route{
		{method: http.MethodGet, pattern: keys, scope: auth.StateRead, handler: s.listAgentState, query: list},
		{method: http.MethodGet, pattern: key, scope: auth.StateRead, handler: s.getAgentState, query: eventParams},
		{method: http.MethodPut, pattern: key, scope: auth.StateWrite, handler: s.putAgentState},
		{method: http.MethodDelete, pattern: key, scope: auth.StateWrite, handler: s.deleteAgentState},
	}
}

// putAgentState serves PUT /api/v1/state/{key}: it replaces value, time to
// live and session. If-Match and If-None-Match make it conditional.
func (s *Server) putAgentState(w http.ResponseWriter, r *request) error {
	namespace, key, err := r.agentTarget()
	if err != nil {
		return err
	}
	op, err := s.putOp(w, r, key)
	if err != nil {
		return err
	}
	a, err := s.propose(w, r, &fsmpb.Command{Namespace: namespace, Ops: []*fsmpb.Op{op}})
	if err != nil {
		return err
	}
	setETag(w, a.Results[0].Version)
	writeJSON(w, http.StatusOK, appendPut(nil, s.cluster.State(), op, a))
	return nil
}

// putOp reads the request as a set of key.
func (s *Server) putOp(w http.ResponseWriter, r *request, key string) (op *fsmpb.Op, err error) {
	op = &fsmpb.Op{Kind: fsmpb.Op_SET, Key: key}
	if op.SessionId, err = r.session(); err != nil {
		return nil, err
	}
	if err := precondition(r, op); err != nil {
		return nil, err
	}
	f, err := s.readFields(w, r, "value", "ttl_seconds")
	if err != nil {
		return nil, err
	}
	if op.Value, err = s.value(f[0], "value"); err != nil {
		return nil, err
	}
	op.Ttl, err = ttl(unlessNull(f[1]), "ttl_seconds")
	return op, err
}

// unlessNull takes null for absent: the published client for Python sends it
// where there is no time to live.
func unlessNull(raw []byte) []byte {
	if string(raw) == "null" {
		return nil
	}
	return raw
}

// appendPut appends the answer to a set that happened.
func appendPut(b []byte, state *fsm.State, op *fsmpb.Op, a *fsmpb.Answer) []byte {
	b = append(b, `{"ok":true,"key":`...)
	b = appendString(b, op.Key)
	b = appendMember(b, "version", a.Results[0].Version)
	b = append(b, `,"ttl":`...)
	if op.Ttl == 0 {
		b = append(b, null...)
	} else {
		b = appendInstant(b, state.Shown(a.Time+op.Ttl))
	}
	b = append(b, `,"updated_at":`...)
	return append(appendInstant(b, state.Shown(a.Time)), '}')
}

// getAgentState serves GET /api/v1/state/{key}, and streams its changes to
// those who want events.
func (s *Server) getAgentState(w http.ResponseWriter, r *request) error {
	w.Header().Add("Vary", "Accept, "+headerSubject)
	namespace, key, err := r.agentTarget()
	if err != nil {
		return err
	}
	if r.wantsEvents() {
		return s.stream(w, r, stream.Topic{Namespace: namespace, Name: key})
	}
	if err := r.only("a value", queryConsistency); err != nil {
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
	writeJSON(w, http.StatusOK, appendAgentEntry(make([]byte, 0, len(entry.Value)+512), entry))
	return nil
}

// deleteAgentState serves DELETE /api/v1/state/{key}. The key ends as if its
// time had come: it is gone from every read, and its version lives on. To
// delete a key that does not exist is no error.
func (s *Server) deleteAgentState(w http.ResponseWriter, r *request) error {
	namespace, key, err := r.agentTarget()
	if err != nil {
		return err
	}
	if _, err := s.remove(w, r, namespace, key); err != nil {
		return err
	}
	return writeOK(w)
}

// appendAgentEntry appends a key as Agent State shows it. ttl and expires_at
// are the same instant: clients look for one or the other.
func appendAgentEntry(b []byte, e fsm.Entry) []byte {
	b = append(b, `{"key":`...)
	b = appendString(b, e.Key)
	b = append(b, `,"value":`...)
	b = append(b, e.Value...)
	b = append(b, `,"ttl":`...)
	b = appendInstant(b, e.ExpiresAt)
	b = append(b, `,"updated_at":`...)
	b = appendInstant(b, e.UpdatedAt)
	b = appendMember(b, "version", e.Version)
	b = append(b, `,"created_at":`...)
	b = appendInstant(b, e.CreatedAt)
	b = append(b, `,"expires_at":`...)
	b = appendInstant(b, e.ExpiresAt)
	b = append(b, `,"subject_id":`...)
	b = appendString(b, nameOf(e.Namespace))
	b = append(b, `,"session_id":`...)
	if e.SessionID == "" {
		b = append(b, null...)
	} else {
		b = appendString(b, e.SessionID)
	}
	return append(b, '}')
}
