package wire_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"testing"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
	"github.com/stateraft/stateraft/cmd/torture/internal/wire"
)

// Ensure an answer, or none, is taken for what it proves and for no more.
func TestOutcome(t *testing.T) {
	const cutShort = -1
	for _, tt := range []struct {
		name   string
		kind   history.Kind
		status int // 0: the connection breaks; cutShort: in the middle of the answer
		body   string
		want   wire.Answer
	}{
		{"set", history.Set, 200, `{"version":3}`, wire.Answer{Outcome: history.OK, Version: 3}},
		{"get", history.Get, 200, `{"value":{"a":1},"version":3}`, wire.Answer{Outcome: history.OK, Found: true, Value: `{"a":1}`, Version: 3}},
		{"get of nothing", history.Get, 404, `{"code":"NOT_FOUND"}`, wire.Answer{Outcome: history.OK}},
		{"delete", history.Delete, 200, `{"deleted":true,"ok":true}`, wire.Answer{Outcome: history.OK, Found: true}},
		{"conflict", history.SetAt, 409, `{"code":"VERSION_CONFLICT","outcome":"not_applied","currentVersion":5}`, wire.Answer{Outcome: history.OK, Conflict: true, Version: 5}},
		{"refused", history.Set, 503, `{"code":"NO_LEADER","outcome":"not_applied"}`, wire.Answer{Outcome: history.Refused, Error: "NO_LEADER"}},
		{"unknown", history.Set, 504, `{"code":"OUTCOME_UNKNOWN","outcome":"unknown"}`, wire.Answer{Outcome: history.Unknown, Error: "OUTCOME_UNKNOWN"}},
		{"silent on the outcome", history.Set, 500, `{"code":"INTERNAL"}`, wire.Answer{Outcome: history.Unknown, Error: "INTERNAL"}},
		{"a read that failed", history.Get, 504, `{"code":"OUTCOME_UNKNOWN"}`, wire.Answer{Outcome: history.Refused, Error: "OUTCOME_UNKNOWN"}},
		{"a broken write", history.Set, 0, "", wire.Answer{Outcome: history.Unknown, Error: "no answer"}},
		{"a panic in a read", history.List, 500, `{"code":"INTERNAL","outcome":"not_applied"}`, wire.Answer{Outcome: history.Refused, Error: "INTERNAL"}},
		{"out of the contract", history.Set, 502, "<html>", wire.Answer{Outcome: history.Unknown, Error: "an answer that is not of the contract, status 502"}},
		{"a broken list", history.List, 0, "", wire.Answer{Outcome: history.Refused, Error: "no answer"}},
		{"an answer cut short", history.Set, cutShort, `{"ver`, wire.Answer{Outcome: history.Unknown, Error: "no answer"}},
		{"a broken read", history.Get, 0, "", wire.Answer{Outcome: history.Refused, Error: "no answer"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				switch tt.status {
				case 0:
					panic(http.ErrAbortHandler)
				case cutShort:
					w.Header().Set("Content-Length", "100")
					fmt.Fprint(w, tt.body)
					return
				}
				w.WriteHeader(tt.status)
				fmt.Fprint(w, tt.body)
			}))
			defer srv.Close()
			got := wire.NewNode("n1", srv.URL).Do(context.Background(), wire.Request{Kind: tt.kind, Workflow: "w", Key: "k", Value: "1"})
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

// Ensure a write to a port where nobody listens is known to have no effect.
func TestUnreachable(t *testing.T) {
	srv := httptest.NewServer(nil)
	srv.Close()
	got := wire.NewNode("n1", srv.URL).Do(context.Background(), wire.Request{Kind: history.Set, Workflow: "w", Key: "k", Value: "1"})
	if want := (wire.Answer{Outcome: history.Refused, Error: "unreachable"}); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// Ensure a follower of a stream takes whole blocks, and resumes behind the last.
func TestFollow(t *testing.T) {
	var asked string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.Header.Get("Last-Event-ID")
		fmt.Fprint(w, "retry: 1000\nid: 4\n\n: keep-alive\n\n",
			"id: 7\ndata: {\"type\":\"set\",\"key\":\"k\",\"oldValue\":null,\"newValue\":{\"a\":1},\"version\":1,\"revision\":7}\n\n",
			"event: resync\ndata: {}\n\n",
			"id: 9\ndata: {\"type\":\"set\",\"key\":\"k\"}\n") // cut off
	}))
	defer srv.Close()
	cursor := uint64(4)
	var got []history.Event
	wire.NewNode("n1", srv.URL).Follow(context.Background(), wire.Feed{Workflow: "w"}, &cursor, func(e history.Event) { got = append(got, e) })
	want := []history.Event{
		{Type: "set", Key: "k", Old: "null", New: `{"a":1}`, Version: 1, Revision: 7},
		{Type: "resync"},
	}
	if !slices.Equal(got, want) || asked != "4" || cursor != 7 {
		t.Errorf("got %+v from %s to %d", got, asked, cursor)
	}
}

// Ensure a list is asked for again page by page, and ends with its context.
func TestListInsists(t *testing.T) {
	asked := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch asked++; asked {
		case 1, 3, 5:
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, `{"code":"NO_LEADER"}`)
		case 2:
			fmt.Fprint(w, `{"entries":[{"key":"a","value":1,"version":1}],"next":"a"}`)
		default:
			fmt.Fprint(w, `{"entries":[{"key":"b","value":2,"version":1}]}`)
		}
	}))
	defer srv.Close()
	n := wire.NewNode("n1", srv.URL)
	got, err := n.List(t.Context(), history.Place{Workflow: "w"})
	want := []history.Entry{{Workflow: "w", Key: "a", Value: "1", Version: 1}, {Workflow: "w", Key: "b", Value: "2", Version: 1}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if got, err := n.List(ended, history.Place{Workflow: "w"}); err == nil {
		t.Errorf("got %+v when the time was over", got)
	}
}

// Ensure a stream that a node gives not, or not as it should, says why, and a
// connection that breaks does not count as either.
func TestFollowRefused(t *testing.T) {
	for _, tt := range []struct {
		name   string
		status int
		body   string
		want   string // empty: no refusal
	}{
		{"refused", 503, `{"code":"NO_LEADER"}`, "NO_LEADER"},
		{"too many, for a subject", 429, `{"error":"usage_limit_exceeded"}`, "USAGE_LIMIT_EXCEEDED"},
		{"a proxy's page", 502, "<html>", "an answer that is not of the contract, status 502"},
		{"data that is none", 200, "data: {\n\n", "an answer that is not of the contract: the data of an event: unexpected end of JSON input"},
		{"an id that is none", 200, "id: x\n\n", `an answer that is not of the contract: the id of an event: strconv.ParseUint: parsing "x": invalid syntax`},
		{"ended", 200, "id: 1\n\n", ""},
		{"cut in a block", 200, "data: {\n", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tt.status)
				fmt.Fprint(w, tt.body)
			}))
			defer srv.Close()
			cursor := uint64(0)
			err := wire.NewNode("n1", srv.URL).Follow(t.Context(), wire.Feed{Workflow: "w"}, &cursor, func(history.Event) {})
			var refused *wire.RefusedError
			if got := errors.As(err, &refused); got != (tt.want != "") || got && refused.Why != tt.want {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

// Ensure a stream can be asked for of a workflow, of a key, of keys by their
// beginning, and of a subject.
func TestFeeds(t *testing.T) {
	var asked string
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked = r.RequestURI + " " + r.Header.Get("X-Subject-ID")
	}))
	defer srv.Close()
	for _, tt := range []struct {
		feed wire.Feed
		want string
	}{
		{wire.Feed{Workflow: "a b"}, "/v1/state/a%20b "},
		{wire.Feed{Workflow: "w", Key: "a/b"}, "/v1/state/w/a%2Fb/stream "},
		{wire.Feed{Workflow: "w", Prefix: "a b"}, "/v1/state/w?prefix=a+b "},
		{wire.Feed{Workflow: "s", Agent: true}, "/api/v1/state s"},
		{wire.Feed{Workflow: "s", Agent: true, Key: "a/b"}, "/api/v1/state/a%2Fb s"},
	} {
		cursor := uint64(0)
		wire.NewNode("n1", srv.URL).Follow(t.Context(), tt.feed, &cursor, nil)
		if asked != tt.want {
			t.Errorf("%+v: asked %q, want %q", tt.feed, asked, tt.want)
		}
	}
}
