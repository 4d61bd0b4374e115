package httpapi

import (
	"bufio"
	"net"
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
		s.metrics.observe(rt, r.Method, res.status, res.took(start))
	}()
	defer s.recover(rt, res, r)

	// A client that does not read its answer must not hold this goroutine for
	// ever. Where deadlines are not supported, in tests, nothing is lost.
	_ = http.NewResponseController(w).SetWriteDeadline(start.Add(writeTimeout))
	w.Header().Set(headerNode, s.node)
	if s.draining.Load() {
		w.Header().Set("Connection", "close") // or a client may send the next request just when the connection ends
	}
	if err := s.handle(rt, res, r, ps); err != nil {
		s.writeError(res, r, rt, err)
	}
}

func (s *Server) handle(rt *route, w http.ResponseWriter, r *http.Request, ps httprouter.Params) error {
	if err := s.cors.apply(w.Header(), r); err != nil {
		return err
	}
	req := &request{Request: r, route: rt, params: ps}
	defer s.releaseBody(req)
	var badQuery error
	if rt.pattern != unrouted && !rt.proxied {
		req.query, badQuery = parseQuery(r.URL.RawQuery, rt.query)
	}
	if err := s.authenticate(w, req); err != nil {
		return err
	}
	if badQuery != nil {
		return badQuery
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
	s.writeProblem(res, r, rt, &problem{code: codeInternal, message: "internal error", unknown: true})
}

// A response remembers for the metrics its status and, if it is a stream, when
// that began: how long it lasts says nothing of this server.
type response struct {
	http.ResponseWriter
	status int
	began  time.Time
}

func (r *response) took(start time.Time) time.Duration {
	if r.began.IsZero() {
		return time.Since(start)
	}
	return r.began.Sub(start)
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

// FlushError sends what was written so far, as streams do.
func (r *response) FlushError() error {
	if r.began.IsZero() {
		r.began = time.Now()
	}
	return http.NewResponseController(r.ResponseWriter).Flush()
}

// Hijack hands over the connection to answer on it.
func (r *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(r.ResponseWriter).Hijack()
	if err == nil {
		r.status = http.StatusOK
	}
	return conn, rw, err
}

// Unwrap lets http.ResponseController reach the connection.
func (r *response) Unwrap() http.ResponseWriter { return r.ResponseWriter }
