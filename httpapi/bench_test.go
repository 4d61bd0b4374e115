package httpapi

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// discard is a ResponseWriter that costs nothing, so that a benchmark shows
// what the handlers cost.
type discard struct{ header http.Header }

func (d discard) Header() http.Header       { return d.header }
func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) WriteHeader(int)             {}

var benchValue = `{"value":{"step":"` + strings.Repeat("x", 240) + `"}}`

func BenchmarkGet(b *testing.B) { benchmarkGet(b, newAPI(b), "") }

func BenchmarkGetWithKey(b *testing.B) {
	x := newAPI(b, withAuth)
	token, _ := x.newKey(`"scopes":["state:read","state:write"]`)
	benchmarkGet(b, x, token)
}

func benchmarkGet(b *testing.B, x *api, token string) {
	x.ok(x.post(valuePath, benchValue, as(token)...), "")
	r := httptest.NewRequest("GET", valuePath, nil)
	r.Header.Set("Authorization", "Bearer "+token)
	h := x.server.Handler()
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(discard{make(http.Header, 8)}, r)
	}
}

func BenchmarkSet(b *testing.B) { benchmarkSet(b, newAPI(b), "") }

func BenchmarkSetWithKey(b *testing.B) {
	x := newAPI(b, withAuth)
	token, _ := x.newKey(`"scopes":["state:read","state:write"]`)
	benchmarkSet(b, x, token)
}

func benchmarkSet(b *testing.B, x *api, token string) {
	h := x.server.Handler()
	body := strings.NewReader(benchValue)
	r := httptest.NewRequest("POST", valuePath, body)
	r.Header.Set("Authorization", "Bearer "+token)
	b.ReportAllocs()
	for b.Loop() {
		body.Reset(benchValue)
		x.cluster.commands = x.cluster.commands[:0]
		h.ServeHTTP(discard{make(http.Header, 8)}, r)
	}
}

// BenchmarkPropose is the part of BenchmarkSet that is not ours.
func BenchmarkPropose(b *testing.B) {
	x := newAPI(b)
	x.ok(x.post(valuePath, benchValue), "")
	c := x.cluster.commands[0]
	b.ReportAllocs()
	for b.Loop() {
		x.cluster.commands = x.cluster.commands[:0]
		if _, err := x.cluster.Propose(b.Context(), c); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkList(b *testing.B) {
	x := newAPI(b)
	for range 8 {
		x.ok(x.post("/v1/state/wf", `{"ops":[`+manyOps(128)+`]}`), "")
	}
	r := httptest.NewRequest("GET", "/v1/state/wf?values=true", nil)
	h := x.server.Handler()
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(discard{make(http.Header, 8)}, r)
	}
}
