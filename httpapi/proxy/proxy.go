// Package proxy passes requests to a language model on to the operator's
// upstream, with the state that they ask for put into them, and passes the
// answers back as they come. What it changes in a body is package inject's
// business and one member of an answer; all other bytes pass untouched.
//
// It does not know who may call it, nor how state is stored. Keys of providers
// pass through it and are neither kept nor logged.
package proxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/stateraft/stateraft/httpapi/inject"
)

// What a Config's zero values mean.
const (
	DefaultOpenAIURL    = "https://api.openai.com/v1"
	DefaultAnthropicURL = "https://api.anthropic.com/v1"
	DefaultTimeout      = 60 * time.Second
	DefaultMaxBodyBytes = 32 << 20
	DefaultMaxInFlight  = 4096
)

const (
	// stallTimeout is how long a caller may take to read what is written to it.
	stallTimeout = 60 * time.Second

	// idleTimeout is how long an upstream may fall silent inside an answer. A
	// model may think for minutes.
	idleTimeout = 10 * time.Minute

	// bufferBytes is what an answer that is passed through takes of memory.
	bufferBytes = 8 << 10

	// maxTellBytes bounds the JSON answers that are read whole to add a member.
	// Longer ones pass without it.
	maxTellBytes = 1 << 20
)

// Config configures a Proxy.
type Config struct {
	OpenAIURL    string                // base of the OpenAI upstream; /chat/completions and /responses are appended
	AnthropicURL string                // base of the Anthropic upstream; /messages is appended
	Timeout      time.Duration         // until the upstream's first byte
	InjectBytes  int                   // budget of the injected text; 0: inject.DefaultBudget
	MaxBodyBytes int64                 // largest request
	MaxInFlight  int                   // requests under way at a time; more get 429
	Logger       *slog.Logger          // nil: discards
	Metrics      prometheus.Registerer // nil: none
}

// Lookup reads a subject's state: one entry for each key, in order, its Version
// 0 where there is none. State that cannot be read is an error, never absent:
// the error is the caller's answer, and nothing is sent upstream.
type Lookup func(ctx context.Context, subject string, keys []string) ([]inject.Entry, error)

// Proxy serves the three routes of the proxy. Its methods may be called at the
// same time.
type Proxy struct {
	log       *slog.Logger
	metrics   *metrics
	upstream  *upstream
	budget    int
	maxBody   int64
	maxFlight int64
	inFlight  atomic.Int64
	buffers   sync.Pool // of *[]byte of bufferBytes
}

// New returns a Proxy. Close ends it.
func New(c Config) (*Proxy, error) {
	c = c.withDefaults()
	switch {
	case c.InjectBytes < inject.MinBudget:
		return nil, fmt.Errorf("proxy: a budget of %d bytes for injected state is below the least, %d", c.InjectBytes, inject.MinBudget)
	case c.Timeout < 0 || c.MaxBodyBytes < 0 || c.MaxInFlight < 0:
		return nil, errors.New("proxy: timeout and limits must not be negative")
	}
	up, err := newUpstream(c)
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	p := &Proxy{
		log: c.Logger, upstream: up, budget: c.InjectBytes,
		maxBody: c.MaxBodyBytes, maxFlight: int64(c.MaxInFlight),
		buffers: sync.Pool{New: func() any { b := make([]byte, bufferBytes); return &b }},
	}
	if p.metrics, err = newMetrics(c.Metrics, &p.inFlight); err != nil {
		return nil, fmt.Errorf("proxy: register metrics: %w", err)
	}
	return p, nil
}

func (c Config) withDefaults() Config {
	c.OpenAIURL = cmp.Or(c.OpenAIURL, DefaultOpenAIURL)
	c.AnthropicURL = cmp.Or(c.AnthropicURL, DefaultAnthropicURL)
	c.Timeout = cmp.Or(c.Timeout, DefaultTimeout)
	c.InjectBytes = cmp.Or(c.InjectBytes, inject.DefaultBudget)
	c.MaxBodyBytes = cmp.Or(c.MaxBodyBytes, DefaultMaxBodyBytes)
	c.MaxInFlight = cmp.Or(c.MaxInFlight, DefaultMaxInFlight)
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	return c
}

// MaxBodyBytes is the largest request that is read.
func (p *Proxy) MaxBodyBytes() int64 { return p.maxBody }

// Close ends the idle connections to the upstreams. Requests under way go on.
func (p *Proxy) Close() { p.upstream.transport.CloseIdleConnections() }

// Serve answers one request. It writes an answer or it returns an error, never
// both: an *Error, or what load or the request's context returned. When an
// answer breaks off midway it panics with http.ErrAbortHandler, so that the
// caller sees a broken connection and no whole answer.
//
// The request ends with its context, the call upstream included. The write
// deadline is Serve's to set: an answer goes on for as long as the caller reads.
func (p *Proxy) Serve(w http.ResponseWriter, r *http.Request, api inject.API, load Lookup) error {
	defer p.inFlight.Add(-1)
	if p.inFlight.Add(1) > p.maxFlight {
		w.Header().Set("Retry-After", "1")
		return &Error{http.StatusTooManyRequests, CodeOverloaded, fmt.Sprintf("%d requests to language models are under way", p.maxFlight)}
	}
	req, err := p.read(w, r, api)
	if err != nil {
		return err
	}
	out := newAnswer(w, p.upstream.timeout)
	body, told, err := p.inject(r.Context(), req, load)
	if err != nil {
		return err
	}
	c := p.newCall(r, api, out, told)
	defer c.stop()
	return c.pass(r, body)
}

// read reads what the caller asks.
func (p *Proxy) read(w http.ResponseWriter, r *http.Request, api inject.API) (*inject.Request, error) {
	body, err := readBody(w, r, p.maxBody)
	if err != nil {
		return nil, err
	}
	req, err := inject.Parse(api, body, r.Header.Get("X-Subject-ID"))
	return req, asError(err)
}

// inject returns the body to send, and what to tell the caller of it.
func (p *Proxy) inject(ctx context.Context, req *inject.Request, load Lookup) ([]byte, *told, error) {
	t := &told{subject: req.Subject, stream: req.Stream}
	if len(req.Keys) == 0 {
		return req.Body(""), t, nil
	}
	entries, err := load(ctx, req.Subject, req.Keys)
	if err == nil && len(entries) != len(req.Keys) {
		err = fmt.Errorf("the lookup of %d keys returned %d entries", len(req.Keys), len(entries))
	}
	if err != nil {
		return nil, nil, err
	}
	out, err := inject.Render(present(entries), p.budget)
	if err != nil {
		return nil, nil, asError(err)
	}
	t.add(entries, out.Truncated)
	p.metrics.injected.Add(float64(len(out.Text)))
	return req.Body(out.Text), t, nil
}

func present(entries []inject.Entry) (some []inject.Entry) {
	for _, e := range entries {
		if e.Version > 0 {
			some = append(some, e)
		}
	}
	return some
}
