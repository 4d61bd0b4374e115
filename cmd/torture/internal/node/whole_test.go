package node

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stateraft/stateraft/client"
)

// Ensure a node that says that all is well, and takes no sets, keeps a cluster
// from being whole.
func TestWholeTakesSets(t *testing.T) {
	for _, tt := range []struct {
		name string
		set  http.HandlerFunc
		want string // that the error tells; empty: there is none
	}{
		{"decided", refusing(http.StatusConflict, "VERSION_CONFLICT"), ""},
		{"refused", refusing(http.StatusServiceUnavailable, "NO_LEADER"), "a set at n1"},
		{"stuck", stuck, "a set at n1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := Cluster{Nodes: []*Node{pretender(t, tt.set)}}
			err := c.whole(t.Context())
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

// Ensure the answer of a node comes with what a refusal says of itself, and that
// none is an error.
func TestAsk(t *testing.T) {
	n := pretender(t, refusing(http.StatusServiceUnavailable, "NO_LEADER"))
	a, err := n.Ask(t.Context(), http.MethodPost, "/v1/state/w/k", `{"value":1}`)
	if want := (Answer{http.StatusServiceUnavailable, "NO_LEADER", "not_applied"}); a != want || err != nil {
		t.Errorf("%+v, %v, want %+v", a, err, want)
	}
	a, err = n.Ask(t.Context(), http.MethodGet, "/ready", "")
	if want := (Answer{Status: http.StatusOK}); a != want || err != nil {
		t.Errorf("%+v, %v, want %+v", a, err, want)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if a, err := n.Ask(ctx, http.MethodGet, "/ready", ""); err == nil {
		t.Errorf("%+v without an answer", a)
	}
}

// stuck answers nobody. It must have read the request to see that the client
// has left.
func stuck(_ http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

func refusing(status int, code string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"error":%q,"code":%q,"message":"m","outcome":"not_applied"}`, code, code)
	}
}

// pretender is a node that runs, is ready, and is a cluster by itself, whatever
// it does with sets.
func pretender(t *testing.T, set http.HandlerFunc) *Node {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"status":"ready"}`) })
	mux.HandleFunc("GET /v1/cluster", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"leader":"n1","nodes":[{"name":"n1","role":"voter","healthy":true}]}`)
	})
	mux.HandleFunc("/", set)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	admin, err := client.New(client.Config{Endpoints: []string{server.URL}, MaxAttempts: 1})
	if err != nil {
		t.Fatal(err)
	}
	return &Node{Name: "n1", URL: server.URL, admin: admin, proc: &process{done: make(chan struct{})}}
}
