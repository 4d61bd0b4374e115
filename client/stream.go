package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"time"
)

const (
	mediaStream       = "text/event-stream"
	headerLastEventID = "Last-Event-ID"
)

// streamSilence is how long a node may be silent before it counts as dead:
// three of the keep-alives that it sends every 15 s.
const streamSilence = 45 * time.Second

var errSilent = errors.New("the node is silent")

// stream is a response that goes on.
type stream struct {
	endpoint string
	at       int64 // the endpoint's place in the ring
	opened   time.Time
	first    *block // was read when the stream was opened, and is still to be told
	blocks   *sseDecoder
	watchdog *watchdog
}

// openStream sends r to the endpoint in use, and returns once the stream has said
// where it begins. The stream is returned with an error too, to be closed.
func (c *Client) openStream(ctx context.Context, r *request) (*stream, *Error) {
	s := &stream{watchdog: newWatchdog(ctx, c.config.AttemptTimeout)}
	s.endpoint, s.at = c.endpoints.choose(r.kind)
	res, e := s.watchdog.send(c, s.endpoint, r)
	if e != nil {
		return s, e
	}
	if e := s.check(res); e != nil {
		return s, e
	}
	c.revision.observe(res.Header)
	s.blocks = newSSEDecoder(s.watchdog)
	if e := s.begin(); e != nil {
		return s, e
	}
	s.opened, s.watchdog.limit = time.Now(), streamSilence
	return s, nil
}

// begin reads up to the first block that says where the stream is.
func (s *stream) begin() *Error {
	retry := time.Duration(0)
	for {
		b, e := s.next()
		if e != nil {
			return e
		}
		if b.retry > 0 {
			retry = b.retry
		}
		if b.id != "" || b.data != nil {
			b.retry = retry
			s.first = &b
			return nil
		}
	}
}

// check returns the error that a response is, if it is no stream.
func (s *stream) check(res *http.Response) *Error {
	media, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if res.StatusCode == http.StatusOK && media == mediaStream {
		return nil
	}
	return failed(s.endpoint, res, s.watchdog)
}

func (s *stream) next() (b block, e *Error) {
	if s.first != nil {
		b, s.first = *s.first, nil
		return b, nil
	}
	b, err := s.blocks.next()
	switch {
	case errors.Is(err, errBlockTooLong):
		e = s.badResponse(err)
	case err != nil:
		e = bodyError(s.endpoint, http.StatusOK, s.watchdog.explain(err))
	}
	return b, e
}

// badResponse is for a stream that is not of the contract.
func (s *stream) badResponse(err error) *Error {
	return &Error{Code: ErrBadResponse, Outcome: OutcomeNotApplied, Endpoint: s.endpoint, Status: http.StatusOK,
		Message: "the stream is not of the contract: " + err.Error(), Err: err}
}

func (s *stream) close() { s.watchdog.close() }

// watchdog ends a request whose node lets it wait for longer than limit. The
// time that the reader takes between reads does not count.
type watchdog struct {
	limit  time.Duration
	ctx    context.Context // of the request
	cancel context.CancelCauseFunc
	timer  *time.Timer
	body   io.ReadCloser // nil: there is no response yet
}

func newWatchdog(ctx context.Context, limit time.Duration) *watchdog {
	w := &watchdog{limit: limit}
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	w.timer = time.AfterFunc(limit, func() { w.cancel(errSilent) })
	return w
}

// send sends r to an endpoint. The body of the answer is read through w.
func (w *watchdog) send(c *Client, endpoint string, r *request) (*http.Response, *Error) {
	req, err := c.newRequest(w.ctx, endpoint, r)
	if err != nil {
		return nil, refuse(ErrInvalidRequest, "%v", err)
	}
	req.Header.Set(headerTimeout, nodeTimeout(w.limit))
	res, err := c.http.Do(req)
	if err != nil {
		return nil, connectionError(req, endpoint, w.explain(err))
	}
	w.body = res.Body
	return res, nil
}

func (w *watchdog) Read(p []byte) (int, error) {
	w.timer.Reset(w.limit)
	defer w.timer.Stop()
	n, err := w.body.Read(p)
	if err != nil && err != io.EOF {
		err = w.explain(err)
	}
	return n, err
}

// explain returns what ended the request, in place of the error that came of it.
func (w *watchdog) explain(err error) error {
	switch cause := context.Cause(w.ctx); {
	case cause == errSilent:
		return fmt.Errorf("%w for %v", errSilent, w.limit)
	case cause != nil:
		return cause
	}
	return err
}

func (w *watchdog) close() {
	w.timer.Stop()
	w.cancel(nil)
	if w.body != nil {
		w.body.Close()
	}
}
