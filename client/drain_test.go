package client_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stateraft/stateraft/client"
)

// Ensure the client goes on at another node as soon as one says, with an answer,
// that it ends its connections: it is about to end itself.
func TestLeavesDrainingNode(t *testing.T) {
	node := func(calls *int, drains bool) *httptest.Server {
		return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			*calls++
			if drains {
				w.Header().Set("Connection", "close")
			}
			w.Write([]byte(`{"version":1}`))
		}))
	}
	var atFirst, atSecond int
	first, second := node(&atFirst, true), node(&atSecond, false)
	defer first.Close()
	defer second.Close()
	c, err := client.New(client.Config{Endpoints: []string{first.URL, second.URL}})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := c.State.Set(t.Context(), "wf", "key", 1); err != nil {
			t.Fatal(err)
		}
	}
	if atFirst != 1 || atSecond != 2 {
		t.Errorf("%d calls at the node that drains and %d at the other, want 1 and 2", atFirst, atSecond)
	}
}
