package httpapi

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/julienschmidt/httprouter"

	"github.com/stateraft/stateraft/httpapi/auth"
)

// A handler writes a response or returns an error, never both.
type handler func(w http.ResponseWriter, r *request) error

// A route is one row of the table that the router, the answers 404, 405 and
// OPTIONS, the labels of the metrics and the matrix tests are made from.
type route struct {
	method  string
	pattern string // as httprouter has it; also the metrics' label
	scope   auth.Scope
	handler handler
	query   []string // the query parameters it takes; others are refused
	form    form     // of its errors
	root    bool     // it reaches all projects: it takes the root token beside the scope
	proxied bool     // it is passed on, its query too, and changes nothing here
}

// writes reports whether the request asks for a change, so that an error must
// say what became of it.
func (rt *route) writes(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return false
	}
	return !rt.proxied
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
	headerSubject     = "X-Subject-Id"
	headerSession     = "X-Session-Id"

	queryConsistency   = "consistency"
	queryReturnCurrent = "returnCurrent"
	queryPrefix        = "prefix"
	queryAfter         = "after"
	queryLimit         = "limit"
	querySession       = "session_id"
	querySnapshot      = "snapshot"
	queryLastEventID   = "lastEventId"
	queryAccessToken   = "access_token"
)

// routes is the table. Each part of the API has its form of errors.
func (s *Server) routes() []*route {
	agent := slices.Concat(s.agentRoutes(), s.proxyRoutes())
	for _, rt := range agent {
		rt.form = agentForm
	}
	return slices.Concat(s.stateRoutes(), agent, s.nodeRoutes())
}

func (s *Server) stateRoutes() []*route {
	const (
		workflow = "/v1/state/:" + segWorkflow
		key      = workflow + "/:" + segKey
	)
	write := []string{queryReturnCurrent}
	read := []string{queryConsistency}
	list := append([]string{queryPrefix, queryAfter, queryLimit, "reverse", "values", "keys"}, eventParams...)
	return []*route{
		{method: http.MethodGet, pattern: workflow, scope: auth.StateRead, handler: s.listKeys, query: list},
		{method: http.MethodPost, pattern: workflow, scope: auth.StateWrite, handler: s.writeAtomically, query: write},
		{method: http.MethodGet, pattern: key, scope: auth.StateRead, handler: s.getKey, query: read},
		{method: http.MethodPost, pattern: key, scope: auth.StateWrite, handler: s.setKey, query: write},
		{method: http.MethodDelete, pattern: key, scope: auth.StateWrite, handler: s.deleteKey, query: write},
		{method: http.MethodPost, pattern: key + "/version", scope: auth.StateWrite, handler: s.setKeyAtVersion, query: write},
		{method: http.MethodGet, pattern: key + "/stream", scope: auth.StateRead, handler: s.streamKey, query: eventParams},
	}
}

func (s *Server) nodeRoutes() []*route {
	return []*route{
		{method: http.MethodGet, pattern: "/v1/keys", scope: auth.Admin, handler: s.listAPIKeys, query: []string{queryConsistency}},
		{method: http.MethodPost, pattern: "/v1/keys", scope: auth.Admin, handler: s.createAPIKey},
		{method: http.MethodDelete, pattern: "/v1/keys/:" + segMember, scope: auth.Admin, handler: s.revokeAPIKey},

		{method: http.MethodGet, pattern: "/v1/cluster", scope: auth.Admin, handler: s.clusterStatus},
		{method: http.MethodPost, pattern: "/v1/cluster/leader/transfer", scope: auth.Admin, handler: s.transferLeadership},
		{method: http.MethodDelete, pattern: "/v1/cluster/members/:" + segMember, scope: auth.Admin, handler: s.removeMember},
		{method: http.MethodPost, pattern: "/v1/cluster/drain", scope: auth.Admin, handler: s.drain},

		{method: http.MethodGet, pattern: "/v1/backup", scope: auth.Admin, root: true, handler: s.backup, query: []string{queryConsistency}},
		{method: http.MethodPost, pattern: "/v1/restore", scope: auth.Admin, root: true, handler: s.restore, query: []string{queryForce}},

		{method: http.MethodGet, pattern: "/health", scope: auth.Public, handler: s.health},
		{method: http.MethodGet, pattern: "/livez", scope: auth.Public, handler: s.health},
		{method: http.MethodGet, pattern: "/ready", scope: auth.Public, handler: s.ready},
		{method: http.MethodGet, pattern: "/readyz", scope: auth.Public, handler: s.ready},
		{method: http.MethodGet, pattern: "/metrics", scope: auth.Admin, handler: s.showMetrics},
		{method: http.MethodGet, pattern: "/openapi.json", scope: auth.StateRead, handler: s.openAPI},
	}
}

// unrouted is the metrics' label of requests that no route takes.
const unrouted = "none"

// route builds the router from the table. HEAD is routed wherever GET is; the
// body is then left out by net/http.
func (s *Server) route() error {
	s.table = s.routes()
	if err := checkScopes(s.table); err != nil {
		return err
	}
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
	return nil
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
	rt := &route{pattern: unrouted, scope: auth.Public, handler: notFoundAt(path), form: formAt(path)}
	if allow := s.allowed(path); allow != "" {
		rt.handler = methodNotAllowed(allow)
		if r.Method == http.MethodOptions {
			rt.handler = s.options(allow)
		}
	}
	s.serve(rt, w, r, nil)
}

// formAt says how errors at a path that is not routed are written.
func formAt(path string) form {
	if strings.HasPrefix(path, "/api/v1/") {
		return agentForm
	}
	return stateForm
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
	return func(_ http.ResponseWriter, r *request) error {
		if r.route.form == agentForm {
			return refuse(codeNotFound, "no such path: %s", quoted(path))
		}
		if len(path) > 1 && strings.HasSuffix(path, "/") {
			return refuse(codeNotFound, "no such path: %s ends with a slash; a slash inside a key is written %%2F", quoted(path))
		}
		return refuse(codeNotFound, "no such path: %s; a slash inside a key is written %%2F", quoted(path))
	}
}
