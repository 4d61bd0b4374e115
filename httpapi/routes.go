package httpapi

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/julienschmidt/httprouter"
)

// A handler writes a response or returns an error, never both.
type handler func(w http.ResponseWriter, r *request) error

// A route is one row of the table that the router, the answers 404, 405 and
// OPTIONS, the labels of the metrics and the matrix tests are made from.
type route struct {
	method  string
	pattern string // as httprouter has it; also the metrics' label
	handler handler
	query   []string // the query parameters it takes; others are refused
}

// Names of path segments, headers and query parameters.
const (
	segWorkflow = "workflow"
	segKey      = "key"
	segMember   = "id"

	headerNode        = "X-Stateraft-Node"
	headerRevision    = "X-Stateraft-Revision"
	headerMinRevision = "X-Stateraft-Min-Revision"
	headerTimeout     = "X-Stateraft-Timeout"
	headerIdempotency = "Idempotency-Key"
	headerLastEventID = "Last-Event-Id"
	headerIfMatch     = "If-Match"
	headerIfNoneMatch = "If-None-Match"

	queryConsistency   = "consistency"
	queryReturnCurrent = "returnCurrent"
	queryPrefix        = "prefix"
	querySnapshot      = "snapshot"
	queryLastEventID   = "lastEventId"
)

func (s *Server) routes() []*route {
	const (
		workflow = "/v1/state/:" + segWorkflow
		key      = workflow + "/:" + segKey
	)
	none := []string(nil)
	write := []string{queryReturnCurrent}
	read := []string{queryConsistency}
	events := []string{querySnapshot, queryLastEventID, queryConsistency}
	list := append([]string{queryPrefix, "after", "limit", "reverse", "values", "keys"}, events...)
	return []*route{
		{http.MethodGet, workflow, s.listKeys, list},
		{http.MethodPost, workflow, s.writeAtomically, write},
		{http.MethodGet, key, s.getKey, read},
		{http.MethodPost, key, s.setKey, write},
		{http.MethodDelete, key, s.deleteKey, write},
		{http.MethodPost, key + "/version", s.setKeyAtVersion, write},
		{http.MethodGet, key + "/stream", s.streamKey, events},

		{http.MethodGet, "/v1/cluster", s.clusterStatus, none},
		{http.MethodPost, "/v1/cluster/leader/transfer", s.transferLeadership, none},
		{http.MethodDelete, "/v1/cluster/members/:" + segMember, s.removeMember, none},
		{http.MethodPost, "/v1/cluster/drain", s.drain, none},

		{http.MethodGet, "/health", s.health, none},
		{http.MethodGet, "/livez", s.health, none},
		{http.MethodGet, "/ready", s.ready, none},
		{http.MethodGet, "/readyz", s.ready, none},
		{http.MethodGet, "/metrics", s.showMetrics, none},
		{http.MethodGet, "/openapi.json", s.openAPI, none},
	}
}

// unrouted is the metrics' label of requests that no route takes.
const unrouted = "none"

// route builds the router from the table. HEAD is routed wherever GET is; the
// body is then left out by net/http.
func (s *Server) route() {
	s.table = s.routes()
	s.router = &httprouter.Router{} // only its tree is used: see dispatch
	for _, rt := range s.table {
		handle := func(w http.ResponseWriter, r *http.Request, ps httprouter.Params) {
			s.serve(rt, w, r, ps)
		}
		s.addMethod(rt.method)
		s.router.Handle(rt.method, rt.pattern, handle)
		if rt.method == http.MethodGet {
			s.addMethod(http.MethodHead)
			s.router.Handle(http.MethodHead, rt.pattern, handle)
		}
	}
}

func (s *Server) addMethod(m string) {
	if i, found := slices.BinarySearch(s.methods, m); !found {
		s.methods = slices.Insert(s.methods, i, m)
	}
}

// dispatch finds the route by the path as it was sent, still escaped, so that
// a %2F stays inside its segment; no path is redirected or cleaned. What the
// router itself would do with other requests is left to the same handlers and
// the same writer of errors as everything else.
func (s *Server) dispatch(w http.ResponseWriter, r *http.Request) {
	path := escapedPath(r.URL)
	if handle, ps, _ := s.router.Lookup(r.Method, path); handle != nil {
		handle(w, r, ps)
		return
	}
	rt := &route{pattern: unrouted, handler: notFoundAt(path)}
	if allow := s.allowed(path); allow != "" {
		rt.handler = methodNotAllowed(allow)
		if r.Method == http.MethodOptions {
			rt.handler = s.options(allow)
		}
	}
	s.serve(rt, w, r, nil)
}

// escapedPath is the path as it was sent. (URL.EscapedPath alone would encode
// a path anew that holds bytes which it thinks should have been escaped, and
// lose the difference between / and %2F.)
func escapedPath(u *url.URL) string {
	if u.RawPath != "" {
		return u.RawPath
	}
	return u.EscapedPath()
}

// allowed lists the methods that path is routed for; empty for none.
func (s *Server) allowed(path string) string {
	var methods []string
	for _, m := range s.methods {
		if handle, _, _ := s.router.Lookup(m, path); handle != nil {
			methods = append(methods, m)
		}
	}
	if len(methods) == 0 {
		return ""
	}
	return strings.Join(append(methods, http.MethodOptions), ", ")
}

func methodNotAllowed(allow string) handler {
	return func(w http.ResponseWriter, r *request) error {
		w.Header().Set("Allow", allow)
		return refuse(codeMethodNotAllowed, "this path takes %s, not %s", allow, quoted(r.Method))
	}
}

func (s *Server) options(allow string) handler {
	return func(w http.ResponseWriter, r *request) error {
		w.Header().Set("Allow", allow)
		s.cors.preflight(w.Header(), r.Request, allow)
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
}

func notFoundAt(path string) handler {
	return func(http.ResponseWriter, *request) error {
		if len(path) > 1 && strings.HasSuffix(path, "/") {
			return refuse(codeNotFound, "no such path: %s ends with a slash; a slash inside a key is written %%2F", quoted(path))
		}
		return refuse(codeNotFound, "no such path: %s; a slash inside a key is written %%2F", quoted(path))
	}
}
