package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stateraft/stateraft/client"
)

// connect returns a client of the handlers, each served as one endpoint.
func connect(t *testing.T, config client.Config, handlers ...http.Handler) *client.Client {
	t.Helper()
	for _, h := range handlers {
		node := httptest.NewServer(h)
		t.Cleanup(node.Close)
		config.Endpoints = append(config.Endpoints, node.URL)
	}
	c, err := client.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// Ensure each call puts on the wire what the contract says.
func TestRequests(t *testing.T) {
	ctx := context.Background()
	type call = func(c *client.Client) error
	set := func(value any, opts ...client.WriteOption) call {
		return func(c *client.Client) error { _, err := c.State.Set(ctx, "wf", "k", value, opts...); return err }
	}
	get := func(wf, key string, opts ...client.ReadOption) call {
		return func(c *client.Client) error { _, err := c.State.Get(ctx, wf, key, opts...); return err }
	}
	list := func(q client.Query) call {
		return func(c *client.Client) error { _, err := c.State.List(ctx, "wf", q); return err }
	}
	tests := []struct {
		name   string
		call   call
		want   string // method, target and body
		header string // and one header
	}{
		{"set", set(map[string]int{"a": 1}), `POST /v1/state/wf/k {"value":{"a":1}}`, "Content-Type: application/json"},
		{"null is a value", set(nil), `POST /v1/state/wf/k {"value":null}`, ""},
		{"raw value keeps its bytes", set(json.RawMessage(`{"b":1.10, "a":"<\u00e9/>", "a":12345678901234567890}`)),
			`POST /v1/state/wf/k {"value":{"b":1.10,"a":"<\u00e9/>","a":12345678901234567890}}`, ""},
		{"ttl", set(1, client.WithTTL(90*time.Second)), `POST /v1/state/wf/k {"value":1,"ttl":90}`, ""},
		{"ttl below a second", set(1, client.WithTTL(250*time.Millisecond)), `POST /v1/state/wf/k {"value":1,"ttl":0.25}`, ""},
		// Rounded down it would be 0, which is no end.
		{"ttl below its resolution", set(1, client.WithTTL(time.Nanosecond)), `POST /v1/state/wf/k {"value":1,"ttl":0.001}`, ""},
		{"negative ttl is for the node to refuse", set(1, client.WithTTL(-time.Second)), `POST /v1/state/wf/k {"value":1,"ttl":-1}`, ""},
		{"if version", set(1, client.IfVersion(7)), `POST /v1/state/wf/k {"value":1}`, `If-Match: "7"`},
		{"if version 0", set(1, client.IfVersion(0)), `POST /v1/state/wf/k {"value":1}`, `If-None-Match: *`},
		{"if exists", set(1, client.IfExists()), `POST /v1/state/wf/k {"value":1}`, `If-Match: *`},
		{"if absent", set(1, client.IfAbsent()), `POST /v1/state/wf/k {"value":1}`, `If-None-Match: *`},
		{"idempotency key", set(1, client.WithIdempotencyKey("abc")), `POST /v1/state/wf/k {"value":1}`, `Idempotency-Key: abc`},
		{"return current", set(1, client.ReturnCurrent()), `POST /v1/state/wf/k?returnCurrent=true {"value":1}`, ""},
		{"set with version", func(c *client.Client) error {
			_, err := c.State.SetWithVersion(ctx, "wf", "k", 1, 3, client.WithTTL(time.Second))
			return err
		}, `POST /v1/state/wf/k/version {"value":1,"ttl":1,"expectedVersion":3}`, ""},
		{"create", func(c *client.Client) error {
			_, err := c.State.SetWithVersion(ctx, "wf", "k", 1, 0)
			return err
		}, `POST /v1/state/wf/k/version {"value":1,"expectedVersion":0}`, ""},
		{"delete", func(c *client.Client) error {
			_, err := c.State.Delete(ctx, "wf", "k", client.IfVersion(2))
			return err
		}, `DELETE /v1/state/wf/k `, `If-Match: "2"`},
		{"get", get("wf", "tool:weather"), `GET /v1/state/wf/tool:weather `, "Authorization: Bearer secret"},
		{"path is escaped", get("a/b", "c%2Fd ?#é"), `GET /v1/state/a%2Fb/c%252Fd%20%3F%23%C3%A9 `, ""},
		{"keys named as routes", get("wf", "stream"), `GET /v1/state/wf/stream `, ""},
		{"stale", get("wf", "k", client.Stale()), `GET /v1/state/wf/k?consistency=stale `, ""},
		{"min revision", get("wf", "k", client.MinRevision(9)), `GET /v1/state/wf/k `, "X-Stateraft-Min-Revision: 9"},
		{"list", list(client.Query{}), `GET /v1/state/wf `, ""},
		{"list, all options", list(client.Query{Prefix: "a/", After: "a/1", Reverse: true, Limit: 5, Values: true}),
			`GET /v1/state/wf?after=a%2F1&limit=5&prefix=a%2F&reverse=true&values=true `, ""},
		{"atomic", func(c *client.Client) error {
			_, err := c.State.Atomic(ctx, "wf", []client.Op{
				client.SetOp("a", nil).TTL(time.Second).AtVersion(4), client.DeleteOp("b"), client.CheckOp("c", 0)})
			return err
		}, `POST /v1/state/wf {"ops":[{"op":"set","key":"a","value":null,"ttl":1,"expectedVersion":4},` +
			`{"op":"delete","key":"b"},{"op":"check","key":"c","expectedVersion":0}]}`, ""},
		{"status", func(c *client.Client) error { _, err := c.Cluster.Status(ctx); return err }, `GET /v1/cluster `, ""},
		{"transfer", func(c *client.Client) error { return c.Cluster.TransferLeadership(ctx, "n2") },
			`POST /v1/cluster/leader/transfer {"to":"n2"}`, ""},
		{"transfer to the best", func(c *client.Client) error { return c.Cluster.TransferLeadership(ctx, "") },
			`POST /v1/cluster/leader/transfer `, ""},
		{"remove", func(c *client.Client) error { return c.Cluster.RemoveMember(ctx, "n/2") }, `DELETE /v1/cluster/members/n%2F2 `, ""},
		{"drain", func(c *client.Client) error { return c.Cluster.Drain(ctx) }, `POST /v1/cluster/drain `, ""},
		{"health", func(c *client.Client) error { return c.Health(ctx) }, `GET /health `, ""},
		{"ready", func(c *client.Client) error { return c.Ready(ctx) }, `GET /ready `, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got string
			var header http.Header
			c := connect(t, client.Config{Token: "secret"}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				got, header = r.Method+" "+r.RequestURI+" "+string(body), r.Header
				io.WriteString(w, `{}`)
			}))
			if err := tt.call(c); err != nil {
				t.Fatal(err)
			}
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if name, want, _ := strings.Cut(tt.header, ": "); header.Get(name) != want {
				t.Errorf("%s: got %q, want %q", name, header.Get(name), want)
			}
		})
	}
}

// Ensure what cannot be meant is refused before anything is sent.
func TestRefusedHere(t *testing.T) {
	ctx := context.Background()
	c := connect(t, client.Config{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("sent %s %s", r.Method, r.RequestURI)
	}))
	set := func(wf, key string, value any) error { _, err := c.State.Set(ctx, wf, key, value); return err }
	tests := []struct {
		name string
		call func() error
		want client.Code
	}{
		{"empty key", func() error { return set("wf", "", 1) }, client.ErrInvalidKey},
		{"empty workflow", func() error { return set("", "k", 1) }, client.ErrInvalidKey},
		{"dot key", func() error { return set("wf", "..", 1) }, client.ErrInvalidKey},
		{"dot workflow", func() error { return set(".", "k", 1) }, client.ErrInvalidKey},
		{"value without JSON", func() error { return set("wf", "k", make(chan int)) }, client.ErrInvalidRequest},
		{"bad raw value", func() error { return set("wf", "k", json.RawMessage(`{"a":`)) }, client.ErrInvalidRequest},
		{"delete with TTL", func() error {
			_, err := c.State.Delete(ctx, "wf", "k", client.WithTTL(time.Second))
			return err
		}, client.ErrInvalidRequest},
		{"two conditions", func() error {
			_, err := c.State.SetWithVersion(ctx, "wf", "k", 1, 2, client.IfExists())
			return err
		}, client.ErrInvalidRequest},
		{"atomic with TTL", func() error {
			_, err := c.State.Atomic(ctx, "wf", []client.Op{client.SetOp("k", 1)}, client.WithTTL(time.Second))
			return err
		}, client.ErrInvalidRequest},
		{"key of an operation that is no UTF-8", func() error {
			_, err := c.State.Atomic(ctx, "wf", []client.Op{client.SetOp("k", 1), client.SetOp("a\xff", 1)})
			return err
		}, client.ErrInvalidKey},
		{"agent state with the current value", func() error {
			_, err := c.Agent.Set(ctx, "s", "k", 1, client.ReturnCurrent())
			return err
		}, client.ErrInvalidRequest},
		{"session of a workflow", func() error {
			_, err := c.State.Set(ctx, "wf", "k", 1, client.WithSession("s"))
			return err
		}, client.ErrInvalidRequest},
		{"session of a delete", func() error { return c.Agent.Delete(ctx, "s", "k", client.WithSession("s")) }, client.ErrInvalidRequest},
		{"prefix of a key", func() error {
			_, err := c.Agent.Subscribe(ctx, "s", "k", client.Prefix("a"))
			return err
		}, client.ErrInvalidRequest},
		{"remove nobody", func() error { return c.Cluster.RemoveMember(ctx, "") }, client.ErrInvalidKey},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.call()
			if !errors.Is(err, tt.want) || errors.Is(err, client.ErrOutcomeUnknown) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func TestGet(t *testing.T) {
	c := connect(t, client.Config{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `{"value":{"n":1.10},"version":3,"updatedAt":"2026-11-21T12:00:00.000Z","expiresAt":null}`)
	}))
	e, err := c.State.Get(context.Background(), "wf", "k")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(e.Value), `{"n":1.10}`; got != want || e.Key != "k" || e.Version != 3 {
		t.Errorf("got %+v with value %s, want key k, version 3, value %s", e, got, want)
	}
	if want := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC); !e.UpdatedAt.Equal(want) || !e.ExpiresAt.IsZero() {
		t.Errorf("updated %v, expires %v, want %v and never", e.UpdatedAt, e.ExpiresAt, want)
	}
}

// Ensure a conflict can be told apart and says all the node said.
func TestConflict(t *testing.T) {
	ctx := context.Background()
	c := connect(t, client.Config{}, newFakeNode())
	for range 2 {
		if _, err := c.State.Set(ctx, "wf", "k", "mine"); err != nil {
			t.Fatal(err)
		}
	}
	_, err := c.State.SetWithVersion(ctx, "wf", "k", "yours", 1, client.ReturnCurrent())
	var e *client.Error
	if !errors.As(err, &e) || !errors.Is(err, client.ErrVersionConflict) || errors.Is(err, client.ErrNotFound) {
		t.Fatalf("got %v, want a version conflict", err)
	}
	if e.Status != 409 || e.ExpectedVersion != 1 || e.CurrentVersion != 2 || string(e.CurrentValue) != `"mine"` ||
		e.Outcome != client.OutcomeNotApplied || e.Attempts != 1 {
		t.Errorf("got %+v", e)
	}
	for name, opt := range map[string]client.WriteOption{
		"if version": client.IfVersion(1), "if absent": client.IfAbsent()} {
		if _, err := c.State.Set(ctx, "wf", "k", 1, opt); !errors.Is(err, client.ErrVersionConflict) {
			t.Errorf("%s: got %v, want a conflict", name, err)
		}
		if _, err := c.State.Delete(ctx, "wf", "k", opt); !errors.Is(err, client.ErrVersionConflict) {
			t.Errorf("%s: delete: got %v, want a conflict", name, err)
		}
	}
}

func TestDelete(t *testing.T) {
	ctx := context.Background()
	c := connect(t, client.Config{}, newFakeNode())
	if _, err := c.State.Set(ctx, "wf", "a/b", 1); err != nil {
		t.Fatal(err)
	}
	for _, want := range []bool{true, false} {
		if got, err := c.State.Delete(ctx, "wf", "a/b"); got != want || err != nil {
			t.Errorf("got %v, %v, want %v", got, err, want)
		}
	}
	if _, err := c.State.Get(ctx, "wf", "a/b"); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("got %v, want not found", err)
	}
}

func TestPages(t *testing.T) {
	ctx := context.Background()
	c := connect(t, client.Config{}, newFakeNode())
	for _, key := range strings.Fields("a b c d e") {
		if _, err := c.State.Set(ctx, "wf", key, key); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	pages := c.State.Pages(ctx, "wf", client.Query{Limit: 2, Values: true})
	for range 2 { // the second walk begins anew
		got = nil
		for page, err := range pages {
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range page.Entries {
				got = append(got, e.Key+"="+string(e.Value))
			}
		}
	}
	if got, want := strings.Join(got, " "), `a="a" b="b" c="c" d="d" e="e"`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for range c.State.Pages(ctx, "wf", client.Query{Limit: 2}) {
		break
	}
}

// Ensure a list that stands still ends.
func TestPagesStuck(t *testing.T) {
	c := connect(t, client.Config{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `{"keys":["a"],"next":"a"}`)
	}))
	pages, failed := 0, false
	for _, err := range c.State.Pages(context.Background(), "wf", client.Query{}) {
		pages++
		failed = errors.Is(err, client.ErrBadResponse)
	}
	if pages != 2 || !failed {
		t.Errorf("%d pages, the last failed: %v; want 2, true", pages, failed)
	}
}

func TestProbes(t *testing.T) {
	ctx := context.Background()
	c := connect(t, client.Config{}, newFakeNode())
	if err := c.Health(ctx); err != nil {
		t.Errorf("health: %v", err)
	}
	var e *client.Error
	if err := c.Ready(ctx); !errors.As(err, &e) || e.Code != client.ErrNoLeader || e.Attempts != 1 {
		t.Errorf("ready: got %v, want NO_LEADER after one attempt", err)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, endpoint := range []string{"", "127.0.0.1:7474", "localhost:7474", "ftp://a", "http://", "http://a?b=c", "http://u:p@a", "http://a\n"} {
		if _, err := client.New(client.Config{Endpoints: []string{endpoint}}); err == nil {
			t.Errorf("%q: no error", endpoint)
		}
	}
	if _, err := client.New(client.Config{Endpoints: []string{"http://[::1]:7474/", "https://a/behind/a/proxy"}}); err != nil {
		t.Error(err)
	}
}
