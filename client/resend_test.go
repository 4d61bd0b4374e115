package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/stateraft/stateraft/client"
)

// Ensure a write that reached a node which then died has an unknown outcome,
// also where net/http holds it for safe to send again.
func TestKeyedWriteIsNotResentBelow(t *testing.T) {
	for name, write := range map[string]func(*client.Client) error{
		"set": func(c *client.Client) error {
			_, err := c.State.Set(context.Background(), "w", "k", 2, client.WithIdempotencyKey("a"))
			return err
		},
		"delete": func(c *client.Client) error {
			_, err := c.State.Delete(context.Background(), "w", "k", client.WithIdempotencyKey("a"))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			var requests, keyed atomic.Int32
			var node *httptest.Server
			node = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if requests.Add(1) == 1 {
					fmt.Fprint(w, `{"version":1}`) // a connection to use again
					return
				}
				if r.Header.Get("Idempotency-Key") == "a" {
					keyed.Add(1)
				}
				node.Listener.Close()
				panic(http.ErrAbortHandler)
			}))
			defer node.Close()
			c, err := client.New(client.Config{Endpoints: []string{node.URL}, MaxAttempts: 2})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.State.Set(context.Background(), "w", "k", 1); err != nil {
				t.Fatal(err)
			}
			err = write(c)
			var e *client.Error
			if !errors.As(err, &e) || e.Outcome != client.OutcomeUnknown || keyed.Load() != 1 {
				t.Errorf("%d requests had the key, and the caller was told %+v", keyed.Load(), err)
			}
		})
	}
}
