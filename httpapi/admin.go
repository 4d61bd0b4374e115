package httpapi

import (
	_ "embed"
	"net/http"

	"github.com/stateraft/stateraft/cluster"
)

//go:embed openapi.json
var openAPIDocument []byte

// openAPI serves GET /openapi.json.
func (s *Server) openAPI(w http.ResponseWriter, _ *request) error {
	writeJSON(w, http.StatusOK, openAPIDocument)
	return nil
}

// health serves GET /health: the process answers. It depends on no other node.
func (s *Server) health(w http.ResponseWriter, _ *request) error {
	writeJSON(w, http.StatusOK, []byte(`{"status":"ok"}`))
	return nil
}

// ready serves GET /ready: 200 while requests should be sent here.
func (s *Server) ready(w http.ResponseWriter, _ *request) error {
	if s.draining.Load() {
		return refuse(codeNotReady, "the node is draining")
	}
	if err := s.cluster.Ready(); err != nil {
		return refuse(codeNotReady, "%s", err)
	}
	writeJSON(w, http.StatusOK, []byte(`{"status":"ready"}`))
	return nil
}

// clusterStatus serves GET /v1/cluster.
func (s *Server) clusterStatus(w http.ResponseWriter, r *request) error {
	ctx, cancel, err := r.deadline()
	if err != nil {
		return err
	}
	defer cancel()
	status := s.cluster.Status(ctx)
	if status.Nodes == nil {
		status.Nodes = []cluster.MemberStatus{} // an empty list, not null
	}
	return writeDocument(w, status)
}

// transferLeadership serves POST /v1/cluster/leader/transfer. Without "to" one
// that is ready takes over.
func (s *Server) transferLeadership(w http.ResponseWriter, r *request) error {
	f, err := s.readOptional(w, r, "to")
	if err != nil {
		return err
	}
	to := ""
	if f[0] != nil {
		if to, err = text(f[0], "to"); err != nil {
			return err
		}
	}
	ctx, cancel, err := r.deadline()
	if err != nil {
		return err
	}
	defer cancel()
	if err := s.cluster.TransferLeadership(ctx, to); err != nil {
		return err
	}
	return writeOK(w)
}

// removeMember serves DELETE /v1/cluster/members/{id}; a name serves as well.
func (s *Server) removeMember(w http.ResponseWriter, r *request) error {
	member, err := r.segment(segMember)
	if err != nil {
		return err
	}
	if _, err := s.readOptional(w, r); err != nil {
		return err
	}
	ctx, cancel, err := r.deadline()
	if err != nil {
		return err
	}
	defer cancel()
	if err := s.cluster.RemoveMember(ctx, member); err != nil {
		return err
	}
	return writeOK(w)
}

// drain serves POST /v1/cluster/drain, for this node alone: /ready answers 503
// until the process restarts, streams end, and leadership moves away. Other
// requests are still served.
func (s *Server) drain(w http.ResponseWriter, r *request) error {
	if _, err := s.readOptional(w, r); err != nil {
		return err
	}
	ctx, cancel, err := r.deadline()
	if err != nil {
		return err
	}
	defer cancel()
	s.SetDraining()
	s.log.Info("draining, as asked by a request")
	if err := s.cluster.Drain(ctx); err != nil {
		p := problemOf(err, true)
		// Half of it has happened.
		return &problem{code: p.code, message: "the node drains, and another is not known to lead yet: " + p.message, unknown: true}
	}
	return writeOK(w)
}

func writeOK(w http.ResponseWriter) error {
	writeJSON(w, http.StatusOK, []byte(`{"ok":true}`))
	return nil
}
