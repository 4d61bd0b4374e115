package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// benchNode notes how often each request was made, and answers as told.
type benchNode struct {
	*httptest.Server
	mu   sync.Mutex // guards seen
	seen map[string]int
}

func newBenchNode(t *testing.T, answer func(w http.ResponseWriter, request string, times int)) *benchNode {
	n := &benchNode{seen: map[string]int{}}
	n.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		request := fmt.Sprintf("%s %s %s", r.Method, r.RequestURI, body)
		n.mu.Lock()
		n.seen[request]++
		times := n.seen[request]
		n.mu.Unlock()
		answer(w, request, times)
	}))
	t.Cleanup(n.Close)
	return n
}

func benchLoad(t *testing.T, clients int, urls ...string) (benchWorkers, []*benchTarget) {
	t.Helper()
	c := benchConfig{workflows: 3, remote: remote{token: "secret", timeout: testTimeout}}
	var targets []*benchTarget
	for _, u := range urls {
		target, err := newBenchTarget(c, u, "bench", `"xx"`)
		if err != nil {
			t.Fatal(err)
		}
		targets = append(targets, target)
	}
	workers, err := newBenchWorkers(t.Context(), clients, targets)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(workers.close)
	return workers, targets
}

// Ensure the workers together ask once for each key, and again where one
// failed, whatever the failure.
func TestBenchEachKey(t *testing.T) {
	node := newBenchNode(t, func(w http.ResponseWriter, request string, times int) {
		switch {
		case times > 1:
		case strings.Contains(request, "/k3 "):
			w.WriteHeader(429)
			io.WriteString(w, `{"code":"OVERLOADED"}`)
		case strings.Contains(request, "/k4 "):
			http.Error(w, "what", http.StatusBadGateway)
		case strings.Contains(request, "/k5 "):
			panic(http.ErrAbortHandler)
		}
	})
	workers, targets := benchLoad(t, 4, node.URL, node.URL+"/behind/")
	workers.run(t.Context(), testTimeout, eachKey(benchWrite, 10))

	stats := workers.stats(nil)
	if stats.latency.total != 10 || stats.inTime != 10 {
		t.Errorf("%d successes, %d in time, want 10", stats.latency.total, stats.inTime)
	}
	if got, want := formatErrors(stats.errors), "502 Bad Gateway 1, NO_ANSWER 1, OVERLOADED 1"; got != want {
		t.Errorf("errors %q, want %q", got, want)
	}
	if a, b := workers.stats(targets[0]), workers.stats(targets[1]); a.inTime+b.inTime != 10 {
		t.Errorf("parts %d and %d, want 10 together", a.inTime, b.inTime)
	}
	for key := range 10 {
		want := 1
		if key >= 3 && key <= 5 {
			want = 2
		}
		path := fmt.Sprintf(`/v1/state/bench-%d/k%d {"value":"xx"}`, key%3, key)
		if got := node.seen["POST "+path] + node.seen["POST /behind"+path]; got != want {
			t.Errorf("key %d was written %d times, want %d", key, got, want)
		}
	}
}

// Ensure each kind of request is one that the contract knows.
func TestBenchRequests(t *testing.T) {
	node := newBenchNode(t, func(http.ResponseWriter, string, int) {})
	workers, _ := benchLoad(t, 1, node.URL)
	for kind, want := range map[benchKind]string{
		benchWrite: `POST /v1/state/bench-1/k7 {"value":"xx"}`, benchDelete: "DELETE /v1/state/bench-1/k7 ",
		benchRead: "GET /v1/state/bench-1/k7 ", benchStale: "GET /v1/state/bench-1/k7?consistency=stale ",
	} {
		if code := workers[0].ask(t.Context(), benchRequest{kind, 7}, time.Now()); code != "" || node.seen[want] != 1 {
			t.Errorf("got %q, saw %v, want %q", code, node.seen, want)
		}
	}
}

// Ensure a store that refuses everything ends the load.
func TestBenchGivesUp(t *testing.T) {
	tries := 0
	next := eachKey(benchWrite, 1)(0)
	for r, more := next(false); more; r, more = next(true) {
		if tries++; r.key != 0 {
			t.Fatalf("asks for key %d", r.key)
		}
	}
	if tries != 100 {
		t.Errorf("tried %d times, want 100", tries)
	}
}

// Ensure a load ends with its context, and finds nobody where nobody listens.
func TestBenchInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	node := newBenchNode(t, func(http.ResponseWriter, string, int) { cancel() })
	workers, targets := benchLoad(t, 2, node.URL)
	c := benchConfig{keys: 5}
	workers.run(ctx, testTimeout, c.load(benchModeRead))
	node.Close()
	if _, err := newBenchWorkers(t.Context(), 2, targets); err == nil || !strings.Contains(err.Error(), "connect client 1 of 2") {
		t.Errorf("got %v, want a refusal", err)
	}
}
