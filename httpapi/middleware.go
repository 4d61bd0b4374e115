package httpapi

import (
	"net/http"
	"runtime/debug"
	"time"

	"github.com/julienschmidt/httprouter"
)

// serve answers one request by its route: everything that is the same for all
// routes happens here, and only here an error becomes a response.
func (s *Server) serve(rt *route, w http.ResponseWriter, r *http.Request, ps httprouter.Params) {
	start := time.Now()
	res := &response{ResponseWriter: w}
	s.metrics.inFlight.Inc()
	defer func() {
		s.metrics.inFlight.Dec()
		s.metrics.observe(rt, r.Method, res.status, time.Since(start))
	}()
	defer s.recover(rt, res, r)

	// A client that does not read its answer must not hold this goroutine for
	// ever. Where deadlines are not supported, in tests, nothing is lost.
	_ = http.NewResponseController(w).SetWriteDeadline(start.Add(writeTimeout))
	w.Header().Set(headerNode, s.node)
	if err := s.handle(rt, res, r, ps); err != nil {
		s.writeError(res, r, rt, err)
	}
}

func (s *Server) handle(rt *route, w http.ResponseWriter, r *http.Request, ps httprouter.Params) error {
	if err := s.cors.apply(w.Header(), r); err != nil {
		return err
	}
	req := &request{Request: r, route: rt, params: ps}
	defer func() { s.bodies.release(req.reserved) }()
	if rt.pattern != unrouted {
		var err error
		if req.query, err = parseQuery(r.URL.RawQuery, rt.query); err != nil {
			return err
		}
	}
	return rt.handler(w, req)
}

// recover turns a panic into an answer, if none was begun: one request's bug
// must not end the node.
func (s *Server) recover(rt *route, res *response, r *http.Request) {
	p := recover()
	if p == nil {
		return
	}
	if p == http.ErrAbortHandler {
		panic(p)
	}
	s.log.Error("handler panicked", "method", r.Method, "route", rt.pattern, "panic", p, "stack", string(debug.Stack()))
	if res.status != 0 {
		panic(http.ErrAbortHandler)
	}
	s.writeProblem(res, r, &problem{code: codeInternal, message: "internal error", unknown: true})
}

// A response remembers its status for the metrics.
type response struct {
	http.ResponseWriter
	status int
}

func (r *response) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *response) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (r *response) Unwrap() http.ResponseWriter { return r.ResponseWriter }
