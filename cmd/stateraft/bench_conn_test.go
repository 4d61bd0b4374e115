package main

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestReadResponse(t *testing.T) {
	tests := []struct {
		name, in string
		status   int
		body     string
		fails    bool
	}{
		{"length", "HTTP/1.1 200 OK\r\nX: y\r\ncontent-LENGTH: 3\r\n\r\nabc", 200, "", false},
		{"empty", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, "", false},
		{"chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", 200, "", false},
		{"chunks and a trailer", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nA: b\r\n\r\n", 200, "", false},
		{"error", "HTTP/1.1 429 Too Many\r\nContent-Length: 2\r\n\r\n{}", 429, "{}", false},
		{"error in chunks", "HTTP/1.1 503 \r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 503, "{}", false},
		{"last one", "HTTP/1.1 503 \r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}", 503, "{}", true},
		{"no length", "HTTP/1.1 200 OK\r\n\r\n", 200, "", true},
		{"bad length", "HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\n", 0, "", true},
		{"long error", "HTTP/1.1 500 X\r\nContent-Length: 9999999\r\n\r\n", 500, "", true},
		{"cut in the body", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", 200, "", true},
		{"cut in a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab", 200, "", true},
		{"cut in the head", "HTTP/1.1 200 OK\r\nContent-", 0, "", true},
		{"endless line", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1<<16), 0, "", true},
		{"other protocol", "SSH-2.0-OpenSSH_9.2p1 Debian\r\n", 0, "", true},
		{"not final", "HTTP/1.1 100 Continue\r\n\r\n", 0, "", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			const next = "the next answer"
			in := bufio.NewReader(strings.NewReader(tt.in + next))
			if tt.fails && strings.HasPrefix(tt.name, "cut") {
				in = bufio.NewReader(strings.NewReader(tt.in))
			}
			status, body, err := readResponse(in)
			if status != tt.status || string(body) != tt.body || (err != nil) != tt.fails {
				t.Fatalf("got %d, %q, %v, want %d, %q, failure %v", status, body, err, tt.status, tt.body, tt.fails)
			}
			if rest, _ := io.ReadAll(in); !tt.fails && string(rest) != next {
				t.Errorf("left %q, want %q", rest, next)
			}
		})
	}
}

func FuzzReadResponse(f *testing.F) {
	f.Add("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc")
	f.Add("HTTP/1.1 503 X\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nA: b\r\n\r\n")
	f.Fuzz(func(t *testing.T, s string) {
		status, body, err := readResponse(bufio.NewReader(strings.NewReader(s)))
		if err == nil && (status < 200 || status > 999) || len(body) > benchMaxErrorBody {
			t.Errorf("got %d, %d bytes, %v", status, len(body), err)
		}
	})
}

// Ensure that what net/http answers is understood, all of it on one connection.
func TestBenchConn(t *testing.T) {
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch r.URL.Path {
		case "/large":
			io.WriteString(w, strings.Repeat("x", 1<<16)) // goes in chunks
		case "/bad":
			http.Error(w, string(body), 400)
		case "/last":
			w.Header().Set("Connection", "close")
		}
	}))
	defer node.Close()
	endpoint, err := url.Parse(node.URL)
	if err != nil {
		t.Fatal(err)
	}
	c, err := dialBench(t.Context(), endpoint, testTimeout)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	for _, tt := range []struct {
		path   string
		status int
		body   string
		err    error
	}{{"/small", 200, "", nil}, {"/large", 200, "", nil}, {"/bad", 400, "hello\n", nil}, {"/last", 200, "", errConnectionClose}} {
		request := "POST " + tt.path + " HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
		status, body, err := c.do([]byte(request), time.Now())
		if status != tt.status || string(body) != tt.body || !errors.Is(err, tt.err) {
			t.Errorf("%s: got %d, %q, %v, want %d, %q, %v", tt.path, status, body, err, tt.status, tt.body, tt.err)
		}
	}
	if _, err := dialBench(t.Context(), &url.URL{Scheme: "https", Host: endpoint.Host}, testTimeout); err == nil {
		t.Error("TLS with a plain-text server: no error")
	}
}
