package httpapi

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stateraft/stateraft/cluster"
)

const (
	streamPath = "/v1/state/wf/k/stream"
	listPath   = "/v1/state/wf"
)

var acceptEvents = []string{"Accept", "text/event-stream"}

// Every block of a stream, byte by byte.
func TestStreamBytes(t *testing.T) {
	x := newAPI(t)
	r := open(t, x.serve(), streamPath)
	r.blocks("retry: 1000\nid: 0\n\n")

	x.ok(x.post("/v1/state/wf/k", `{"value": {"n":1.0, "s":"\u00e9</>"} }`), "")
	r.blocks("id: 1\n" + `data: {"type":"set","workflowId":"wf","key":"k","oldValue":null,"newValue":{"n":1.0,"s":"\u00e9</>"},` +
		`"value":{"n":1.0,"s":"\u00e9</>"},"version":1,"revision":1}` + "\n\n")

	x.ok(x.post("/v1/state/wf/k", `{"value":null,"ttl":60}`), "")
	r.blocks("id: 2\n" + `data: {"type":"set","workflowId":"wf","key":"k","oldValue":{"n":1.0,"s":"\u00e9</>"},"newValue":null,` +
		`"value":null,"version":2,"revision":2}` + "\n\n")

	x.cluster.advance(t, time.Minute)
	r.blocks("id: 3\n" + `data: {"type":"expire","workflowId":"wf","key":"k","oldValue":null,"newValue":null,"value":null,"version":3,"revision":3}` + "\n\n")

	x.ok(x.post(listPath, `{"ops":[{"op":"set","key":"a","value":1},{"op":"set","key":"k","value":[ ]},{"op":"set","key":"b","value":1}]}`), "")
	r.blocks("id: 5\n" + `data: {"type":"set","workflowId":"wf","key":"k","oldValue":null,"newValue":[],"value":[],"version":4,"revision":5,` +
		`"tx":{"first":4,"last":6}}` + "\n\n")

	x.ok(x.delete("/v1/state/wf/k"), "")
	r.blocks("id: 7\n" + `data: {"type":"delete","workflowId":"wf","key":"k","oldValue":[],"newValue":null,"value":null,"version":5,"revision":7}` + "\n\n")
}

// Names are escaped as JSON asks for, and values are not touched.
func TestStreamNames(t *testing.T) {
	x := newAPI(t)
	r := open(t, x.serve(), "/v1/state/w%22%5C%2F%E2%80%A8/k%22%C3%A9/stream")
	r.blocks(opened(0))
	x.ok(x.post("/v1/state/w%22%5C%2F%E2%80%A8/k%22%C3%A9", `{"value":"x"}`), "")
	r.blocks("id: 1\n" + `data: {"type":"set","workflowId":"w\"\\/` + "\u2028" + `","key":"k\"é","oldValue":null,"newValue":"x","value":"x","version":1,"revision":1}` + "\n\n")
}

func TestStreamSnapshot(t *testing.T) {
	x := newAPI(t)
	x.set("wf", "k", `{"a":1}`)
	x.set("wf", "kk", `2`)
	x.set("wf", "z", `3`)
	x.set("other", "k", `4`)
	addr := x.serve()
	k := `data: {"type":"snapshot","workflowId":"wf","key":"k","oldValue":null,"newValue":{"a":1},"value":{"a":1},"version":1}` + "\n\n"
	kk := `data: {"type":"snapshot","workflowId":"wf","key":"kk","oldValue":null,"newValue":2,"value":2,"version":1}` + "\n\n"
	z := `data: {"type":"snapshot","workflowId":"wf","key":"z","oldValue":null,"newValue":3,"value":3,"version":1}` + "\n\n"
	const retry, synced = "retry: 1000\n\n", "event: synced\nid: 4\ndata: {\"revision\":4}\n\n"
	key := open(t, addr, streamPath+"?snapshot=true")
	key.blocks(retry, k, synced)
	absent := open(t, addr, "/v1/state/wf/absent/stream?snapshot=true")
	absent.blocks(retry, synced)
	prefix := open(t, addr, listPath+"?snapshot=true&prefix=k", acceptEvents...)
	prefix.blocks(retry, k, kk, synced)
	all := open(t, addr, listPath+"?snapshot=true", acceptEvents...)
	all.blocks(retry, k, kk, z, synced)

	x.set("wf", "absent", `5`)
	for _, r := range []*reader{absent, all} {
		if e, _ := r.event(); e.id != 5 || e.json.Key != "absent" {
			t.Errorf("got %+v", e)
		}
	}
	x.set("wf", "k", `6`)
	for _, r := range []*reader{key, prefix, all} {
		if e, _ := r.event(); e.id != 6 || e.json.Version != 2 {
			t.Errorf("got %+v", e)
		}
	}
}

func TestStreamHead(t *testing.T) {
	x := newAPI(t, withOrigins(page))
	x.set("wf", "k", "1")
	addr := x.serve()
	r := open(t, addr, streamPath, "Origin", page)
	want := map[string]string{
		"Content-Type": "text/event-stream", "Cache-Control": "no-cache", "X-Accel-Buffering": "no",
		headerNode: "n1", headerRevision: "1", "Access-Control-Allow-Origin": page, "Vary": "Origin", "Content-Length": "",
	}
	for name, value := range want {
		if got := r.header.Get(name); got != value {
			t.Errorf("%s = %q, want %q", name, got, value)
		}
	}
	if !r.closes {
		t.Error("the connection is not said to end with the stream")
	}
	if _, err := http.ParseTime(r.header.Get("Date")); err != nil {
		t.Error(err)
	}
	for _, path := range []string{streamPath, listPath} {
		a := x.do("HEAD", path, "", "Accept", "text/event-stream")
		if a.status != 200 || a.body != "" || a.header.Get("Content-Type") != "text/event-stream" || a.header.Get(headerRevision) != "1" {
			t.Errorf("HEAD %s: %+v", path, a)
		}
	}
	if open := x.server.streams.Stats().Streams; open != 1 {
		t.Errorf("%d streams are open", open)
	}
}

// A workflow's path answers with a list or with events.
func TestStreamAccept(t *testing.T) {
	tests := []struct {
		accept string
		events bool
	}{
		{"", false},
		{"*/*", false},
		{"application/json", false},
		{"text/html, */*;q=0.8", false},
		{"text/event-stream", true},
		{"Text/Event-Stream; q=0.9", true},
		{"text/html, text/event-stream", true},
		{"application/json, text/event-stream", false},
		{"text/event-stream, application/json;q=0.1", true},
		{"text/event-stream;q=0.5, application/json", false},
		{"text/event-stream;q=0, */*", false},
		{"text/event-stream;q=much", true},
	}
	x := newAPI(t)
	for _, tt := range tests {
		a := x.ok(x.get(listPath, "Accept", tt.accept), "")
		if got := a.header.Get("Content-Type") == "text/event-stream"; got != tt.events {
			t.Errorf("Accept %q: %s", tt.accept, a.header.Get("Content-Type"))
		}
	}
	for _, query := range []string{"after=a", "limit=1", "reverse=true", "values=true", "keys=names"} {
		x.refused(x.get(listPath+"?"+query, acceptEvents...), 400, "INVALID_REQUEST")
	}
	for _, query := range []string{"snapshot=true", "lastEventId=1"} {
		x.refused(x.get(listPath+"?"+query), 400, "INVALID_REQUEST")
	}
}

// A key may be named like the stream's route.
func TestKeyNamedStream(t *testing.T) {
	x := newAPI(t)
	addr := x.serve()
	r := open(t, addr, "/v1/state/wf/stream/stream")
	r.blocks(opened(0))
	x.ok(x.post("/v1/state/wf/stream", `{"value":1}`), `{"version":1}`)
	x.ok(x.get("/v1/state/wf/stream"), "")
	if e, _ := r.event(); e.json.Key != "stream" {
		t.Errorf("got %+v", e)
	}
}

// Where a stream begins.
func TestStreamStarts(t *testing.T) {
	const retry, resync = "retry: 1000\n\n", "event: resync\ndata: {}\n\n"
	synced := func(r int) string { return fmt.Sprintf("event: synced\nid: %d\ndata: {\"revision\":%d}\n\n", r, r) }
	k := func(r int) string {
		return fmt.Sprintf("id: %d\n", r) + fmt.Sprintf(`data: {"type":"set","workflowId":"wf","key":"k","oldValue":%d,"newValue":%d,"value":%d,"version":%d,"revision":%d}`, r-1, r, r, r, r) + "\n\n"
	}
	present := `data: {"type":"snapshot","workflowId":"wf","key":"k","oldValue":null,"newValue":5,"value":5,"version":5}` + "\n\n"
	tests := []struct {
		name    string
		query   string
		headers []string
		want    string
	}{
		{"now", "", nil, opened(5)},
		{"stale", "?consistency=stale", nil, opened(5)},
		{"header", "", []string{headerLastEventID, "3"}, opened(3) + k(4) + k(5)},
		{"query", "?lastEventId=4", nil, opened(4) + k(5)},
		{"header before query", "?lastEventId=2", []string{headerLastEventID, "4"}, opened(4) + k(5)},
		{"empty header before query", "?lastEventId=4", []string{headerLastEventID, ""}, opened(4) + k(5)},
		{"empty header", "", []string{headerLastEventID, ""}, opened(5)},
		{"level", "", []string{headerLastEventID, "5"}, opened(5)},
		{"resuming is no snapshot", "?snapshot=true", []string{headerLastEventID, "4"}, opened(4) + k(5)},
		{"beyond the cluster", "", []string{headerLastEventID, "99"}, retry + resync + present + synced(5)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x := newAPI(t)
			x.cluster.waitErr = cluster.ErrRevisionUnknown
			x.set("wf", "k", "1")
			for i := 2; i <= 5; i++ {
				x.set("wf", "k", fmt.Sprint(i))
			}
			r := open(t, x.serve(), streamPath+tt.query, tt.headers...)
			for got := ""; got != tt.want; {
				got += r.block()
				if !strings.HasPrefix(tt.want, got) {
					t.Fatalf("got %q, want %q", got, tt.want)
				}
			}
			x.set("wf", "k", "6")
			r.blocks(k(6))
		})
	}
}

func TestStreamRefusals(t *testing.T) {
	x := newAPI(t, func(c *Config) { c.MaxStreams = 1 })
	x.set("wf", "k", "1")
	for _, id := range []string{"x", "-1", "1.5", "0x1", " ", "18446744073709551616", "1,2"} {
		a := x.refused(x.get(streamPath, headerLastEventID, id), 400, "INVALID_REQUEST")
		if m := a.json["message"].(string); !strings.Contains(m, headerLastEventID) && strings.TrimSpace(id) != "" {
			t.Errorf("message %q", m)
		}
	}
	x.refused(x.get(streamPath+"?lastEventId="), 400, "INVALID_REQUEST")
	x.refused(x.get(streamPath, headerLastEventID, "1", headerLastEventID, "2"), 400, "INVALID_REQUEST")
	x.refused(x.get(streamPath+"?snapshot=maybe"), 400, "INVALID_REQUEST")
	x.refused(x.get(streamPath+"?consistency=odd&lastEventId=1"), 400, "INVALID_REQUEST")
	x.refused(x.get(streamPath+"?prefix=a"), 400, "INVALID_REQUEST")
	x.refused(x.get(streamPath, headerMinRevision, "9"), 412, "REVISION_UNKNOWN")
	x.cluster.waitErr = cluster.ErrBehind
	x.refused(x.get(streamPath, headerLastEventID, "9"), 503, "BEHIND")
	x.cluster.readErr = cluster.ErrNoLeader
	x.refused(x.get(streamPath), 503, "NO_LEADER")
	x.ok(x.get(streamPath+"?consistency=stale"), "")
	x.ok(x.get(streamPath, headerLastEventID, "1"), "") // goes on without a leader

	x.cluster.readErr = nil
	r := open(t, x.serve(), streamPath)
	a := x.refused(x.get(streamPath), 429, "OVERLOADED")
	if a.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	r.close()
	x.cluster.readErr = nil
	x.server.SetDraining()
	for _, a := range []answer{x.get(streamPath), x.get(listPath, acceptEvents...)} {
		if a.status != 200 || a.body != "retry: 1000\n\n" { // any other status would end an EventSource for good
			t.Errorf("got %d %q", a.status, a.body)
		}
	}
	x.ok(x.get(listPath), "")
}

// Keep-alives come, and carry the cursor once it has moved.
func TestKeepAlive(t *testing.T) {
	x := newAPI(t, func(c *Config) { c.KeepAlive = 20 * time.Millisecond })
	r := open(t, x.serve(), streamPath)
	r.blocks(opened(0), ": keep-alive\n\n", ": keep-alive\n\n")
	x.set("wf", "other", "1")
	for block := r.block(); block != ": keep-alive\nid: 1\n\n"; block = r.block() {
		if block != ": keep-alive\n\n" {
			t.Fatalf("got %q", block)
		}
	}
	r.blocks(": keep-alive\n\n")
}

// What a client sends after its request is thrown away, and it must not be
// much.
func TestStreamIgnoresInput(t *testing.T) {
	x := newAPI(t, func(c *Config) { c.KeepAlive = 20 * time.Millisecond })
	addr := x.serve()
	r := open(t, addr, streamPath)
	r.blocks(opened(0))
	io.WriteString(r.conn, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
	r.blocks(": keep-alive\n\n", ": keep-alive\n\n", ": keep-alive\n\n")
	x.set("wf", "k", "1")
	if e, ok := r.event(); !ok || e.id != 1 {
		t.Errorf("got %+v", e)
	}
	go func() { // until the server has had enough
		for _, err := r.conn.Write(make([]byte, 1<<20)); err == nil; _, err = r.conn.Write(make([]byte, 1<<20)) {
		}
	}()
	eventually(t, "the stream ends", func() bool { return x.server.streams.Stats().Streams == 0 })
	r.close()
}

// A client that leaves takes all that the stream held with it.
func TestClientLeaves(t *testing.T) {
	tests := []struct {
		name  string
		leave func(*net.TCPConn)
	}{
		{"close", func(c *net.TCPConn) { c.Close() }},
		{"reset", func(c *net.TCPConn) { c.SetLinger(0); c.Close() }},
		{"half close", func(c *net.TCPConn) { c.CloseWrite() }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x := newAPI(t, func(c *Config) { c.KeepAlive = 50 * time.Millisecond })
			addr := x.serve()
			var readers []*reader
			for i := range 20 {
				r := open(t, addr, fmt.Sprintf("/v1/state/wf/k%d/stream", i%5))
				r.blocks(opened(0))
				readers = append(readers, r)
			}
			if n := x.server.streams.Stats().Streams; n != 20 {
				t.Fatalf("%d streams", n)
			}
			for _, r := range readers {
				tt.leave(r.conn.(*net.TCPConn))
			}
			eventually(t, "all streams are gone", func() bool { return x.server.streams.Stats().Streams == 0 })
		})
	}
}

// A node that drains ends its streams, with the id to go on from.
func TestDrainEndsStreams(t *testing.T) {
	x := newAPI(t)
	addr := x.serve()
	a, b := open(t, addr, streamPath), open(t, addr, listPath, acceptEvents...)
	a.blocks(opened(0))
	b.blocks(opened(0))
	x.set("wf", "other", "1")
	if e, ok := b.event(); !ok || e.id != 1 {
		t.Fatalf("got %+v", e)
	}
	eventually(t, "both are in their shards, and what a is not told has moved its cursor too", func() bool {
		stats := x.server.streams.Stats()
		return stats.Behind == 0 && stats.Revision == 1
	})
	x.ok(x.post("/v1/cluster/drain", ""), "")
	a.blocks(": keep-alive\nid: 1\n\n", "")
	b.blocks(": keep-alive\n\n", "")
	if n := x.server.streams.Stats().Streams; n != 0 {
		t.Errorf("%d streams are left", n)
	}
}

func FuzzLastEventID(f *testing.F) {
	for _, s := range []string{"", "0", "18446744073709551615", "18446744073709551616", "-0", "+1", " 1", "1_0", "0x1", "é", "\x00"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, header, query string) {
		r := &request{Request: &http.Request{Header: http.Header{headerLastEventID: {header}}}, query: url.Values{queryLastEventID: {query}}}
		id, sent, err := r.lastEventID()
		text := header
		if text == "" {
			text = query
		}
		if err == nil && (!sent || strings.TrimLeft(text, "0") != strings.TrimLeft(fmt.Sprint(id), "0")) {
			t.Errorf("%q was read as %d, %v", text, id, sent)
		}
	})
}

// The data of events is what the document says.
func TestEventsMatchDocument(t *testing.T) {
	x := newAPI(t)
	doc := loadDocument(t, x)
	x.set("wf", "k", "[1]")
	r := open(t, x.serve(), streamPath+"?snapshot=true")
	matches := func(schema string) {
		t.Helper()
		e, _ := r.event()
		var data any
		if err := json.Unmarshal([]byte(e.data), &data); err != nil {
			t.Fatal(err)
		}
		if err := doc.check(map[string]any{"$ref": "#/components/schemas/" + schema}, data, "data"); err != nil {
			t.Errorf("%s: %v", e.data, err)
		}
	}
	matches("SnapshotEvent")
	matches("SyncedEvent")
	x.ok(x.post(listPath, `{"ops":[{"op":"set","key":"k","value":1},{"op":"set","key":"b","value":1}]}`), "")
	matches("Event")
	x.ok(x.delete("/v1/state/wf/k"), "")
	matches("Event")
}
