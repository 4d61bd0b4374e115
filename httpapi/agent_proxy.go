package httpapi

import (
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/stateraft/stateraft/httpapi/auth"
	"github.com/stateraft/stateraft/httpapi/inject"
	"github.com/stateraft/stateraft/httpapi/proxy"
)

// proxyRoutes are those that pass requests on to language models.
func (s *Server) proxyRoutes() []*route {
	return []*route{
		{method: http.MethodPost, pattern: "/api/v1/chat/completions", scope: auth.ChatWrite, handler: s.pass(inject.Chat), proxied: true},
		{method: http.MethodPost, pattern: "/api/v1/responses", scope: auth.ChatWrite, handler: s.pass(inject.Responses), proxied: true},
		{method: http.MethodPost, pattern: "/api/v1/messages", scope: auth.ChatWrite, handler: s.pass(inject.Messages), proxied: true},
	}
}

// pass serves one of them. An answer may last for minutes, and ends with the
// sender's key.
func (s *Server) pass(api inject.API) handler {
	return func(w http.ResponseWriter, r *request) error {
		if _, _, err := r.header(headerSubject); err != nil {
			return err
		}
		ctx, release, err := s.streams.Hold(r.Context(), r.lease())
		if err != nil {
			return keyEnded(err)
		}
		defer release()
		n, err := bodySize(r, int(s.proxy.MaxBodyBytes()))
		if err != nil {
			return err
		}
		if err := s.reserveBody(r, 2*n); err != nil { // as it came and as it is sent
			return err
		}
		if r.ContentLength < 0 {
			r.Body = &measured{ReadCloser: r.Body, end: func(n int64) { s.shrinkBody(r, 3*n) }} // it came in a buffer that grew
		}
		out := &relayed{ResponseWriter: w, begin: func() { s.releaseBody(r) }}
		return keyEnded(s.proxy.Serve(out, r.WithContext(ctx), api, s.lookup(w, r)))
	}
}

// lookup reads the state that a request asks to be put into it, as fresh as
// any other read.
func (s *Server) lookup(w http.ResponseWriter, r *request) proxy.Lookup {
	return func(_ context.Context, subject string, keys []string) ([]inject.Entry, error) {
		if err := r.require(auth.StateRead); err != nil {
			return nil, err
		}
		namespace, err := r.subjectNamespace(subject)
		if err != nil {
			return nil, err
		}
		state, err := s.consistent(r)
		if err != nil {
			return nil, err
		}
		found, at := state.GetAll(namespace, keys)
		setRevision(w, at.Revision)
		entries := make([]inject.Entry, len(keys))
		for i, e := range found {
			entries[i] = inject.Entry{
				Key: keys[i], Value: e.Value, Version: e.Version, UpdatedAt: e.UpdatedAt, ExpiresAt: e.ExpiresAt,
			}
		}
		return entries, nil
	}
}

// A measured body calls end with its length when all of it has been read.
type measured struct {
	io.ReadCloser
	n   int64
	end func(n int64)
}

func (m *measured) Read(p []byte) (int, error) {
	n, err := m.ReadCloser.Read(p)
	m.n += int64(n)
	if errors.Is(err, io.EOF) {
		m.end(m.n)
	}
	return n, err
}

// A relayed response calls begin when it begins. It may take minutes, and the
// request's body is not needed any more.
type relayed struct {
	http.ResponseWriter
	begin func()
}

func (r *relayed) WriteHeader(status int) {
	r.begin()
	r.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the connection.
func (r *relayed) Unwrap() http.ResponseWriter { return r.ResponseWriter }
