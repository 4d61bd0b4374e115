package httpapi

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/julienschmidt/httprouter"

	"github.com/stateraft/stateraft/httpapi/auth"
)

// How long a request waits for a leader, a commit or a revision.
const (
	defaultTimeout = 15 * time.Second
	maxTimeout     = 60 * time.Second
)

// A request is an HTTP request at its route.
type request struct {
	*http.Request
	route  *route
	params httprouter.Params // still escaped: see segment
	query  url.Values        // each parameter once

	principal auth.Principal
	waited    time.Duration // of its time, until its sender's key was confirmed

	reserved int64 // of the server's budget for bodies
}

// parseQuery refuses parameters that are not known or come twice: a misspelt
// "prefx" must not list everything.
func parseQuery(raw string, known []string) (url.Values, error) {
	if raw == "" {
		return nil, nil
	}
	query, err := url.ParseQuery(raw)
	if err != nil {
		return nil, refuse(codeInvalidRequest, "the query string is malformed: %s", err)
	}
	for _, name := range slices.Sorted(maps.Keys(query)) {
		if !slices.Contains(known, name) {
			return nil, refuse(codeInvalidRequest, "unknown query parameter %s", quoted(name))
		}
		if len(query[name]) > 1 {
			return nil, refuse(codeInvalidRequest, "query parameter %s is given more than once", name)
		}
	}
	return query, nil
}

// only refuses parameters that are for another answer of the same path.
func (r *request) only(what string, names ...string) error {
	for _, name := range slices.Sorted(maps.Keys(r.query)) {
		if !slices.Contains(names, name) {
			return refuse(codeInvalidRequest, "query parameter %s is not for %s: see the header Accept", name, what)
		}
	}
	return nil
}

// segment returns the decoded path segment of that name.
func (r *request) segment(name string) (string, error) {
	s, err := url.PathUnescape(r.params.ByName(name))
	if err != nil {
		return "", refuse(codeInvalidRequest, "%s is badly percent-encoded: %s", name, err)
	}
	return s, nil
}

// header returns the only value of a header, whose name is in canonical form;
// false if it was not sent.
func (r *request) header(name string) (string, bool, error) {
	switch values := r.Header[name]; len(values) {
	case 0:
		return "", false, nil
	case 1:
		return values[0], true, nil
	default:
		return "", false, refuse(codeInvalidRequest, "header %s is given more than once", name)
	}
}

// flag reads a boolean query parameter; absent is false.
func (r *request) flag(name string) (bool, error) {
	if !r.query.Has(name) {
		return false, nil
	}
	switch r.query.Get(name) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, refuse(codeInvalidRequest, "query parameter %s must be true or false", name)
}

// deadline returns the request's context, ended when the caller has waited
// long enough. cancel must be called.
func (r *request) deadline() (ctx context.Context, cancel context.CancelFunc, err error) {
	timeout, err := r.timeout()
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel = context.WithTimeout(r.Context(), timeout-r.waited)
	return ctx, cancel, nil
}

func (r *request) timeout() (time.Duration, error) {
	h, sent, err := r.header(headerTimeout)
	if err != nil || !sent {
		return defaultTimeout, err
	}
	seconds, err := strconv.ParseFloat(h, 64)
	// Written so that NaN is refused too.
	if err != nil || !(seconds > 0 && seconds <= maxTimeout.Seconds()) {
		return 0, refuse(codeInvalidRequest, "header %s must be a number of seconds above 0 and at most %g",
			headerTimeout, maxTimeout.Seconds())
	}
	return max(time.Duration(seconds*float64(time.Second)), 1), nil
}
