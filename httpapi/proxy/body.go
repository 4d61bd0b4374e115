package proxy

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/stateraft/stateraft/httpapi/inject"
)

// readBody reads a body of at most limit bytes.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if e := r.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return nil, &Error{http.StatusUnsupportedMediaType, CodeEncoding, "the body must not be compressed"}
	}
	if r.ContentLength > limit {
		return nil, tooLarge(limit)
	}
	// A length that is told is taken at once: growing towards it would take
	// more than that.
	if r.ContentLength >= 0 {
		body := make([]byte, r.ContentLength)
		_, err := io.ReadFull(r.Body, body)
		return body, unread(err, limit)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	return body, unread(err, limit)
}

func unread(err error, limit int64) error {
	if tooBig := (*http.MaxBytesError)(nil); errors.As(err, &tooBig) {
		return tooLarge(limit)
	}
	if err != nil {
		return &Error{http.StatusBadRequest, inject.CodeInvalidJSON, "the body could not be read: " + err.Error()}
	}
	return nil
}

func tooLarge(limit int64) error {
	return &Error{http.StatusRequestEntityTooLarge, CodeTooLarge, fmt.Sprintf("the body must be at most %d bytes", limit)}
}

// A payload is the body of a request upstream. Its bytes are given up as soon
// as they have been sent and nobody can ask for them again: an answer may take
// minutes.
type payload struct{ b []byte }

func (p *payload) open() (io.ReadCloser, error) { return &payloadReader{p.b}, nil }

type payloadReader struct{ left []byte }

func (r *payloadReader) Read(b []byte) (int, error) {
	if len(r.left) == 0 {
		r.left = nil
		return 0, io.EOF
	}
	n := copy(b, r.left)
	r.left = r.left[n:]
	return n, nil
}

// Close does nothing: it may come while another goroutine reads.
func (r *payloadReader) Close() error { return nil }
