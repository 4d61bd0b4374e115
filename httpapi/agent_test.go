package httpapi

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stateraft/stateraft/cluster"
	"github.com/stateraft/stateraft/httpapi/internal/names"
)

const agentPath = "/api/v1/state/current_task"

// as sends a request of the subject s; headers are names and values in turn.
func (x *api) as(subject, method, path, body string, headers ...string) answer {
	x.tb.Helper()
	return x.do(method, path, body, append([]string{"X-Subject-ID", subject}, headers...)...)
}

// put sets a key of the subject s, which must happen.
func (x *api) put(path, body string, headers ...string) answer {
	x.tb.Helper()
	return x.ok(x.as("s", "PUT", path, body, headers...), "")
}

func TestAgentPutGetDelete(t *testing.T) {
	x := newAPI(t)
	x.ok(x.as("user_123", "PUT", agentPath, `{"value": {"step": 1.50}, "ttl_seconds": 3600}`, "X-Session-ID", "sess/1 é"),
		`{"ok":true,"key":"current_task","version":1,"ttl":"2026-11-21T13:00:01.000Z","updated_at":"2026-11-21T12:00:01.000Z"}`)
	a := x.ok(x.as("user_123", "GET", agentPath, ""),
		`{"key":"current_task","value":{"step":1.50},"ttl":"2026-11-21T13:00:01.000Z","updated_at":"2026-11-21T12:00:01.000Z",`+
			`"version":1,"created_at":"2026-11-21T12:00:01.000Z","expires_at":"2026-11-21T13:00:01.000Z","subject_id":"user_123","session_id":"sess/1 é"}`)
	if a.header.Get("ETag") != `"1"` || a.header.Get(headerRevision) != "1" || a.header.Get(headerNode) != "n1" || a.header.Get("Vary") != "Accept, X-Subject-Id" {
		t.Errorf("headers: %v", a.header)
	}
	x.cluster.advance(t, time.Second)
	x.ok(x.as("user_123", "PUT", agentPath, `{"value":null,"ttl_seconds":null}`),
		`{"ok":true,"key":"current_task","version":2,"ttl":null,"updated_at":"2026-11-21T12:00:02.000Z"}`)
	x.ok(x.as("user_123", "GET", agentPath, ""),
		`{"key":"current_task","value":null,"ttl":null,"updated_at":"2026-11-21T12:00:02.000Z",`+
			`"version":2,"created_at":"2026-11-21T12:00:01.000Z","expires_at":null,"subject_id":"user_123","session_id":null}`)
	x.ok(x.as("user_123", "DELETE", agentPath, ""), `{"ok":true}`)
	x.refused(x.as("user_123", "GET", agentPath, ""), 404, "not_found")
	x.ok(x.as("user_123", "DELETE", agentPath, ""), `{"ok":true}`)
}

func TestAgentTTL(t *testing.T) {
	tests := []struct {
		ttl  string
		want time.Duration // 0: no expiry
	}{
		{`0`, 0}, {`0.0`, 0}, {`null`, 0}, {`0.0015`, 1500 * time.Microsecond}, {`1e2`, 100 * time.Second},
	}
	for _, tt := range tests {
		x := newAPI(t)
		x.put(agentPath, `{"value":1,"ttl_seconds":`+tt.ttl+`}`)
		if tt.want == 0 {
			x.cluster.advance(t, 1000*time.Hour)
			x.ok(x.as("s", "GET", agentPath, ""), "")
			continue
		}
		x.cluster.advance(t, tt.want-1*time.Microsecond)
		x.ok(x.as("s", "GET", agentPath, ""), "")
		x.cluster.advance(t, 1*time.Microsecond)
		x.refused(x.as("s", "GET", agentPath, ""), 404, "not_found")
	}
}

// A deleted key lives on as a version that never comes back.
func TestAgentDeleteIsSafe(t *testing.T) {
	x := newAPI(t)
	x.put(agentPath, `{"value":"old"}`)
	x.ok(x.as("s", "DELETE", agentPath, ""), "")
	a := x.refused(x.as("s", "PUT", agentPath, `{"value":"stale"}`, "If-Match", `"1"`), 412, "version_conflict")
	if a.number("expected_version") != 1 || a.number("current_version") != 0 || a.json["outcome"] != "not_applied" {
		t.Errorf("conflict: %s", a.body)
	}
	if a := x.put(agentPath, `{"value":"new"}`, "If-None-Match", "*"); a.number("version") != 3 {
		t.Errorf("a key made anew: %s", a.body)
	}
	for _, stale := range []string{`"1"`, `"2"`} {
		x.refused(x.as("s", "PUT", agentPath, `{"value":"stale"}`, "If-Match", stale), 412, "version_conflict")
		x.refused(x.as("s", "DELETE", agentPath, "", "If-Match", stale), 412, "version_conflict")
	}
	a = x.put(agentPath, `{"value":"next"}`, "If-Match", `"3"`)
	if a.header.Get("ETag") != `"4"` {
		t.Errorf("ETag = %s", a.header.Get("ETag"))
	}
	x.refused(x.as("s", "DELETE", agentPath, "", "If-None-Match", "*"), 412, "version_conflict")
	x.ok(x.as("s", "DELETE", agentPath, "", "If-Match", "*"), "")
	x.refused(x.as("s", "DELETE", agentPath, "", "If-Match", "*"), 412, "version_conflict")
}

// A key is the rest of the path, decoded once.
func TestAgentKeys(t *testing.T) {
	tests := []struct {
		key   string
		paths []string
	}{
		{"tool:weather:tc_123", []string{"tool:weather:tc_123", "tool%3Aweather%3Atc_123"}},
		{"flow/checkout", []string{"flow/checkout", "flow%2Fcheckout", "flow%2fcheckout"}},
		{"a/b/c", []string{"a/b/c", "a%2Fb/c", "a/b%2Fc"}},
		{"a/", []string{"a/", "a%2F"}},
		{"/a", []string{"/a", "%2Fa"}},
		{"/", []string{"/", "%2F"}},
		{"a//b", []string{"a//b", "a/%2Fb"}},
		{"a/./b", []string{"a%2F.%2Fb"}},
		{"a%2Fb", []string{"a%252Fb"}},
		{"a b", []string{"a%20b"}},
		{"a+b", []string{"a+b"}},
		{`a/b"c`, []string{`a/b"c`, `a%2Fb"c`}},
		{"é😀", []string{"%C3%A9%F0%9F%98%80"}},
		{"k/stream", []string{"k/stream"}},
		{"...", []string{"..."}},
	}
	for _, tt := range tests {
		x := newAPI(t)
		for i, path := range tt.paths {
			a := x.put("/api/v1/state/"+path, `{"value":1}`)
			if a.number("version") != i+1 || a.json["key"] != tt.key {
				t.Errorf("PUT %s: %s, want key %q", path, a.body, tt.key)
			}
			if a := x.ok(x.as("s", "GET", "/api/v1/state/"+path, ""), ""); a.json["key"] != tt.key {
				t.Errorf("GET %s: %s, want key %q", path, a.body, tt.key)
			}
		}
	}
}

// Subjects, and the two APIs, never meet: not in keys, nor in versions, lists,
// idempotency keys.
func TestAgentSubjectsAreApart(t *testing.T) {
	x := newAPI(t)
	subjects := []string{"s", "S", "s/current_task", "ss", "w", "default", "é"}
	for i, subject := range subjects {
		a := x.ok(x.as(subject, "PUT", agentPath, fmt.Sprintf(`{"value":%d}`, i), headerIdempotency, "once"), "")
		if a.number("version") != 1 {
			t.Errorf("%q meets another subject: %s", subject, a.body)
		}
	}
	x.ok(x.post("/v1/state/s/current_task", `{"value":"a workflow's"}`), `{"version":1}`)
	for i, subject := range subjects {
		a := x.ok(x.as(subject, "GET", agentPath, ""), "")
		if a.number("value") != i || a.json["subject_id"] != subject {
			t.Errorf("%q reads %s", subject, a.body)
		}
		if a := x.ok(x.as(subject, "GET", "/api/v1/state", ""), ""); a.number("count") != 1 {
			t.Errorf("%q lists %s", subject, a.body)
		}
	}
	x.ok(x.as("s", "DELETE", agentPath, ""), "")
	x.ok(x.as("S", "GET", agentPath, ""), "")
	x.ok(x.get("/v1/state/s/current_task"), "")
}

// A session is no part of the key, and the last writer's stays.
func TestAgentSession(t *testing.T) {
	x := newAPI(t)
	x.put(agentPath, `{"value":1}`, "X-Session-ID", "one")
	a := x.put(agentPath, `{"value":2}`, "X-Session-ID", strings.Repeat("s", maxSessionBytes))
	if a.number("version") != 2 {
		t.Errorf("another session: %s", a.body)
	}
	a = x.as("s", "GET", agentPath, "", "X-Session-ID", "one")
	if a.json["session_id"] != strings.Repeat("s", maxSessionBytes) {
		t.Errorf("session: %s", a.body)
	}
}

func TestAgentIdempotency(t *testing.T) {
	x := newAPI(t)
	first := x.put(agentPath, `{"value":1,"ttl_seconds":60}`, headerIdempotency, "a")
	x.cluster.advance(t, time.Minute/2)
	again := x.put(agentPath, `{"ttl_seconds":60.0,"value":1}`, headerIdempotency, "a")
	if again.body != first.body || x.revision() != 1 {
		t.Errorf("repeated: %s, first %s", again.body, first.body)
	}
	x.refused(x.as("s", "PUT", agentPath, `{"value":2,"ttl_seconds":60}`, headerIdempotency, "a"), 422, "idempotency_mismatch")
	x.refused(x.as("s", "PUT", agentPath, `{"value":1,"ttl_seconds":60}`, headerIdempotency, "a", "X-Session-ID", "x"), 422, "idempotency_mismatch")
	conflict := x.refused(x.as("s", "PUT", agentPath, `{"value":1}`, headerIdempotency, "b", "If-None-Match", "*"), 412, "version_conflict")
	x.ok(x.as("s", "DELETE", agentPath, ""), "")
	if a := x.as("s", "PUT", agentPath, `{"value":1}`, headerIdempotency, "b", "If-None-Match", "*"); a.body != conflict.body {
		t.Errorf("repeated: %s, first %s", a.body, conflict.body)
	}
}

func TestAgentReads(t *testing.T) {
	x := newAPI(t)
	x.put(agentPath, `{"value":1}`)
	reads := x.cluster.readIndexes
	x.ok(x.as("s", "GET", agentPath+"?consistency=stale", ""), "")
	if x.cluster.readIndexes != reads {
		t.Error("a stale read asked the cluster")
	}
	x.ok(x.as("s", "GET", agentPath+"?consistency=stale", "", headerMinRevision, "1"), "")
	if len(x.cluster.waited) != 1 {
		t.Errorf("waited for %v", x.cluster.waited)
	}
	x.refused(x.as("s", "GET", agentPath, "", headerMinRevision, "9"), 412, "revision_unknown")
	a := x.as("s", "GET", agentPath, "", headerIfNoneMatch, `"1"`)
	if a.status != http.StatusNotModified || a.body != "" {
		t.Errorf("got %d %s", a.status, a.body)
	}
	a = x.as("s", "HEAD", agentPath, "")
	if a.status != 200 || a.header.Get("ETag") != `"1"` {
		t.Errorf("HEAD gave %d %v", a.status, a.header)
	}
}

// Pages of configured origins may use every route, and read what it tells.
func TestAgentCORS(t *testing.T) {
	const origin = "https://app.example"
	x := newAPI(t, func(c *Config) { c.CORSOrigins = []string{origin} })
	for path, methods := range map[string]string{
		agentPath:                  "DELETE, GET, HEAD, PUT, OPTIONS",
		"/api/v1/state":            "GET, HEAD, OPTIONS",
		"/api/v1/chat/completions": "POST, OPTIONS",
	} {
		a := x.do("OPTIONS", path, "", "Origin", origin, "Access-Control-Request-Method", "PUT")
		if a.status != 204 || a.header.Get("Access-Control-Allow-Methods") != methods || a.header.Get("Access-Control-Allow-Origin") != origin {
			t.Errorf("OPTIONS %s: %d %v", path, a.status, a.header)
		}
		for _, name := range []string{"X-Subject-ID", "X-Session-ID", "X-Mnexium-Key", "X-OpenAI-Key", "If-Match"} {
			if !strings.Contains(a.header.Get("Access-Control-Allow-Headers"), name) {
				t.Errorf("OPTIONS %s allows %s", path, a.header.Get("Access-Control-Allow-Headers"))
			}
		}
	}
	a := x.put(agentPath, `{"value":1}`, "Origin", origin)
	if !strings.Contains(a.header.Get("Access-Control-Expose-Headers"), "X-Mnx-State-Version") {
		t.Errorf("headers: %v", a.header)
	}
}

// Every error is in the form of Agent State, whatever finds it.
func TestAgentErrors(t *testing.T) {
	tests := []struct {
		err           error
		write         int
		code, outcome string
		read          int
		readCode      string
	}{
		{cluster.ErrNoLeader, 503, "no_leader", "not_applied", 503, "no_leader"},
		{cluster.ErrOutcomeUnknown, 504, "outcome_unknown", "unknown", 503, "no_leader"},
		{cluster.ErrOverloaded, 429, "overloaded", "not_applied", 429, "overloaded"},
		{cluster.ErrDiskFull, 507, "disk_full", "not_applied", 507, "disk_full"},
		{cluster.ErrTooLarge, 413, "value_too_large", "not_applied", 413, "value_too_large"},
		{cluster.ErrBehind, 503, "behind", "not_applied", 503, "behind"},
		{errFake, 500, "internal", "unknown", 500, "internal"},
	}
	for _, tt := range tests {
		x := newAPI(t)
		x.cluster.proposeErr, x.cluster.readErr = tt.err, tt.err
		for _, a := range []answer{x.as("s", "PUT", agentPath, `{"value":1}`), x.as("s", "DELETE", agentPath, "")} {
			x.refused(a, tt.write, tt.code)
			if a.json["outcome"] != tt.outcome || (a.header.Get("Retry-After") != "") != (tt.write == 429) {
				t.Errorf("%v: %s, Retry-After %q", tt.err, a.body, a.header.Get("Retry-After"))
			}
		}
		for _, path := range []string{agentPath, "/api/v1/state"} {
			a := x.refused(x.as("s", "GET", path, ""), tt.read, tt.readCode)
			if a.json["outcome"] != "not_applied" || strings.Contains(a.body, "secret") {
				t.Errorf("%v: read: %s", tt.err, a.body)
			}
		}
	}
	x := newAPI(t, func(c *Config) { c.MaxValueBytes = 100 })
	x.refused(x.as("s", "PUT", agentPath, `{"value":"`+strings.Repeat("v", 99)+`"}`), 413, "value_too_large")
	x.refused(x.as("s", "PUT", agentPath, pad(`{"value":1}`, 101+bodySlack)), 413, "value_too_large")
	x.refused(x.as("s", "PUT", agentPath, `{"value":1}`, "Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"), 403, "forbidden")
	x.refused(x.get("/api/v1/state"), 400, "missing_subject_id")
	x.refused(x.get(agentPath), 400, "missing_subject_id")
	for _, path := range []string{"/api/v1/", "/api/v1/memories/search?q=x", "/api/v1/chat", "/api/v1//state/k"} {
		x.refused(x.get(path), 404, "not_found")
	}
	a := x.refused(x.post(agentPath, `{}`), 405, "method_not_allowed")
	if a.header.Get("Allow") != "DELETE, GET, HEAD, PUT, OPTIONS" {
		t.Errorf("Allow = %q", a.header.Get("Allow"))
	}
	x.cluster.panics = true
	x.refused(x.as("s", "PUT", agentPath, `{"value":1}`), 500, "internal")
}

// What is over a limit is told with the members that the published client
// reads.
func TestAgentUsageLimit(t *testing.T) {
	x := newAPI(t, func(c *Config) { c.MaxValueBytes, c.BodyBudget = 2<<20, maxAtomicBytes })
	goOn := x.hold("/v1/state/wf", `{"ops":[{"op":"set","key":"a","value":1}]}`, "Transfer-Encoding", "chunked")
	a := x.refused(x.as("s", "PUT", agentPath, `{"value":1}`), 429, "usage_limit_exceeded")
	if a.number("current") != maxAtomicBytes || a.number("limit") != maxAtomicBytes || a.header.Get("Retry-After") == "" {
		t.Errorf("body: %s, Retry-After %q", a.body, a.header.Get("Retry-After"))
	}
	x.ok(goOn(), "")

	x = newAPI(t, func(c *Config) { c.MaxStreams = 1 })
	open(t, x.serve(), "/api/v1/state", "X-Subject-ID", "s", "Accept", "text/event-stream")
	a = x.refused(x.as("s", "GET", agentPath, "", "Accept", "text/event-stream"), 429, "usage_limit_exceeded")
	if a.number("current") != 1 || a.number("limit") != 1 {
		t.Errorf("body: %s", a.body)
	}
}

// Every key that there may be is reached by its escaped form, and by no other
// key's.
func FuzzAgentKey(f *testing.F) {
	for _, key := range []string{"current_task", "a/b", "a%2Fb", "/", "a/../b", "..", ".", "", "é😀", "a\x00", "a\xff", "?#[]", "k/", " ", "+"} {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, key string) {
		x := newAPI(t)
		a := x.as("s", "PUT", "/api/v1/state/"+url.PathEscape(key), `{"value":1}`)
		if err := checkName("key", key, names.MaxKeyBytes); err != nil {
			x.refused(a, 400, "invalid_key")
			return
		}
		x.ok(a, "")
		if a.json["key"] != key || x.cluster.commands[0].Ops[0].Key != key {
			t.Errorf("%q is stored as %q, told as %s", key, x.cluster.commands[0].Ops[0].Key, a.body)
		}
	})
}
