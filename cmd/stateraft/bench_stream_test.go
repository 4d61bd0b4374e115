package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestBenchTick(t *testing.T) {
	const tag = benchTag("0badcafe")
	sent := time.Unix(1_800_000_000, 123_456_789)
	for _, length := range []int{0, 64, 256} {
		value := tag.tick(42, sent, length)
		if length > 40 && len(value) != length {
			t.Errorf("%d bytes, want %d", len(value), length)
		}
		line := fmt.Sprintf(`data: {"type":"set","key":"k","oldValue":%s,"newValue":%s,"value":%s,"version":1}`, tag.tick(41, sent, length), value, value)
		number, at, ok := tag.parse([]byte(line))
		if !ok || number != 42 || !at.Equal(sent) {
			t.Errorf("%s: got %d, %v, %v", line, number, at, ok)
		}
	}
	for _, line := range []string{
		"", ": keep-alive", `data: {"newValue":null}`, `data: {"newValue":"other 1 2 "}`, `data: {"newValue":"0badcafe`,
		`data: {"newValue":"0badcafe 1 x "}`, `data: {"newValue":"0badcafe x 1 "}`,
	} {
		if _, _, ok := tag.parse([]byte(line)); ok {
			t.Errorf("%s is a tick", line)
		}
	}
}

// Ensure a subscriber counts what it hears, and notes what is missing, comes
// twice, or breaks off.
func TestBenchStream(t *testing.T) {
	const tag = benchTag("0badcafe")
	tick := func(number int) string {
		return fmt.Sprintf("id: 1\ndata: {\"newValue\":%s}\n\n", tag.tick(number, time.Now(), 64))
	}
	for _, tt := range []struct {
		name, text string
		events     uint64
		errors     string
	}{
		{"in order", tick(1) + ": keep-alive\n\n" + tick(2) + tick(3), 3, "STREAM_ENDED 1"},
		{"one missing", tick(1) + tick(3), 1, "OUT_OF_ORDER 1, STREAM_ENDED 1"},
		{"one twice", tick(1) + tick(1) + tick(2), 2, "OUT_OF_ORDER 1, STREAM_ENDED 1"},
		{"a long line of another", "data: " + strings.Repeat("x", 5000) + "\n\n" + tick(1), 1, "STREAM_ENDED 1"},
	} {
		for _, chunked := range []bool{true, false} {
			t.Run(fmt.Sprint(tt.name, "/", chunked), func(t *testing.T) {
				f := benchFeedOf(t, tag, func(w http.ResponseWriter, _ *http.Request) {
					if chunked {
						io.WriteString(w, "id: 0\n\n")
						w.(http.Flusher).Flush()
						io.WriteString(w, tt.text)
						return
					}
					conn, _, _ := w.(http.Hijacker).Hijack()
					defer conn.Close()
					io.WriteString(conn, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nid: 0\n\n"+tt.text)
				})
				streams, err := openBenchStreams(t.Context(), 1, []*benchFeed{f})
				if err != nil {
					t.Fatal(err)
				}
				streams[0].follow(t.Context())
				streams.close()
				if got := formatErrors(f.stats.errors); f.stats.inTime != tt.events || got != tt.errors {
					t.Errorf("%d events, errors %s, want %d, %s", f.stats.inTime, got, tt.events, tt.errors)
				}
			})
		}
	}
}

// benchFeedOf returns the feed of a node that serves its streams so.
func benchFeedOf(t *testing.T, tag benchTag, serve http.HandlerFunc) *benchFeed {
	t.Helper()
	node := httptest.NewServer(serve)
	t.Cleanup(node.Close)
	c := benchConfig{workflows: 1, remote: remote{timeout: testTimeout}}
	target, err := newBenchTarget(c, node.URL, "bench", "null")
	if err != nil {
		t.Fatal(err)
	}
	return &benchFeed{target: target, tag: tag, request: target.stream(), most: 512, stats: newBenchStats()}
}

func TestBenchStreamRefused(t *testing.T) {
	asked := ""
	f := benchFeedOf(t, "x", func(w http.ResponseWriter, r *http.Request) {
		asked = r.RequestURI + " " + r.Header.Get("Accept")
		http.Error(w, "no", http.StatusTooManyRequests)
	})
	_, err := openBenchStreams(t.Context(), 1, []*benchFeed{f})
	if err == nil || !strings.Contains(err.Error(), "open stream 1 of 1 at "+f.target.url.String()+": status 429") {
		t.Errorf("got %v", err)
	}
	if want := "/v1/state/bench-0/k0/stream text/event-stream"; asked != want {
		t.Errorf("asked for %s, want %s", asked, want)
	}
}

// Ensure the writer keeps its pace, and makes a write that failed again under
// the same number.
func TestBenchTicks(t *testing.T) {
	const tag = benchTag("0badcafe")
	var bodies []string
	f := benchFeedOf(t, tag, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if bodies = append(bodies, string(body)); len(bodies) == 2 {
			w.WriteHeader(http.StatusServiceUnavailable)
			io.WriteString(w, `{"code":"NO_LEADER"}`)
		}
	})
	w := &benchWorker{target: f.target, stats: newBenchStats()}
	defer w.disconnect()
	c := benchConfig{duration: testTimeout, valueBytes: 64, streams: benchStreamsConfig{writesPerSecond: 100}}
	begin := time.Now()
	if n := w.ticks(t.Context(), tag, c, begin, 4); n != 4 || time.Since(begin) < 30*time.Millisecond {
		t.Errorf("%d writes in %v, want 4 in 30ms at least", n, time.Since(begin))
	}
	for i, want := range []string{"1", "2", "2", "3", "4"} {
		if !strings.HasPrefix(bodies[i], `{"value":"0badcafe `+want+" ") {
			t.Errorf("write %d is %s", i, bodies[i])
		}
	}
	if got := formatErrors(w.stats.errors); got != "NO_LEADER 1" || w.stats.latency.total != 4 {
		t.Errorf("errors %s, %d successes", got, w.stats.latency.total)
	}
}
