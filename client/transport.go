package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

const (
	headerRevision       = "X-Stateraft-Revision"
	headerMinRevision    = "X-Stateraft-Min-Revision"
	headerTimeout        = "X-Stateraft-Timeout"
	headerIdempotencyKey = "Idempotency-Key"
)

// maxResponseBytes bounds what is read of a response. A list without a limit
// can be longer: Pages reads it in pieces.
const maxResponseBytes = 64 << 20

// request is one call, however often it is sent.
type request struct {
	kind        kind
	method      string
	path        string // escaped
	query       url.Values
	header      http.Header
	body        []byte
	minRevision uint64
}

// setHeader exists because most calls have no headers of their own.
func (r *request) setHeader(name, value string) {
	if r.header == nil {
		r.header = http.Header{}
	}
	r.header.Set(name, value)
}

func (r *request) setQuery(name, value string) {
	if r.query == nil {
		r.query = url.Values{}
	}
	r.query.Set(name, value)
}

// setRange has r read a piece of a list.
func (r *request) setRange(prefix, after string, limit int) {
	if prefix != "" {
		r.setQuery("prefix", prefix)
	}
	if after != "" {
		r.setQuery("after", after)
	}
	if limit > 0 {
		r.setQuery("limit", strconv.Itoa(limit))
	}
}

// attempt sends r to one endpoint, at that place in the ring, once, and decodes
// the answer into out.
func (c *Client) attempt(ctx context.Context, endpoint string, at int64, r *request, out any) *Error {
	ctx, cancel := context.WithTimeout(ctx, c.config.AttemptTimeout)
	defer cancel()
	req, err := c.newRequest(ctx, endpoint, r)
	if err != nil {
		return refuse(ErrInvalidRequest, "%v", err)
	}
	deadline, _ := ctx.Deadline()
	req.Header.Set(headerTimeout, nodeTimeout(time.Until(deadline)))
	res, err := c.http.Do(req)
	if err != nil {
		return connectionError(req, endpoint, err)
	}
	defer res.Body.Close()
	if res.Close {
		c.endpoints.leave(at) // a node that ends its connections is about to end itself
	}
	body, err := readBody(res.Body, maxResponseBytes)
	if err != nil {
		return bodyError(endpoint, res.StatusCode, err)
	}
	c.revision.observe(res.Header)
	if res.StatusCode/100 == 2 {
		return decode(endpoint, res.StatusCode, body, out)
	}
	return responseError(endpoint, res, body)
}

func (c *Client) newRequest(ctx context.Context, endpoint string, r *request) (*http.Request, error) {
	target := endpoint + r.path
	if len(r.query) > 0 {
		target += "?" + r.query.Encode()
	}
	req, err := http.NewRequestWithContext(withConnection(ctx), r.method, target, bytes.NewReader(r.body))
	if err != nil {
		return nil, err
	}
	for name, values := range r.header {
		req.Header[name] = values
	}
	hideIdempotencyKey(req.Header)
	req.Header.Set("User-Agent", "stateraft-go")
	if len(r.body) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.config.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.config.Token)
	}
	if r.minRevision > 0 {
		req.Header.Set(headerMinRevision, strconv.FormatUint(r.minRevision, 10))
	}
	return req, nil
}

// hideIdempotencyKey writes the header's name in a way that net/http does not
// look for: it would send such a request again by itself, and tell of the last
// try only, so that a write which happened could look like one that was not
// sent. Names of headers have no case on the wire.
func hideIdempotencyKey(h http.Header) {
	if key, ok := h[headerIdempotencyKey]; ok {
		delete(h, headerIdempotencyKey)
		h[strings.ToLower(headerIdempotencyKey)] = key
	}
}

// nodeTimeout is the time that a node gets, in seconds: nine tenths of what is
// left, so that its answer is here before this side hangs up.
func nodeTimeout(left time.Duration) string {
	seconds := left.Seconds() * 0.9
	return strconv.FormatFloat(min(max(seconds, 0.001), 60), 'f', 3, 64)
}

var errTooLong = errors.New("the answer is too long; a limit makes it shorter")

func readBody(r io.Reader, most int64) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r, most+1))
	if err == nil && int64(len(body)) > most {
		err = errTooLong
	}
	return body, err
}

// connectionError tells a connection that was never made, so that nothing was
// sent, from one that broke at some other time.
func connectionError(req *http.Request, endpoint string, err error) *Error {
	if u := (*url.Error)(nil); errors.As(err, &u) {
		err = u.Err // without the URL, which holds a key
	}
	e := &Error{Code: ErrNoAnswer, Outcome: OutcomeUnknown, Endpoint: endpoint, Message: err.Error(), Err: err}
	if op := (*net.OpError)(nil); errors.As(err, &op) && op.Op == "dial" || hadNoConnection(req) {
		e.Code, e.Outcome = ErrUnreachable, OutcomeNotApplied
	}
	return e
}

// A connection is what is known of the connection of a request: an error alone
// does not tell whether the time was over before there was one.
type connection struct{ awaited, had atomic.Bool }

type connectionKey struct{}

func withConnection(ctx context.Context) context.Context {
	c := &connection{}
	return context.WithValue(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { c.awaited.Store(true) },
		GotConn: func(httptrace.GotConnInfo) { c.had.Store(true) },
	}), connectionKey{}, c)
}

// hadNoConnection reports whether a request waited for a connection in vain. A
// transport that does not tell leaves it open.
func hadNoConnection(req *http.Request) bool {
	c, _ := req.Context().Value(connectionKey{}).(*connection)
	return c != nil && c.awaited.Load() && !c.had.Load()
}

// bodyError is for an answer that began and did not end as it should.
func bodyError(endpoint string, status int, err error) *Error {
	e := &Error{Code: ErrNoAnswer, Outcome: OutcomeUnknown, Endpoint: endpoint, Err: err}
	e.Message = "the answer broke off: " + err.Error()
	if errors.Is(err, errTooLong) {
		e.Code, e.Status, e.Message = ErrBadResponse, status, err.Error()
	}
	return e
}

// failed reads a response that is not a success, and returns the error that it is.
func failed(endpoint string, res *http.Response, body io.Reader) *Error {
	b, err := readBody(body, maxResponseBytes)
	if err != nil {
		return bodyError(endpoint, res.StatusCode, err)
	}
	return responseError(endpoint, res, b)
}

func decode(endpoint string, status int, body []byte, out any) *Error {
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(body, out); err != nil {
		return &Error{Code: ErrBadResponse, Outcome: OutcomeUnknown, Endpoint: endpoint, Status: status,
			Message: "the answer is not of the contract: " + err.Error(), Err: err}
	}
	return nil
}
