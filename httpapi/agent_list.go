package httpapi

import (
	"net/http"
	"strconv"

	"github.com/stateraft/stateraft/fsm"
	"github.com/stateraft/stateraft/httpapi/stream"
)

// listAgentState serves GET /api/v1/state: a page of a subject's keys, or the
// changes of them all to those who want events.
func (s *Server) listAgentState(w http.ResponseWriter, r *request) error {
	w.Header().Add("Vary", "Accept, "+headerSubject)
	namespace, err := r.agentNamespace()
	if err != nil {
		return err
	}
	prefix, err := r.namePart(queryPrefix)
	if err != nil {
		return err
	}
	if r.wantsEvents() {
		if err := r.onlyEvents(); err != nil {
			return err
		}
		return s.stream(w, r, stream.Topic{Namespace: namespace, Name: prefix, Prefix: true})
	}
	if err := r.only("a list", queryPrefix, queryAfter, queryLimit, querySession, queryConsistency); err != nil {
		return err
	}
	q, err := r.agentQuery(prefix)
	if err != nil {
		return err
	}
	state, err := s.consistent(r)
	if err != nil {
		return err
	}
	page := state.List(namespace, q)
	cut(&page, appendAgentEntry)
	setRevision(w, page.Point.Revision)
	writeAgentList(w, page)
	return nil
}

// agentQuery reads which keys are asked for. An empty session_id asks for
// those that were written without a session.
func (r *request) agentQuery(prefix string) (q fsm.Query, err error) {
	q.Prefix, q.MaxBytes = prefix, maxPageBytes
	if q.After, err = r.namePart(queryAfter); err != nil {
		return q, err
	}
	if q.Limit, err = r.limit(true); err != nil {
		return q, err
	}
	if r.query.Has(querySession) {
		session := r.query.Get(querySession)
		q.SessionID = &session
	}
	return q, nil
}

func writeAgentList(w http.ResponseWriter, page fsm.Page) {
	w.Header()["Content-Type"] = jsonType
	b := append(make([]byte, 0, 1024), `{"data":[`...)
	b = writeEach(w, b, page.Entries, appendAgentEntry)
	b = append(b, `],"count":`...)
	b = strconv.AppendInt(b, int64(len(page.Entries)), 10)
	if page.More {
		b = append(b, `,"next":`...)
		b = appendString(b, page.Entries[len(page.Entries)-1].Key)
	}
	_, _ = w.Write(append(b, '}')) // the client has left: nobody to tell
}
