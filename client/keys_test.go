package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stateraft/stateraft/client"
)

// Ensure keys are asked for and read as the contract says.
func TestKeys(t *testing.T) {
	const key = `"id":"aaaaaaaaaaaa","name":"ci","project":"p","scopes":["state:read"],"prefixes":["wf-"],"createdAt":"2026-11-21T12:00:00.000Z"`
	var asked string
	c := connect(t, client.Config{Token: "secret"}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked = fmt.Sprintf("%s %s %s %s", r.Header.Get("Authorization"), r.Method, r.URL.EscapedPath(), body)
		switch r.Method {
		case "POST":
			fmt.Fprint(w, `{`+key+`,"token":"sr_aaaaaaaaaaaa_x","expiresAt":"2026-11-21T13:00:00.000Z"}`)
		case "GET":
			fmt.Fprint(w, `{"keys":[{`+key+`,"expiresAt":null}]}`)
		default:
			w.WriteHeader(404)
			fmt.Fprint(w, `{"error":"NOT_FOUND","code":"NOT_FOUND","message":"there is no API key of this id"}`)
		}
	}))
	want := client.Key{
		ID: "aaaaaaaaaaaa", Name: "ci", Project: "p", Scopes: []string{"state:read"}, Prefixes: []string{"wf-"},
		CreatedAt: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC), ExpiresAt: time.Date(2026, 11, 21, 13, 0, 0, 0, time.UTC),
	}
	ctx := context.Background()
	made, token, err := c.Keys.Create(ctx, client.NewKey{
		Name: "ci", Project: "p", Scopes: []string{"state:read"}, Prefixes: []string{"wf-"}, TTL: time.Hour,
	})
	if err != nil || token != "sr_aaaaaaaaaaaa_x" || fmt.Sprint(made) != fmt.Sprint(want) {
		t.Errorf("got %+v, %q, %v", made, token, err)
	}
	if want := `Bearer secret POST /v1/keys {"name":"ci","project":"p","scopes":["state:read"],"prefixes":["wf-"],"ttl":3600}`; asked != want {
		t.Errorf("asked %s, want %s", asked, want)
	}
	if _, _, err := c.Keys.Create(ctx, client.NewKey{}); err != nil || asked != `Bearer secret POST /v1/keys {"scopes":[]}` {
		t.Errorf("asked %s, %v", asked, err)
	}
	want.ExpiresAt = time.Time{}
	list, err := c.Keys.List(ctx)
	if err != nil || len(list) != 1 || fmt.Sprint(list[0]) != fmt.Sprint(want) {
		t.Errorf("got %+v, %v", list, err)
	}
	if err := c.Keys.Revoke(ctx, "a/b"); !errors.Is(err, client.ErrNotFound) || asked != "Bearer secret DELETE /v1/keys/a%2Fb " {
		t.Errorf("asked %s, %v", asked, err)
	}
	if err := c.Keys.Revoke(ctx, ""); !errors.Is(err, client.ErrInvalidKey) {
		t.Errorf("got %v", err)
	}
}

// Ensure a key is not made twice: the token of the first would be lost.
func TestCreateKeyIsSentOnce(t *testing.T) {
	var calls atomic.Int32
	c := connect(t, client.Config{}, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		calls.Add(1)
		panic(http.ErrAbortHandler)
	}))
	_, _, err := c.Keys.Create(context.Background(), client.NewKey{Scopes: []string{"admin"}})
	if !errors.Is(err, client.ErrOutcomeUnknown) || calls.Load() != 1 {
		t.Errorf("%d calls, %v", calls.Load(), err)
	}
}
