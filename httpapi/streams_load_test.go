package httpapi

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stateraft/stateraft/fsm"
	"github.com/stateraft/stateraft/fsm/fsmpb"
	"github.com/stateraft/stateraft/httpapi/stream"
)

// collect reads the events of a stream until it ends.
func collect(r *reader) <-chan []told {
	done := make(chan []told, 1)
	go func() {
		var all []told
		defer func() { done <- all }() // also if event fails the test
		for {
			e, ok := r.event()
			if !ok {
				return
			}
			all = append(all, e)
		}
	}()
	return done
}

// busy writes to keys k0 to k29 of some workflows from a few goroutines: sets,
// deletes and atomic writes.
func (x *api) busy(workflows []string, writers, writes int) {
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(w), 1))
			for i := range writes {
				wf, key := workflows[random.IntN(len(workflows))], fmt.Sprint("k", random.IntN(30))
				c := setCommand(wf, key, fmt.Sprint(i))
				switch random.IntN(4) {
				case 0:
					c.Ops[0] = &fsmpb.Op{Kind: fsmpb.Op_DELETE, Key: key}
				case 1:
					c = setCommand(wf, "k1", "1", "k2", "2", "k3"+fmt.Sprint(i), strings.Repeat("3", 100))
				}
				if _, err := x.cluster.Propose(x.tb.Context(), c); err != nil {
					x.tb.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// expected returns the revisions of a topic's changes.
func (x *api) expected(namespace string, covers func(key string) bool) (revisions []uint64) {
	changes, ok := x.cluster.state.Changes(0, 1<<30)
	if !ok {
		x.tb.Fatal("the history is too short for this test")
	}
	for _, c := range changes {
		if c.Namespace == namespace && covers(c.Key) {
			revisions = append(revisions, c.Revision)
		}
	}
	return revisions
}

// Many subscribers under concurrent writes: each gets every change of its
// topic, once, in order.
func TestEverySubscriberGetsEverything(t *testing.T) {
	x := newAPI(t, func(c *Config) { c.KeepAlive = 100 * time.Millisecond })
	addr := x.serve()
	type follower struct {
		workflow, path string
		covers         func(string) bool
		got            <-chan []told
	}
	workflows := []string{"a", "b"}
	var followers []*follower
	follow := func(wf, path string, covers func(string) bool) {
		f := &follower{workflow: wf, path: path, covers: covers}
		r := open(t, addr, path, acceptEvents...)
		f.got = collect(r)
		followers = append(followers, f)
	}
	for _, wf := range workflows {
		for i := range 10 {
			key := fmt.Sprint("k", i)
			for range 3 {
				follow(wf, "/v1/state/"+wf+"/"+key+"/stream", func(k string) bool { return k == key })
			}
		}
		for _, prefix := range []string{"", "k", "k1", "k2", "k31", "none"} {
			follow(wf, "/v1/state/"+wf+"?prefix="+prefix, func(k string) bool { return strings.HasPrefix(k, prefix) })
		}
	}
	x.busy(workflows, 4, 300)
	total := uint64(0)
	for _, f := range followers {
		total += uint64(len(x.expected(workflowNamespace(f.workflow), f.covers)))
	}
	eventually(t, "all is delivered", func() bool { return x.server.streams.Stats().Events >= total })
	x.server.SetDraining()
	for _, f := range followers {
		var got []uint64
		for _, e := range <-f.got {
			if e.id != e.json.Revision {
				t.Fatalf("%s: id %d of %s", f.path, e.id, e.data)
			}
			got = append(got, e.id)
		}
		if want := x.expected(workflowNamespace(f.workflow), f.covers); !slices.Equal(got, want) {
			t.Errorf("%s: %d events, want %d", f.path, len(got), len(want))
		}
	}
}

// A snapshot and what follows it make the state, whenever the stream is
// opened: no change is missing, and none is told twice.
func TestSnapshotUnderWrites(t *testing.T) {
	x := newAPI(t)
	addr := x.serve()
	var streams []<-chan []told
	done := make(chan struct{})
	go func() { defer close(done); x.busy([]string{"wf"}, 3, 500) }()
	for range 60 {
		streams = append(streams,
			collect(open(t, addr, listPath+"?snapshot=true", acceptEvents...)),
			collect(open(t, addr, "/v1/state/wf/k1/stream?snapshot=true")))
	}
	<-done
	x.set("wf", "k1", `"end"`)
	eventually(t, "all are level", x.allLevel)
	x.server.SetDraining()
	for i, s := range streams {
		got := versions(t, <-s)
		if i%2 == 1 {
			got = withKey(got, "k1")
		}
		want := map[string]uint64{}
		for _, e := range x.cluster.state.List(workflowNamespace("wf"), fsm.Query{}).Entries {
			if i%2 == 0 || e.Key == "k1" {
				want[e.Key] = e.Version
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("stream %d ended with %v, want %v", i, got, want)
		}
	}
}

func withKey(m map[string]uint64, key string) map[string]uint64 {
	return map[string]uint64{key: m[key]}
}

// allLevel reports whether all streams have been sent all there is.
func (x *api) allLevel() bool {
	stats := x.server.streams.Stats()
	return stats.Behind == 0 && stats.Revision == x.revision()
}

// versions plays a stream with a snapshot and returns the keys' versions at
// its end. The versions of a key must rise by one from set to set.
func versions(t *testing.T, events []told) map[string]uint64 {
	t.Helper()
	present, last, revision, synced := map[string]uint64{}, map[string]uint64{}, uint64(0), false
	for _, e := range events {
		switch e.json.Type {
		case "":
			if e.name != "synced" || e.id != e.json.Revision {
				t.Fatalf("unexpected %+v", e)
			}
			revision, synced = e.id, true
			continue
		case "snapshot":
			if synced || e.id != 0 {
				t.Fatalf("a late snapshot event: %+v", e)
			}
		default:
			if e.id <= revision || !synced {
				t.Fatalf("%+v after revision %d", e, revision)
			}
			revision = e.id
			if v, known := last[e.json.Key]; known && e.json.Version != v+1 && present[e.json.Key] != 0 {
				t.Fatalf("version %d after %d: %+v", e.json.Version, v, e)
			}
		}
		last[e.json.Key], present[e.json.Key] = e.json.Version, e.json.Version
		if e.json.Type == "delete" {
			delete(present, e.json.Key)
		}
	}
	return present
}

// A stream that is cut after any byte of an atomic write's events goes on
// exactly after the last event that was complete.
func TestResumeAfterEveryByte(t *testing.T) {
	x := newAPI(t)
	addr := x.serve()
	x.set("wf", "before", "0")
	x.ok(x.post(listPath, `{"ops":[{"op":"set","key":"a","value":{"x":"é"}},{"op":"set","key":"b","value":[]},{"op":"delete","key":"before"}]}`), "")
	resume := func(id uint64) *reader {
		return open(t, addr, listPath, "Accept", "text/event-stream", headerLastEventID, fmt.Sprint(id))
	}
	r := resume(1)
	r.blocks(opened(1))
	whole := []string{r.block(), r.block(), r.block()}
	text := strings.Join(whole, "")
	if n := strings.Count(text, `"tx":{"first":2,"last":4}`); n != 3 {
		t.Fatalf("%d events of the write in %q", n, text)
	}
	for cut := range len(text) + 1 {
		seen, complete := uint64(1), 0
		for _, block := range whole {
			if cut < complete+len(block) {
				break
			}
			complete += len(block)
			seen++
		}
		again := resume(seen)
		again.blocks(opened(seen))
		rest := make([]byte, len(text)-complete)
		if _, err := io.ReadFull(again.buf, rest); err != nil || string(rest) != text[complete:] {
			t.Fatalf("cut after %d bytes: %v, got %q, want %q", cut, err, rest, text[complete:])
		}
		again.close()
	}
}

// A subscriber that reads nothing while much happens costs little, harms
// nobody, and is brought up to date when it reads.
func TestNeverReads(t *testing.T) {
	x := newAPI(t)
	x.server.streams = stream.New(stream.Config{
		Source: x.cluster, Change: changeData, Entry: entryData, MaxStreams: 2, KeepAlive: time.Hour,
		Stall: time.Hour, // the default is little for all that happens while one sleeps
	})
	addr := x.serve()
	sleeper := open(t, addr, streamPath)
	sleeper.blocks(opened(0))
	awake := open(t, addr, streamPath)
	awake.blocks(opened(0))
	const writes, batch = 100_000, 400
	x.cluster.limitHistory(t, 20_000)
	set := setCommand("wf", "k", `"`+strings.Repeat("v", 100)+`"`)
	before := heap()
	for done := 0; done < writes; done += batch {
		x.cluster.proposeMany(t, set, batch)
		_ = awake.conn.SetReadDeadline(time.Now().Add(patience))
		for i := range batch {
			awake.skim(uint64(done + i + 1))
		}
	}
	if grown := heap() - before; grown > 16<<20 {
		t.Errorf("memory grew by %d MiB; the history takes 7", grown>>20)
	}
	eventually(t, "the other is level", func() bool { return x.server.streams.Stats().Behind == 1 })

	var names []string
	last, seen := uint64(0), 0
	for ; last < writes; seen++ {
		e, ok := sleeper.event()
		if !ok {
			t.Fatal("the stream ended")
		}
		if e.name != "" {
			names = append(names, e.name)
		} else if e.id != 0 && e.id != last+1 {
			t.Fatalf("event %d after %d", e.id, last)
		}
		last = max(last, e.id)
	}
	if !slices.Equal(names, []string{"resync", "synced"}) {
		t.Errorf("names %q after %d events: the history holds fewer than there were", names, seen)
	}
	eventually(t, "the sleeper is level", func() bool { return x.server.streams.Stats().Behind == 0 })
	x.set("wf", "k", "1")
	for _, r := range []*reader{sleeper, awake} {
		if e, _ := r.event(); e.id != writes+1 {
			t.Errorf("got %+v", e)
		}
	}
}

// skim fails the test unless the next block is the event of that revision. It
// is fast.
func (r *reader) skim(revision uint64) {
	r.tb.Helper()
	var lines [3]string // id, data, and the empty one
	for i := range lines {
		line, err := r.buf.ReadSlice('\n')
		if err != nil {
			r.tb.Fatal(err)
		}
		lines[i] = string(line[:min(len(line), 30)])
	}
	if want := fmt.Sprintf("id: %d\n", revision); lines[0] != want || lines[2] != "\n" {
		r.tb.Fatalf("got %q, want %q", lines, want)
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A reader that is slow for a while gets everything, and is then served by its
// shard again.
func TestSlowReaderCatchesUp(t *testing.T) {
	x := newAPI(t)
	addr := x.serve()
	r := open(t, addr, listPath, acceptEvents...)
	r.blocks(opened(0))
	big := `"` + strings.Repeat("b", 300_000) + `"`
	const writes = 40 // 36 MB of events: more than the kernel's buffers, less than the history
	for i := range writes {
		x.set("wf", fmt.Sprint("k", i%7), big)
	}
	eventually(t, "it is behind", func() bool { return x.server.streams.Stats().Behind == 1 })
	for i := range writes {
		e, ok := r.event()
		if !ok || e.id != uint64(i+1) || string(e.json.NewValue) != big {
			t.Fatalf("event %d: id %d, %d bytes", i+1, e.id, len(e.json.NewValue))
		}
	}
	eventually(t, "it is level", func() bool { return x.server.streams.Stats().Behind == 0 })
	x.set("wf", "k", "1")
	if e, _ := r.event(); e.id != writes+1 {
		t.Errorf("got %+v", e)
	}
}

// Where the history does not reach back, the present keys are told, and no
// others.
func TestHistoryExceeded(t *testing.T) {
	x := newAPI(t)
	x.cluster.limitHistory(t, 10)
	addr := x.serve()
	x.set("wf", "gone", "1")
	x.set("wf", "stays", "1")
	x.ok(x.delete("/v1/state/wf/gone"), "")
	for i := range 20 {
		x.set("other", fmt.Sprint(i), "1")
	}
	r := open(t, addr, listPath, "Accept", "text/event-stream", headerLastEventID, "1")
	r.blocks("retry: 1000\n\n", "event: resync\ndata: {}\n\n",
		`data: {"type":"snapshot","workflowId":"wf","key":"stays","oldValue":null,"newValue":1,"value":1,"version":1}`+"\n\n",
		"event: synced\nid: 23\ndata: {\"revision\":23}\n\n")
	x.set("wf", "stays", "2")
	if e, _ := r.event(); e.id != 24 || e.json.Version != 2 {
		t.Errorf("got %+v", e)
	}
	if n := x.server.streams.Stats().Resyncs; n != 1 {
		t.Errorf("%d resyncs", n)
	}
}

// HTTP/2 and TLS are served by a handler each.
func TestStreamsOverTLS(t *testing.T) {
	for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(proto, func(t *testing.T) {
			x := newAPI(t, func(c *Config) { c.KeepAlive = 30 * time.Millisecond })
			ts := newTLSServer(t, x, proto == "HTTP/2.0")
			x.set("wf", "k", "1")
			res, err := ts.Client().Get(ts.URL + streamPath + "?lastEventId=0")
			if err != nil || res.Proto != proto || res.Header.Get("Content-Type") != "text/event-stream" {
				t.Fatalf("%v, %+v", err, res)
			}
			r := readBody(t, res)
			if e, _ := r.event(); e.id != 1 {
				t.Errorf("got %+v", e)
			}
			for i := range 100 {
				x.set("wf", "k", fmt.Sprint(i))
				if e, _ := r.event(); e.id != uint64(2+i) {
					t.Fatalf("got %+v", e)
				}
			}
			x.set("wf", "other", "1")
			for block := r.block(); block != ": keep-alive\nid: 102\n\n"; block = r.block() {
				if block != ": keep-alive\n\n" {
					t.Fatalf("got %q", block)
				}
			}
			if n := x.server.streams.Stats().Streams; n != 1 {
				t.Errorf("%d streams", n)
			}
			left, err := ts.Client().Get(ts.URL + streamPath)
			if err != nil {
				t.Fatal(err)
			}
			left.Body.Close()
			eventually(t, "the one that left is gone", func() bool { return x.server.streams.Stats().Streams == 1 })
			x.server.SetDraining()
			if block := r.block(); block != "" && !strings.HasPrefix(block, ": keep-alive") {
				t.Errorf("got %q", block)
			}
			eventually(t, "all are gone", func() bool { return x.server.streams.Stats().Streams == 0 })
		})
	}
}

// A veiled listener's connections show nothing but that they are connections.
type veiled struct{ net.Listener }

func (l veiled) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return struct{ net.Conn }{c}, err
}

// Connections that cannot be written to without waiting are served all the
// same.
func TestStreamsOverVeiledConnections(t *testing.T) {
	x := newAPI(t, func(c *Config) { c.KeepAlive = 20 * time.Millisecond })
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := open(t, x.serveOn(veiled{ln}), streamPath)
	r.blocks(opened(0), ": keep-alive\n\n")
	for i := range 50 {
		x.set("wf", "k", fmt.Sprint(i))
		if e, _ := r.event(); !e.is(uint64(i + 1)) {
			t.Fatalf("got %+v", e)
		}
	}
	r.close()
	eventually(t, "the stream is gone", func() bool { return x.server.streams.Stats().Streams == 0 })
}

func newTLSServer(t *testing.T, x *api, http2 bool) *httptest.Server {
	ts := httptest.NewUnstartedServer(x.server.Handler())
	ts.EnableHTTP2 = http2
	ts.StartTLS()
	t.Cleanup(func() { x.server.streams.End(); ts.CloseClientConnections(); ts.Close() })
	return ts
}

// readBody reads a stream from a response of net/http.
func readBody(t *testing.T, res *http.Response) *reader {
	ours, theirs := net.Pipe()
	var wg sync.WaitGroup
	wg.Go(func() {
		_, _ = io.Copy(theirs, res.Body)
		theirs.Close()
	})
	r := &reader{tb: t, conn: ours, buf: bufio.NewReader(ours)}
	t.Cleanup(func() { ours.Close(); res.Body.Close(); wg.Wait() })
	return r
}
