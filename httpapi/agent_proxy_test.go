package httpapi

import (
	"bufio"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stateraft/stateraft/cluster"
	"github.com/stateraft/stateraft/httpapi/proxy"
)

// withUpstream lets requests to language models go to answer.
func withUpstream(t *testing.T, answer http.HandlerFunc) func(*Config) {
	up := httptest.NewServer(answer)
	t.Cleanup(up.Close)
	return func(c *Config) {
		c.Proxy = proxy.Config{OpenAIURL: up.URL + "/v1", AnthropicURL: up.URL + "/v1"}
	}
}

// echo answers with the path and the body that reached it.
func echo(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain")
	_, _ = io.WriteString(w, r.URL.RequestURI()+"\n")
	_, _ = io.Copy(w, r.Body)
}

// newProxied is an api before an upstream that echoes.
func newProxied(t *testing.T) *api { return newAPI(t, withUpstream(t, echo)) }

// The state that is put into a request is the subject's own, at each route.
func TestProxyInjects(t *testing.T) {
	x := newProxied(t)
	x.put(agentPath, `{"value":{"next":"book_hotels"}}`)
	x.ok(x.as("other", "PUT", agentPath, `{"value":"other's"}`), "")
	x.ok(x.post("/v1/state/s/current_task", `{"value":"a workflow's"}`), "")
	for path, upstream := range map[string]string{
		"/api/v1/chat/completions":   "/v1/chat/completions",
		"/api/v1/responses?a=1&b=%C": "/v1/responses?a=1&b=%C",
		"/api/v1/messages?beta=true": "/v1/messages?beta=true",
	} {
		a := x.ok(x.post(path, `{"messages":[],"input":[],"mnx":{"subject_id":"s","state":{"load":true}}}`, "X-Stateraft-Min-Revision", "1"), "")
		if !strings.HasPrefix(a.body, upstream+"\n") || !strings.Contains(a.body, "book_hotels") || strings.Contains(a.body, "'s") || strings.Contains(a.body, "mnx") {
			t.Errorf("POST %s: upstream got %s", path, a.body)
		}
		for name, want := range map[string]string{
			"X-Mnx-Subject-Id": "s", "X-Mnx-State-Key": "current_task", "X-Mnx-State-Version": "1", headerRevision: "3", headerNode: "n1",
		} {
			if got := a.header.Get(name); got != want {
				t.Errorf("POST %s: %s = %q, want %q", path, name, got, want)
			}
		}
	}
	x.ok(x.as("s", "DELETE", agentPath, ""), "")
	a := x.ok(x.as("s", "POST", "/api/v1/chat/completions", `{"messages":[],"mnx":{"state":{"load":true}}}`), "")
	if strings.Contains(a.body, "book_hotels") || a.header.Get("X-Mnx-State-Version") != "0" {
		t.Errorf("a deleted key: %s, %v", a.body, a.header)
	}
}

// What the proxy refuses looks like every other error of this part of the API.
func TestProxyErrors(t *testing.T) {
	const path, loads = "/api/v1/chat/completions", `{"messages":[],"mnx":{"subject_id":"s","state":{"load":true}}}`
	x := newProxied(t)
	for _, a := range []answer{
		x.refused(x.post(path, `[]`), 400, "invalid_json_body"),
		x.refused(x.post(path, `{"mnx":{"state":1}}`), 400, "invalid_request"),
		x.refused(x.post(path, `{}`, "Content-Encoding", "gzip"), 415, "unsupported_content_encoding"),
		x.refused(x.post(path, loads, headerMinRevision, "9"), 412, "revision_unknown"),
		x.refused(x.post(path, loads, headerTimeout, "x"), 400, "invalid_request"),
		x.refused(x.post(path, `{}`, "Origin", "https://evil.example"), 403, "forbidden"),
		x.refused(x.post(path, loads, headerSubject, "s", headerSubject, "t"), 400, "invalid_request"),
	} {
		if a.json["outcome"] != nil {
			t.Errorf("an outcome, where nothing is written: %s", a.body)
		}
	}
	x.cluster.readErr = cluster.ErrOutcomeUnknown
	x.refused(x.post(path, loads), 503, "no_leader")
	x.ok(x.post(path, `{"messages":[]}`), "") // it needs no state

	x = newAPI(t)
	x.refused(x.post(path, `{}`), 502, "upstream_unreachable")
	if _, err := New(Config{Cluster: x.cluster, Proxy: proxy.Config{OpenAIURL: "ftp://x"}}); err == nil {
		t.Error("an upstream that is none was taken")
	}
}

// A body takes room in the budget until the answer begins, and no longer:
// answers take minutes.
func TestProxyBudget(t *testing.T) {
	asked, goOn, end := make(chan struct{}), make(chan struct{}), make(chan struct{})
	x := newAPI(t, func(c *Config) { c.MaxValueBytes, c.BodyBudget = 1<<20, maxAtomicBytes }, withUpstream(t, func(w http.ResponseWriter, _ *http.Request) {
		close(asked)
		<-goOn
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: 1\n\n")
		_ = http.NewResponseController(w).Flush()
		<-end
	}))
	used := func() int64 { return x.server.bodies.used.Load() }
	url := "http://" + x.serve() + "/api/v1/chat/completions"
	const body = `{"stream":true}`
	answered := make(chan *http.Response)
	go func() {
		res, err := http.Post(url, "application/json", strings.NewReader(body))
		if err != nil {
			t.Error(err)
		}
		answered <- res
	}()
	<-asked
	if used() != int64(2*len(body)) {
		t.Errorf("%d bytes reserved, want %d", used(), 2*len(body))
	}
	x.refused(x.post("/api/v1/messages", pad(`{}`, maxAtomicBytes/2)), 429, "usage_limit_exceeded")
	x.refused(x.post("/api/v1/messages", pad(`{}`, maxAtomicBytes/2+1)), 413, "value_too_large")
	close(goOn)
	res := <-answered
	defer res.Body.Close()
	if line, err := bufio.NewReader(res.Body).ReadString('\n'); err != nil || line != "data: 1\n" {
		t.Errorf("got %q, %v", line, err)
	}
	if used() != 0 {
		t.Errorf("%d bytes reserved while the answer goes on", used())
	}
	close(end)
}

// What is reserved for a body whose length is not told is given back once it is
// known, and not only when the answer begins.
func TestProxyBudgetChunked(t *testing.T) {
	asked, goOn := make(chan struct{}), make(chan struct{})
	x := newAPI(t, func(c *Config) { c.MaxValueBytes, c.BodyBudget = 1<<20, maxAtomicBytes }, withUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		close(asked)
		<-goOn
		echo(w, r)
	}))
	answered := make(chan answer)
	go func() { answered <- x.post("/api/v1/messages", `{"a":1}`, "Transfer-Encoding", "chunked") }()
	<-asked
	if used := x.server.bodies.used.Load(); used != int64(3*len(`{"a":1}`)) {
		t.Errorf("%d bytes reserved", used)
	}
	close(goOn)
	x.ok(<-answered, "")
	if used := x.server.bodies.used.Load(); used != 0 {
		t.Errorf("%d bytes reserved after the answer", used)
	}
}
