package client_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stateraft/stateraft/client"
	"github.com/stateraft/stateraft/internal/contract"
)

var contractDir = contract.Dir("..")

// A script answers requests in process, each as it is written, so that time can
// be synctest's; it reports those that are not the ones written.
type script struct {
	t         *testing.T
	exchanges []contract.Exchange
	streaming bool            // streams are asked for
	bodies    []*scriptedBody // of the streams that it answered with
	asked     int
	last      time.Time // when the last answer came or failed
}

func (s *script) client(c contract.Config) *client.Client {
	config := client.Config{
		Token: c.Token, MaxAttempts: c.MaxAttempts,
		Timeout:          time.Duration(c.TimeoutMs) * time.Millisecond,
		AttemptTimeout:   time.Duration(c.AttemptTimeoutMs) * time.Millisecond,
		NoReadYourWrites: c.ReadYourWrites != nil && !*c.ReadYourWrites,
		HTTPClient:       &http.Client{Transport: s},
	}
	for i := range max(c.Endpoints, 1) {
		config.Endpoints = append(config.Endpoints, fmt.Sprintf("http://node%d", i))
	}
	return connect(s.t, config)
}

// expects has the next requests be these.
func (s *script) expects(exchanges []contract.Exchange) {
	s.exchanges, s.asked, s.last = exchanges, 0, time.Now()
}

// done reports requests that did not come.
func (s *script) done() {
	s.t.Helper()
	if s.asked < len(s.exchanges) {
		s.t.Errorf("%d requests, want %d", s.asked, len(s.exchanges))
	}
}

func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	if s.asked == len(s.exchanges) {
		s.t.Errorf("one request too many: %s %s", r.Method, r.URL.RequestURI())
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	e := s.exchanges[s.asked]
	s.asked++
	s.check(r, e.Request)
	defer func() { s.last = time.Now() }()
	switch e.Response.Failure {
	case "refused":
		return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	case "lost":
		return nil, io.EOF
	case "silent":
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	return s.respond(r.Context(), e.Response), nil
}

func (s *script) respond(ctx context.Context, r contract.Response) *http.Response {
	res := &http.Response{StatusCode: r.Status, Header: http.Header{}}
	body := &scriptedBody{script: s, ctx: ctx, chunks: []contract.Chunk{contract.Chunk(r.Body)}, end: r.End}
	res.Body = body
	res.Header.Set("Content-Type", "application/json")
	switch {
	case r.Failure == "torn":
		body.chunks[0], body.end = body.chunks[0][:len(r.Body)/2], "reset"
	case r.End != "":
		res.Header.Set("Content-Type", "text/event-stream")
		body.chunks, body.silence = slices.Clone(r.Chunks), time.Duration(r.SilentMs)*time.Millisecond
		s.bodies = append(s.bodies, body)
	}
	for name, value := range r.Headers {
		res.Header.Set(name, value)
	}
	res.Close = res.Header.Get("Connection") == "close"
	return res
}

// A scriptedBody arrives chunk by chunk, and ends as it is written.
type scriptedBody struct {
	script  *script
	ctx     context.Context
	chunks  []contract.Chunk
	end     string
	silence time.Duration
	closed  bool
}

func (b *scriptedBody) Read(p []byte) (int, error) {
	if len(b.chunks) > 0 {
		n := copy(p, b.chunks[0])
		if b.chunks[0] = b.chunks[0][n:]; len(b.chunks[0]) == 0 {
			b.chunks = b.chunks[1:]
		}
		return n, nil
	}
	defer func() { b.script.last = time.Now() }()
	switch b.end {
	case "open", "silent":
		from := time.Now()
		<-b.ctx.Done()
		if waited := time.Since(from); b.end == "silent" && waited != b.silence {
			b.script.t.Errorf("gave up on a silent node after %v, want %v", waited, b.silence)
		}
		return 0, b.ctx.Err()
	case "reset":
		return 0, syscall.ECONNRESET
	}
	return 0, io.EOF
}

func (b *scriptedBody) Close() error {
	b.closed = true
	return nil
}

// checkedHeaders are those of which a request has exactly the ones listed.
var checkedHeaders = []string{
	"Authorization", "If-Match", "If-None-Match", "Idempotency-Key", "X-Subject-Id", "X-Session-Id", "X-Stateraft-Min-Revision", "Last-Event-Id",
}

func (s *script) check(r *http.Request, want *contract.Request) {
	body := []byte{}
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
	}
	if host := "node" + strconv.Itoa(want.Endpoint); r.Host != host {
		s.t.Errorf("asked %s, want %s", r.Host, host)
	}
	if got, want := target(s.t, r.Method, r.URL.RequestURI()), target(s.t, want.Method, want.Path); got != want {
		s.t.Errorf("asked for %s\nwant %s", got, want)
	}
	if string(body) != want.Body {
		s.t.Errorf("sent %s\nwant %s", body, want.Body)
	}
	if got, want := r.Header.Get("Content-Type") == "application/json", want.Body != ""; got != want {
		s.t.Errorf("Content-Type: %q", r.Header.Get("Content-Type"))
	}
	s.checkHeaders(r.Header, want.Headers)
	s.checkPause(want.PauseMs)
}

func (s *script) checkHeaders(h http.Header, want map[string]string) {
	got, listed := map[string]string{}, map[string]string{}
	for name, values := range h {
		if name = http.CanonicalHeaderKey(name); slices.Contains(checkedHeaders, name) {
			got[name] = strings.Join(values, ",")
		}
	}
	for name, value := range want {
		listed[http.CanonicalHeaderKey(name)] = value
	}
	if !maps.Equal(got, listed) {
		s.t.Errorf("headers %v, want %v", got, listed)
	}
	if (h.Get("Accept") == "text/event-stream") != s.streaming {
		s.t.Errorf("Accept: %q", h.Get("Accept"))
	}
	if h.Get("User-Agent") != "stateraft-go" || h.Get("X-Stateraft-Timeout") == "" {
		s.t.Errorf("User-Agent %q, X-Stateraft-Timeout %q", h.Get("User-Agent"), h.Get("X-Stateraft-Timeout"))
	}
}

func (s *script) checkPause(want []int) {
	if want == nil {
		want = []int{0, 0}
	}
	pause := time.Since(s.last)
	if least, most := time.Duration(want[0])*time.Millisecond, time.Duration(want[1])*time.Millisecond; pause < least || pause > most {
		s.t.Errorf("request %d came after %v, want %v to %v", s.asked, pause, least, most)
	}
}

// target shows a request's line so that equal ones look equal: segments and
// query decoded, the latter in order.
func target(t *testing.T, method, uri string) string {
	path, query, _ := strings.Cut(uri, "?")
	segments := strings.Split(path, "/")
	for i, segment := range segments {
		decoded, err := url.PathUnescape(segment)
		if err != nil {
			t.Errorf("%s: %v", uri, err)
		}
		segments[i] = strconv.Quote(decoded)
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		t.Errorf("%s: %v", uri, err)
	}
	return method + " " + strings.Join(segments, "/") + "?" + values.Encode()
}

// TestContractCalls has the client make every call of the contract's files.
func TestContractCalls(t *testing.T) {
	for file, cases := range contract.Calls(t, contractDir) {
		runCases(t, strings.TrimSuffix(file, ".json"), cases)
	}
}

// TestContractRetries has it meet every failure.
func TestContractRetries(t *testing.T) {
	runCases(t, "retries", contract.RetryTable(t, contractDir).Cases)
}

func runCases(t *testing.T, file string, cases []contract.Case) {
	if len(cases) == 0 {
		t.Fatalf("%s has no cases", file)
	}
	for _, c := range cases {
		t.Run(file+"/"+c.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{t: t}
				cl := s.client(c.Client)
				for _, step := range c.Steps {
					s.step(cl, step)
				}
			})
		})
	}
}

func (s *script) step(c *client.Client, step contract.Step) {
	call, known := methods[step.Call.Method]
	if !known {
		s.t.Fatalf("unknown method %s", step.Call.Method)
	}
	s.expects(step.Exchanges)
	got, err := call(s.t.Context(), c, step.Call.Args)
	s.done()
	switch {
	case (step.Result == nil) == (step.Error == nil):
		s.t.Fatal("a step has either a result or an error")
	case step.Error != nil:
		checkError(s.t, err, step.Error)
	case err != nil:
		s.t.Errorf("%s: %v", step.Call.Method, err)
	default:
		checkEqual(s.t, step.Call.Method, got, step.Result)
	}
	if step.Revision != nil && c.Revision() != *step.Revision {
		s.t.Errorf("revision %d, want %d", c.Revision(), *step.Revision)
	}
}

// checkError compares the members of an error that the contract lists.
func checkError(t *testing.T, err error, want json.RawMessage) {
	t.Helper()
	var e *client.Error
	if !errors.As(err, &e) {
		t.Errorf("got %v, want %s", err, want)
		return
	}
	all := map[string]any{
		"code": e.Code, "status": e.Status, "outcome": e.Outcome, "attempts": e.Attempts, "expectedVersion": e.ExpectedVersion,
		"currentVersion": e.CurrentVersion, "currentValue": e.CurrentValue, "op": e.Op, "retryAfter": e.RetryAfter.Seconds(),
		"current": e.Current, "limit": e.Limit,
	}
	listed := decoded(t, want).(map[string]any)
	if _, has := listed["status"]; !has && e.Status != 0 {
		t.Errorf("status %d, want none", e.Status)
	}
	got := map[string]any{}
	for name := range listed {
		got[name] = all[name]
	}
	checkEqual(t, "error", got, want)
	if code := listed["code"].(string); !errors.Is(err, client.Code(code)) || errors.Is(err, client.ErrOutcomeUnknown) != (e.Outcome == client.OutcomeUnknown) {
		t.Errorf("errors.Is does not tell what %v is", err)
	}
}

// checkEqual compares as JSON. Where the contract gives only the text of a
// value, its decoded form is left out.
func checkEqual(t *testing.T, what string, got any, want json.RawMessage) {
	t.Helper()
	text, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	g, w := decoded(t, text), decoded(t, want)
	dropValues(g, w)
	left, _ := json.Marshal(g)
	right, _ := json.Marshal(w)
	if !bytes.Equal(left, right) {
		t.Errorf("%s:\ngot  %s\nwant %s", what, left, right)
	}
}

func decoded(t *testing.T, text []byte) (v any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

func dropValues(got, want any) {
	switch w := want.(type) {
	case map[string]any:
		g, _ := got.(map[string]any)
		_, hasValue := w["value"]
		if _, hasRaw := w["raw"]; hasRaw && !hasValue {
			delete(g, "value")
		}
		for name := range w {
			dropValues(g[name], w[name])
		}
	case []any:
		g, _ := got.([]any)
		for i := range min(len(g), len(w)) {
			dropValues(g[i], w[i])
		}
	}
}

// methods are those of methods.json, but for streams, with results in the
// contract's form.
var methods = map[string]func(context.Context, *client.Client, contract.Args) (any, error){
	"state.get": func(ctx context.Context, c *client.Client, a contract.Args) (any, error) {
		e, err := c.State.Get(ctx, a.Workflow, a.Key, readOptions(a)...)
		return entry(e), err
	},
	"state.set": func(ctx context.Context, c *client.Client, a contract.Args) (any, error) {
		v, err := c.State.Set(ctx, a.Workflow, a.Key, contract.JSON(a.Value, a.Raw), writeOptions(a)...)
		return map[string]any{"version": v}, err
	},
	"state.setWithVersion": func(ctx context.Context, c *client.Client, a contract.Args) (any, error) {
		v, err := c.State.SetWithVersion(ctx, a.Workflow, a.Key, contract.JSON(a.Value, a.Raw), a.ExpectedVersion, writeOptions(a)...)
		return map[string]any{"version": v}, err
	},
	"state.delete": func(ctx context.Context, c *client.Client, a contract.Args) (any, error) {
		deleted, err := c.State.Delete(ctx, a.Workflow, a.Key, writeOptions(a)...)
		return map[string]any{"deleted": deleted}, err
	},
	"state.list": func(ctx context.Context, c *client.Client, a contract.Args) (any, error) {
		p, err := c.State.List(ctx, a.Workflow, query(a), readOptions(a)...)
		return page(p, a.Values), err
	},
	"state.pages": func(ctx context.Context, c *client.Client, a contract.Args) (any, error) {
		all := []any{}
		for p, err := range c.State.Pages(ctx, a.Workflow, query(a), readOptions(a)...) {
			if err != nil {
				return nil, err
			}
			all = append(all, page(p, a.Values))
		}
		return map[string]any{"pages": all}, nil
	},
	"state.atomic": func(ctx context.Context, c *client.Client, a contract.Args) (any, error) {
		results, err := c.State.Atomic(ctx, a.Workflow, operations(a.Ops), writeOptions(a)...)
		return map[string]any{"results": opResults(a.Ops, results)}, err
	},
	"agent.get": func(ctx context.Context, c *client.Client, a contract.Args) (any, error) {
		e, err := c.Agent.Get(ctx, a.Subject, a.Key, readOptions(a)...)
		return agentEntry(e), err
	},
	"agent.set": func(ctx context.Context, c *client.Client, a contract.Args) (any, error) {
		v, err := c.Agent.Set(ctx, a.Subject, a.Key, contract.JSON(a.Value, a.Raw), writeOptions(a)...)
		return map[string]any{"version": v}, err
	},
	"agent.delete": func(ctx context.Context, c *client.Client, a contract.Args) (any, error) {
		return map[string]any{}, c.Agent.Delete(ctx, a.Subject, a.Key, writeOptions(a)...)
	},
	"agent.list": func(ctx context.Context, c *client.Client, a contract.Args) (any, error) {
		p, err := c.Agent.List(ctx, a.Subject, agentQuery(a), readOptions(a)...)
		return agentPage(p), err
	},
	"agent.pages": func(ctx context.Context, c *client.Client, a contract.Args) (any, error) {
		all := []any{}
		for p, err := range c.Agent.Pages(ctx, a.Subject, agentQuery(a), readOptions(a)...) {
			if err != nil {
				return nil, err
			}
			all = append(all, agentPage(p))
		}
		return map[string]any{"pages": all}, nil
	},
	"health": func(ctx context.Context, c *client.Client, _ contract.Args) (any, error) {
		return map[string]any{}, c.Health(ctx)
	},
	"ready": func(ctx context.Context, c *client.Client, _ contract.Args) (any, error) {
		return map[string]any{}, c.Ready(ctx)
	},
}

func ttl(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }

func readOptions(a contract.Args) (opts []client.ReadOption) {
	if a.Consistency == "stale" {
		opts = append(opts, client.Stale())
	}
	if a.MinRevision > 0 {
		opts = append(opts, client.MinRevision(a.MinRevision))
	}
	return opts
}

func writeOptions(a contract.Args) []client.WriteOption {
	opts := []client.WriteOption{client.WithTTL(ttl(a.TTL)), client.WithIdempotencyKey(a.IdempotencyKey)}
	if a.IfVersion != nil {
		opts = append(opts, client.IfVersion(*a.IfVersion))
	}
	if a.IfExists {
		opts = append(opts, client.IfExists())
	}
	if a.IfAbsent {
		opts = append(opts, client.IfAbsent())
	}
	if a.ReturnCurrent {
		opts = append(opts, client.ReturnCurrent())
	}
	if a.Session != nil {
		opts = append(opts, client.WithSession(*a.Session))
	}
	return opts
}

func query(a contract.Args) client.Query {
	return client.Query{Prefix: a.Prefix, After: a.After, Reverse: a.Reverse, Limit: a.Limit, Values: a.Values}
}

func agentQuery(a contract.Args) client.AgentQuery {
	return client.AgentQuery{Prefix: a.Prefix, After: a.After, Limit: a.Limit, Session: a.Session}
}

func operations(ops []contract.Op) (list []client.Op) {
	for _, o := range ops {
		var op client.Op
		switch o.Op {
		case "set":
			op = client.SetOp(o.Key, contract.JSON(o.Value, o.Raw)).TTL(ttl(o.TTL))
		case "delete":
			op = client.DeleteOp(o.Key)
		case "check":
			op = client.CheckOp(o.Key, *o.ExpectedVersion)
		}
		if o.ExpectedVersion != nil {
			op = op.AtVersion(*o.ExpectedVersion)
		}
		list = append(list, op)
	}
	return list
}

// The contract's forms of results: null for what is not there.

func instant(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z07:00")
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func entry(e client.Entry) any {
	return map[string]any{"key": e.Key, "value": e.Value, "raw": string(e.Value), "version": e.Version,
		"updatedAt": instant(e.UpdatedAt), "expiresAt": instant(e.ExpiresAt)}
}

func page(p client.Page, values bool) any {
	entries := []any{}
	for _, e := range p.Entries {
		entries = append(entries, entry(e))
	}
	all := map[string]any{"keys": p.Keys, "entries": entries, "next": orNull(p.Next)}
	if !values {
		all["entries"] = p.Entries // which is null
	}
	return all
}

func opResults(ops []contract.Op, results []client.OpResult) []any {
	all := []any{}
	for i, r := range results {
		one := map[string]any{"version": r.Version}
		if i < len(ops) && ops[i].Op == "delete" {
			one["deleted"] = r.Deleted
		}
		all = append(all, one)
	}
	return all
}

func agentEntry(e client.AgentEntry) any {
	return map[string]any{"key": e.Key, "value": e.Value, "raw": string(e.Value), "version": e.Version, "session": orNull(e.Session),
		"createdAt": instant(e.CreatedAt), "updatedAt": instant(e.UpdatedAt), "expiresAt": instant(e.ExpiresAt)}
}

func agentPage(p client.AgentPage) any {
	entries := []any{}
	for _, e := range p.Entries {
		entries = append(entries, agentEntry(e))
	}
	return map[string]any{"entries": entries, "next": orNull(p.Next)}
}
