package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/stateraft/stateraft/httpapi/inject"
)

// An upstream is where requests go. Only the operator decides that: neither
// the environment's proxies nor an upstream's redirects are followed.
type upstream struct {
	endpoints [3]*url.URL // by inject.API
	timeout   time.Duration
	transport *http.Transport
}

func newUpstream(c Config) (*upstream, error) {
	openai, err := parseBase("OpenAI", c.OpenAIURL)
	if err != nil {
		return nil, err
	}
	anthropic, err := parseBase("Anthropic", c.AnthropicURL)
	if err != nil {
		return nil, err
	}
	u := &upstream{timeout: c.Timeout, transport: newTransport()}
	u.endpoints[inject.Chat] = openai.JoinPath("chat", "completions")
	u.endpoints[inject.Responses] = openai.JoinPath("responses")
	u.endpoints[inject.Messages] = anthropic.JoinPath("messages")
	return u, nil
}

func parseBase(vendor, base string) (*url.URL, error) {
	u, err := url.Parse(base)
	switch {
	case err != nil:
		return nil, fmt.Errorf("the URL of the %s upstream: %w", vendor, errors.Unwrap(err))
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, fmt.Errorf("the URL of the %s upstream must begin with http:// or https:// and a host", vendor)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("the URL of the %s upstream must have no user, query or fragment", vendor)
	}
	return u.JoinPath("/"), nil // a path in any case
}

// newTransport holds a slow caller's answer back at the upstream, rather than
// in memory, and gives an HTTP/2 connection up that has gone silent: all calls
// would wait on it, until the kernel gives up after a quarter of an hour.
func newTransport() *http.Transport {
	return &http.Transport{
		Proxy:                  nil,
		DialContext:            (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSHandshakeTimeout:    10 * time.Second,
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{MaxReceiveBufferPerStream: 64 << 10, SendPingTimeout: 15 * time.Second, PingTimeout: 10 * time.Second},
		DisableCompression:     true, // the caller's Accept-Encoding decides
		MaxIdleConns:           256,
		MaxIdleConnsPerHost:    256,
		IdleConnTimeout:        60 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// send returns the upstream's answer once its header has come. The caller
// closes its body. plain asks for an answer that is not compressed.
func (u *upstream) send(ctx context.Context, r *http.Request, api inject.API, body []byte, plain bool) (*http.Response, error) {
	endpoint := *u.endpoints[api]
	endpoint.RawQuery = withoutToken(r.URL.RawQuery)
	held := &payload{body}
	first, _ := held.open()
	out := &http.Request{
		Method: http.MethodPost, URL: &endpoint, Host: endpoint.Host,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: requestHeader(r.Header, api, plain),
		Body:   first, GetBody: held.open, ContentLength: int64(len(body)),
	}
	res, err := u.transport.RoundTrip(out.WithContext(ctx))
	held.b = nil // nothing is sent a second time from here on
	if err == nil && res.StatusCode < 200 {
		_ = res.Body.Close()
		return nil, fmt.Errorf("the upstream switched protocols with status %d", res.StatusCode)
	}
	return res, err
}

// withoutToken leaves out the parameter that carries a key of ours.
func withoutToken(query string) string {
	if !strings.Contains(query, "access") && !strings.Contains(query, "%") {
		return query
	}
	var kept []string
	for part := range strings.SplitSeq(query, "&") {
		name, _, _ := strings.Cut(part, "=")
		if name, err := url.QueryUnescape(name); err != nil || name != "access_token" {
			kept = append(kept, part)
		}
	}
	return strings.Join(kept, "&")
}
