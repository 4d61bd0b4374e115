package httpapi

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/stateraft/stateraft/cluster"
)

var _ Cluster = (*cluster.Node)(nil)

func TestNewRefuses(t *testing.T) {
	c := newFakeCluster(t)
	taken := prometheus.NewRegistry()
	if _, err := New(Config{Cluster: c, Metrics: taken}); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		config Config
		want   string
	}{
		{Config{}, "cluster is required"},
		{Config{Cluster: c, MaxValueBytes: -1}, "largest value"},
		{Config{Cluster: c, BodyBudget: maxAtomicBytes - 1}, "no room for one body of 4194304"},
		{Config{Cluster: c, MaxValueBytes: 8 << 20, BodyBudget: 8 << 20}, "no room for one body of 9437184"},
		{Config{Cluster: c, BodyBudget: -1}, "no room"},
		{Config{Cluster: c, MaxStreams: -1}, "cannot be negative"},
		{Config{Cluster: c, KeepAlive: -1}, "cannot be negative"},
		{Config{Cluster: c, CORSOrigins: []string{"app.example"}}, "scheme is required"},
		{Config{Cluster: c, CORSOrigins: []string{"https://app.example/"}}, "path"},
		{Config{Cluster: c, Metrics: taken}, "register metrics"},
	}
	for _, tt := range tests {
		if _, err := New(tt.config); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("New(%+v) = %v, want %q", tt.config, err, tt.want)
		}
	}
}

// serve runs the api's server on a port of its own until the test ends.
func (x *api) serve() (addr string) {
	x.tb.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		x.tb.Fatal(err)
	}
	return x.serveOn(ln)
}

func (x *api) serveOn(ln net.Listener) (addr string) {
	done := make(chan error, 1)
	go func() { done <- x.server.Serve(ln) }()
	x.tb.Cleanup(func() {
		if err := x.server.Shutdown(context.Background()); err != nil {
			x.tb.Error(err)
		}
		if err := <-done; err != nil {
			x.tb.Errorf("Serve = %v", err)
		}
	})
	return ln.Addr().String()
}

// A request in flight is answered before Shutdown returns.
func TestShutdownWaits(t *testing.T) {
	x := newAPI(t)
	inside, goOn := make(chan struct{}), make(chan struct{})
	x.cluster.onPropose = func(context.Context) { close(inside); <-goOn }
	addr := x.serve()
	answered := make(chan int, 1)
	go func() {
		res, err := http.Post("http://"+addr+valuePath, "application/json", strings.NewReader(`{"value":1}`))
		if err != nil {
			answered <- 0
			return
		}
		res.Body.Close()
		answered <- res.StatusCode
	}()
	<-inside
	down := make(chan error, 1)
	go func() { down <- x.server.Shutdown(context.Background()) }()
	select {
	case err := <-down:
		t.Fatalf("Shutdown = %v with a request in flight", err)
	case status := <-answered:
		t.Fatalf("answered %d before the write was done", status)
	case <-time.After(20 * time.Millisecond):
	}
	close(goOn)
	if status := <-answered; status != 200 {
		t.Errorf("status = %d", status)
	}
	if err := <-down; err != nil {
		t.Errorf("Shutdown = %v", err)
	}
	http.DefaultClient.CloseIdleConnections()
}

// A request that does not end is cut off when Shutdown's time is up.
func TestShutdownCuts(t *testing.T) {
	x := newAPI(t)
	inside := make(chan struct{})
	x.cluster.onPropose = func(ctx context.Context) { close(inside); <-ctx.Done() }
	addr := x.serve()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "POST "+valuePath+" HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n"+`{"value":1}`)
	<-inside
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := x.server.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown = %v", err)
	}
}

// Slow clients lose their connection, and an answer that never came is no
// write.
func TestSlowClients(t *testing.T) {
	const slow = 20 * time.Millisecond
	const bodySlow = time.Second // the header must be through by then
	tests := []struct{ name, sent, want string }{
		{"header", "GET /health HTTP/1.1\r\nHost: x\r\n", ""},
		{"body", "POST " + valuePath + " HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n{\"val", "400 Bad Request"},
		{"chunked body", "POST " + valuePath + " HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"val\r\n", "400 Bad Request"},
		{"idle", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x := newAPI(t)
			x.server.http.ReadTimeout = bodySlow
			if tt.want == "" {
				x.server.http.ReadHeaderTimeout = slow
			}
			conn, err := net.Dial("tcp", x.serve())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, tt.sent); err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(conn) // until the server closes
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(got), tt.want) || x.revision() != 0 {
				t.Errorf("got %q, revision %d", got, x.revision())
			}
		})
	}
}

// What net/http answers by itself before a route is looked for.
func TestMalformedRequests(t *testing.T) {
	x := newAPI(t)
	addr := x.serve()
	tests := []struct{ name, request, want string }{
		{"bad escape", "GET /v1/state/wf/%zz HTTP/1.1\r\nHost: x\r\n\r\n", "400 "},
		{"huge header", "GET /health HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 2*maxHeaderBytes) + "\r\n\r\n", "431 "},
		{"control character in the path", "GET /v1/state/wf/a\x01 HTTP/1.1\r\nHost: x\r\n\r\n", "400 "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			io.WriteString(conn, tt.request)
			line, err := bufio.NewReader(conn).ReadString('\n')
			if err != nil || !strings.HasPrefix(line, "HTTP/1.1 "+tt.want) {
				t.Errorf("got %q, %v, want %s", line, err, tt.want)
			}
		})
	}
}

// Too large a body is refused before it is sent, and the connection's other
// requests are not confused by it.
func TestTooLargeOnTheWire(t *testing.T) {
	x := newAPI(t)
	addr := x.serve()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "POST "+valuePath+" HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 99999999\r\n\r\n")
	got, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 413 ") || !strings.Contains(string(got), "Connection: close") {
		t.Errorf("got %q, %v", got, err)
	}
}
