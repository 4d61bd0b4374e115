package client_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stateraft/stateraft/client"
)

// at answers from a revision, and notes which one each request asked for.
func at(revision string, asked *[]string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		*asked = append(*asked, r.Header.Get("X-Stateraft-Min-Revision"))
		w.Header().Set("X-Stateraft-Revision", revision)
		io.WriteString(w, `{"version":1,"value":1}`)
	}
}

// Ensure stale reads carry the highest revision seen, and only they do.
func TestReadYourWrites(t *testing.T) {
	for _, tt := range []struct {
		name string
		off  bool
		want string
	}{
		{"on", false, ",,,10,12"},
		{"off", true, ",,,,12"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var asked []string
			node := inTurn(at("", &asked), at("10", &asked), at("9", &asked))
			c := connect(t, client.Config{NoReadYourWrites: tt.off}, node)
			stale := func(opts ...client.ReadOption) {
				if _, err := c.State.Get(t.Context(), "wf", "k", append(opts, client.Stale())...); err != nil {
					t.Error(err)
				}
			}
			stale() // nothing seen yet
			if _, err := c.State.Set(t.Context(), "wf", "k", 1); err != nil {
				t.Error(err)
			}
			if _, err := c.State.Get(t.Context(), "wf", "k"); err != nil {
				t.Error(err)
			}
			stale()
			stale(client.MinRevision(12))
			if got := strings.Join(asked, ","); got != tt.want {
				t.Errorf("asked for %q, want %q", got, tt.want)
			}
			if got := c.Revision(); got != 10 {
				t.Errorf("revision %d, want 10", got)
			}
		})
	}
}

// Ensure refusals teach the revision too, and that a revision which the cluster
// does not know is reported once and not sent again.
func TestRevisionUnknown(t *testing.T) {
	var asked []string
	notFound := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Stateraft-Revision", "700")
		refusal(404, "NOT_FOUND", "not_applied")(w, r)
	}
	c := connect(t, client.Config{}, inTurn(notFound, refusal(412, "REVISION_UNKNOWN", "not_applied"), at("5", &asked)))
	for i, want := range []error{client.ErrNotFound, client.ErrRevisionUnknown, nil} {
		if _, err := c.State.Get(t.Context(), "wf", "k", client.Stale()); !errors.Is(err, want) {
			t.Errorf("read %d: got %v, want %v", i, err, want)
		}
	}
	if len(asked) != 1 || asked[0] != "" || c.Revision() != 5 {
		t.Errorf("asked for %q, revision %d; want no revision, then 5", asked, c.Revision())
	}
}

// Ensure the revision never goes back, whatever order answers come in.
func TestRevisionConcurrent(t *testing.T) {
	revisions := make(chan string, 26)
	for _, r := range "zyxwvutsrqponmlkjihgfedcba" {
		revisions <- strings.Repeat("1", int(r-'a')%7+1)
	}
	c := connect(t, client.Config{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Stateraft-Revision", <-revisions)
		io.WriteString(w, `{"version":1}`)
	}))
	var g sync.WaitGroup
	for range cap(revisions) {
		g.Go(func() {
			if _, err := c.State.Set(t.Context(), "wf", "k", 1); err != nil {
				t.Error(err)
			}
		})
	}
	g.Wait()
	if got := c.Revision(); got != 1111111 {
		t.Errorf("got %d, want 1111111", got)
	}
}
