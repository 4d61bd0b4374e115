package httpapi

import (
	"context"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/stateraft/stateraft/fsm"
)

func TestBudget(t *testing.T) {
	b := budget{limit: 10}
	steps := []struct {
		n    int64
		want bool
	}{{0, true}, {11, false}, {4, true}, {7, false}, {6, true}, {1, false}, {0, true}}
	for _, s := range steps {
		if got := b.reserve(s.n); got != s.want {
			t.Errorf("reserve(%d) with %d taken = %v, want %v", s.n, b.used.Load(), got, s.want)
		}
	}
	b.release(6)
	if !b.reserve(6) || b.reserve(1) {
		t.Errorf("%d taken of %d", b.used.Load(), b.limit)
	}
}

// Requests that do not end never hold more than the budget.
func TestBudgetShared(t *testing.T) {
	b := budget{limit: 10}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 1000 {
				if b.reserve(3) {
					if used := b.used.Load(); used > b.limit {
						t.Errorf("%d taken of %d", used, b.limit)
					}
					b.release(3)
				}
			}
		})
	}
	all.Wait()
	if used := b.used.Load(); used != 0 {
		t.Errorf("%d left behind", used)
	}
}

// hold sends a write that the cluster keeps until goOn, and returns once it is
// there. Other writes pass.
func (x *api) hold(path, body string, headers ...string) (goOn func() answer) {
	inside, release, answered := make(chan struct{}), make(chan struct{}), make(chan answer, 1)
	var held atomic.Bool
	x.cluster.onPropose = func(context.Context) {
		if held.CompareAndSwap(false, true) {
			close(inside)
			<-release
		}
	}
	go func() { answered <- x.post(path, body, headers...) }()
	<-inside
	return func() answer {
		close(release)
		return <-answered
	}
}

// While the bodies of others fill the budget a body is refused at once and
// unread, and what has none is served.
func TestBodiesOverBudget(t *testing.T) {
	const ops = `{"ops":[{"op":"set","key":"a","value":1}]}`
	tests := []struct {
		name, path, body string
		headers          []string
		holds            int64
	}{
		{"length told", valuePath, pad(`{"value":1}`, 3<<20), nil, 3 << 20},
		{"small", valuePath, `{"value":1}`, nil, 11},
		{"length not told", valuePath, `{"value":1}`, []string{"Transfer-Encoding", "chunked"}, 3 << 20},
		{"atomic, length not told", "/v1/state/wf", ops, []string{"Transfer-Encoding", "chunked"}, maxAtomicBytes},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x := newAPI(t, func(c *Config) { c.MaxValueBytes, c.BodyBudget = 2<<20, maxAtomicBytes })
			goOn := x.hold(tt.path, tt.body, tt.headers...)
			if got := x.server.bodies.used.Load(); got != tt.holds {
				t.Errorf("%d bytes reserved, want %d", got, tt.holds)
			}
			tooMuch := strings.Repeat("x", int(maxAtomicBytes-tt.holds+1))
			a := x.refused(x.post("/v1/state/wf", tooMuch), 429, "OVERLOADED")
			if a.json["outcome"] != "not_applied" || a.header.Get("Retry-After") == "" {
				t.Errorf("Retry-After %q, body %s", a.header.Get("Retry-After"), a.body)
			}
			x.refused(x.post("/v1/state/wf", ops, "Transfer-Encoding", "chunked"), 429, "OVERLOADED")
			x.ok(x.get("/v1/state/wf"), "")
			x.ok(x.delete(valuePath), "")
			x.ok(x.post("/v1/cluster/leader/transfer", ""), "")

			x.ok(goOn(), "")
			x.ok(x.post("/v1/state/wf", ops, "Transfer-Encoding", "chunked"), "")
			if got := x.server.bodies.used.Load(); got != 0 {
				t.Errorf("%d bytes reserved after the last answer", got)
			}
		})
	}
}

// What is over the budget is refused before it is sent, and counts for nothing.
func TestOverBudgetOnTheWire(t *testing.T) {
	x := newAPI(t, func(c *Config) { c.BodyBudget = maxAtomicBytes })
	goOn := x.hold("/v1/state/wf", `{"ops":[{"op":"set","key":"a","value":1}]}`, "Transfer-Encoding", "chunked")
	conn, err := net.Dial("tcp", x.serve())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "POST "+valuePath+" HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1048576\r\n\r\n")
	got, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 429 ") || !strings.Contains(string(got), "Connection: close") {
		t.Errorf("got %q, %v", got, err)
	}
	if a := x.get("/metrics"); !strings.Contains(a.body, "stateraft_http_body_bytes 4.194304e+06\n") {
		t.Errorf("metrics: %s", a.body)
	}
	x.ok(goOn(), "")
}

// A long list takes of its budget what it needs, or is the only one; a short one
// takes nothing.
func TestListsOverBudget(t *testing.T) {
	x := newAPI(t)
	for i := range maxPage + 1 {
		x.set("long", strconv.Itoa(i), "1")
	}
	x.set("short", "k", "1")
	used := func(want int64) {
		t.Helper()
		if got := x.server.lists.used.Load(); got != want {
			t.Errorf("%d bytes reserved after the last answer, want %d", got, want)
		}
	}
	x.ok(x.get("/v1/state/long"), "")
	used(0)
	const others = listBudget - listedBytes*(maxPage+1) + 1
	x.server.lists.used.Store(others)
	a := x.refused(x.get("/v1/state/long"), 429, "OVERLOADED")
	if a.header.Get("Retry-After") == "" {
		t.Errorf("no Retry-After: %s", a.body)
	}
	x.ok(x.get("/v1/state/long?limit=10000"), "")
	x.ok(x.get("/v1/state/short"), "")
	used(others)
	x.server.lists.used.Store(0)
	x.server.lists.limit = 1
	x.ok(x.get("/v1/state/long"), "")
	used(0)
}

func TestListedBytes(t *testing.T) {
	if size := unsafe.Sizeof(fsm.Entry{}); size > listedBytes {
		t.Errorf("an entry of a list takes %d bytes", size)
	}
}
