package httpapi

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/stateraft/stateraft/cluster"
	"github.com/stateraft/stateraft/httpapi/stream"
)

// spareDescriptors are those that streams leave to everything else: other
// requests, Raft, files.
const spareDescriptors = 1500

// defaultMaxStreams is as many as the process may have descriptors for, less
// the spare ones; half of them where there are few.
func defaultMaxStreams() int {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return spareDescriptors
	}
	n := int(min(limit.Cur, 1<<30))
	return max(n-spareDescriptors, n/2)
}

// eventParams are the query parameters that every stream takes.
var eventParams = []string{querySnapshot, queryLastEventID, queryConsistency, queryAccessToken}

// streamKey serves GET /v1/state/{workflow}/{key}/stream.
func (s *Server) streamKey(w http.ResponseWriter, r *request) error {
	namespace, key, err := r.target()
	if err != nil {
		return err
	}
	return s.stream(w, r, stream.Topic{Namespace: namespace, Name: key})
}

// streamKeys serves GET /v1/state/{workflow} to those who want events.
func (s *Server) streamKeys(w http.ResponseWriter, r *request) error {
	if err := r.onlyEvents(); err != nil {
		return err
	}
	namespace, err := r.namespace()
	if err != nil {
		return err
	}
	prefix, err := r.namePart(queryPrefix)
	if err != nil {
		return err
	}
	return s.stream(w, r, stream.Topic{Namespace: namespace, Name: prefix, Prefix: true})
}

// onlyEvents refuses what a stream of all keys with a prefix does not take.
func (r *request) onlyEvents() error {
	return r.only("an event stream", append([]string{queryPrefix}, eventParams...)...)
}

// wantsEvents decides what a path that serves both answers with.
func (r *request) wantsEvents() bool {
	return r.accepts("text/event-stream") > r.accepts("application/json")
}

// accepts returns the weight that the client gives a media type by its name, from
// 0 to 1 (RFC 9110, section 12.5.1); 0 if it does not name it.
func (r *request) accepts(kind string) (weight float64) {
	for _, line := range r.Header["Accept"] {
		for accepted := range strings.SplitSeq(line, ",") {
			named, params, _ := mime.ParseMediaType(accepted)
			if named != kind {
				continue
			}
			q, err := strconv.ParseFloat(params["q"], 64)
			if err != nil {
				q = 1
			}
			weight = max(weight, q)
		}
	}
	return weight
}

// stream answers with the changes of a topic.
func (s *Server) stream(w http.ResponseWriter, r *request, t stream.Topic) error {
	if s.draining.Load() || s.cutoff.found() {
		return s.endAtOnce(w)
	}
	from, err := s.streamStart(r)
	switch {
	case (errors.Is(err, cluster.ErrNoLeader) || errors.Is(err, cluster.ErrBehind)) && s.servesNoStream():
		return s.endAtOnce(w) // since it began to wait, or because it has much to catch up with
	case err != nil:
		return err
	}
	setRevision(w, s.cluster.State().Point().Revision)
	setStreamHeaders(w.Header())
	if r.Method == http.MethodHead {
		w.WriteHeader(http.StatusOK)
		return nil
	}
	from.While = r.lease()
	subscription, err := s.streams.Subscribe(t, from)
	switch {
	case errors.Is(err, stream.ErrFull):
		n := uint64(s.streams.Stats().Streams) // as many as there may be
		return overLimit(n, n, "%s", err)
	case errors.Is(err, stream.ErrEnded):
		return s.endAtOnce(w)
	case err != nil:
		return keyEnded(err)
	}
	if r.TLS == nil && r.ProtoMajor == 1 {
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			return attach(w.Header(), r, conn, subscription)
		}
	}
	return serveStream(w, r, subscription)
}

func setStreamHeaders(h http.Header) {
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Accel-Buffering", "no")
}

// servesNoStream reports whether a stream that has waited for this node in vain
// would go on doing so.
func (s *Server) servesNoStream() bool {
	return s.draining.Load() || s.cutoff.found() || errors.Is(s.cluster.Ready(), cluster.ErrCatchingUp)
}

// endAtOnce answers on a node that drains, catches up or is cut off: with a stream that ends
// before it has said where it begins. To any status but 200 a browser's
// EventSource would close for good; so it tries again, until the node is gone or
// back.
func (s *Server) endAtOnce(w http.ResponseWriter) error {
	setRevision(w, s.cluster.State().Point().Revision)
	setStreamHeaders(w.Header())
	_, _ = io.WriteString(w, stream.RetryBlock) // the client has left: nobody to tell
	return nil
}

// streamStart decides where a stream begins: behind the last event that the
// client has seen, or at a state as fresh as it asks.
func (s *Server) streamStart(r *request) (from stream.Start, err error) {
	if from.Snapshot, err = r.flag(querySnapshot); err != nil {
		return from, err
	}
	id, resumes, err := r.lastEventID()
	if err != nil {
		return from, err
	}
	if resumes {
		return s.resumeAfter(r, id)
	}
	state, err := s.consistent(r)
	if err != nil {
		return from, err
	}
	from.After = state.Point().Revision
	return from, nil
}

// resumeAfter waits until this node has the event that the client has seen.
// An id that the cluster does not know is of a state that is no more.
func (s *Server) resumeAfter(r *request, id uint64) (from stream.Start, err error) {
	if err := r.checkFreshness(); err != nil {
		return from, err
	}
	ctx, cancel, err := r.deadline()
	if err != nil {
		return from, err
	}
	defer cancel()
	if s.cluster.State().Point().Revision < id {
		err = s.cluster.WaitRevision(ctx, id)
	}
	if errors.Is(err, cluster.ErrRevisionUnknown) {
		return stream.Start{Resync: true}, nil
	}
	return stream.Start{After: id}, err
}

// lastEventID reads where the client goes on; false if it does not say. The
// header wins: browsers send it when they connect again to an URL that names
// where they began. An empty one says nothing.
func (r *request) lastEventID() (uint64, bool, error) {
	what := "header " + headerLastEventID
	id, _, err := r.header(headerLastEventID)
	if err != nil {
		return 0, false, err
	}
	if id == "" {
		if !r.query.Has(queryLastEventID) {
			return 0, false, nil
		}
		what, id = "query parameter "+queryLastEventID, r.query.Get(queryLastEventID)
	}
	revision, err := parseRevision(id)
	if err != nil {
		return 0, false, refuse(codeInvalidRequest, "%s must be a revision: an integer from 0", what)
	}
	return revision, true, nil
}

// attach lets the hub have the connection, and with it all that this request
// held beside it.
func attach(h http.Header, r *request, conn net.Conn, s *stream.Subscription) error {
	head := streamHead(h)
	if c, ok := conn.(stream.Conn); ok {
		s.Attach(c, head)
		return nil
	}
	defer conn.Close()
	if _, err := conn.Write(head); err != nil {
		s.Abandon()
		return nil // the client has left: nobody to tell
	}
	_ = s.Serve(r.Context(), conn) // why a stream ended is of no interest to its client
	return nil
}

// streamHead is the head of a response that ends with its connection.
func streamHead(h http.Header) []byte {
	h.Set("Connection", "close")
	h.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	var b bytes.Buffer
	b.WriteString("HTTP/1.1 200 OK\r\n")
	_ = h.Write(&b) // to memory
	b.WriteString("\r\n")
	return b.Bytes()
}

// serveStream answers where the connection cannot be had: over TLS, on
// HTTP/2, in tests.
func serveStream(w http.ResponseWriter, r *request, s *stream.Subscription) error {
	c := http.NewResponseController(w)
	_ = c.SetReadDeadline(time.Time{}) // where there is none, in tests, none passes
	w.WriteHeader(http.StatusOK)
	_ = s.Serve(r.Context(), &flushed{w, c}) // why a stream ended is of no interest to its client
	return nil
}

// flushed sends what is written at once.
type flushed struct {
	http.ResponseWriter
	*http.ResponseController
}

func (f *flushed) Write(b []byte) (int, error) {
	n, err := f.ResponseWriter.Write(b)
	if err == nil {
		err = f.Flush()
	}
	return n, err
}
