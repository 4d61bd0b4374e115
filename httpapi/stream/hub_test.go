package stream

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stateraft/stateraft/fsm"
	"github.com/stateraft/stateraft/fsm/fsmpb"
)

// A node is a state that changes at once.
type node struct {
	tb    testing.TB
	state *fsm.State

	mu       sync.Mutex // guards the fields below, and the order of Apply
	index    uint64
	session  uint64
	sequence uint64
	changed  chan struct{}
}

func newNode(tb testing.TB, settings *fsmpb.Settings) *node {
	n := &node{tb: tb, state: fsm.New(), changed: make(chan struct{})}
	n.apply(&fsmpb.Entry{LeaderStart: &fsmpb.LeaderStart{Settings: settings}})
	n.session = n.apply(&fsmpb.Entry{OpenSession: &fsmpb.OpenSession{BootId: []byte("boot"), Node: &fsmpb.Node{Id: "1"}}}).Session
	return n
}

func (n *node) apply(e *fsmpb.Entry) fsm.Applied {
	n.tb.Helper()
	data, err := fsm.Encode(e)
	if err != nil {
		n.tb.Fatal(err)
	}
	n.index++
	applied, err := n.state.Apply(n.index, data)
	if err != nil {
		n.tb.Fatal(err)
	}
	close(n.changed)
	n.changed = make(chan struct{})
	return applied
}

func (n *node) set(namespace string, keysAndValues ...string) {
	n.tb.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	c := &fsmpb.Command{Namespace: namespace}
	for i := 0; i < len(keysAndValues); i += 2 {
		c.Ops = append(c.Ops, &fsmpb.Op{Kind: fsmpb.Op_SET, Key: keysAndValues[i], Value: []byte(keysAndValues[i+1])})
	}
	n.sequence++
	n.apply(&fsmpb.Entry{Batches: []*fsmpb.Batch{{Session: n.session, Sequence: n.sequence, Low: n.sequence, Commands: []*fsmpb.Command{c}}}})
}

func (n *node) State() *fsm.State { return n.state }

func (n *node) WaitChange(ctx context.Context, revision uint64) error {
	for {
		n.mu.Lock()
		changed := n.changed
		n.mu.Unlock()
		if n.state.Point().Revision > revision {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func newHub(tb testing.TB, n *node, configure ...func(*Config)) *Hub {
	c := Config{
		Source:     n,
		Change:     func(c *fsm.Change) [][]byte { return [][]byte{[]byte(c.Key), []byte("="), c.New} },
		Entry:      func(e *fsm.Entry) [][]byte { return [][]byte{[]byte(e.Key), []byte("=="), e.Value} },
		MaxStreams: 100, KeepAlive: time.Hour,
	}
	for _, f := range configure {
		f(&c)
	}
	h := New(c)
	tb.Cleanup(h.Close)
	return h
}

// attach opens a stream on a TCP connection and returns the client's end.
func attach(tb testing.TB, h *Hub, t Topic, from Start) net.Conn {
	tb.Helper()
	client, server := pair(tb)
	s, err := h.Subscribe(t, from)
	if err != nil {
		tb.Fatal(err)
	}
	s.Attach(server, nil)
	return client
}

func pair(tb testing.TB) (client net.Conn, server *net.TCPConn) {
	tb.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer ln.Close()
	client, err = net.Dial("tcp", ln.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	accepted, err := ln.Accept()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { client.Close() })
	_ = client.SetReadDeadline(time.Now().Add(20 * time.Second))
	return client, accepted.(*net.TCPConn)
}

// expect fails the test unless these bytes come next.
func expect(tb testing.TB, c io.Reader, want string) {
	tb.Helper()
	got := make([]byte, len(want))
	n, err := io.ReadFull(c, got)
	if string(got[:n]) != want {
		tb.Fatalf("got %q, %v, want %q", got[:n], err, want)
	}
}

func eventually(tb testing.TB, what string, check func() bool) {
	tb.Helper()
	for deadline := time.Now().Add(20 * time.Second); !check(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			tb.Fatalf("%s: it did not come about", what)
		}
	}
}

func TestSubscribeRefuses(t *testing.T) {
	h := newHub(t, newNode(t, nil), func(c *Config) { c.MaxStreams = 1 })
	s, err := h.Subscribe(Topic{}, Start{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Subscribe(Topic{}, Start{}); !errors.Is(err, ErrFull) {
		t.Errorf("got %v, want ErrFull", err)
	}
	s.Abandon()
	if s, err = h.Subscribe(Topic{}, Start{}); err != nil {
		t.Fatal(err)
	}
	h.End()
	client, server := pair(t)
	s.Attach(server, nil)
	if _, err := client.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("a stream that was ended before it began: %v", err)
	}
	if _, err := h.Subscribe(Topic{}, Start{}); !errors.Is(err, ErrEnded) {
		t.Errorf("got %v, want ErrEnded", err)
	}
	if n := h.Stats().Streams; n != 0 {
		t.Errorf("%d streams are left", n)
	}
}

// All of an atomic write goes to a subscriber in one piece, in order.
func TestAtomicWriteIsOnePiece(t *testing.T) {
	n := newNode(t, nil)
	h := newHub(t, n)
	c := attach(t, h, Topic{Namespace: "ns", Prefix: true}, Start{})
	expect(t, c, "retry: 1000\nid: 0\n\n")
	eventually(t, "it is level", func() bool { return h.Stats().Behind == 0 })
	n.set("ns", "a", "1", "b", "2", "c", "3")
	want := "id: 1\ndata: a=1\n\nid: 2\ndata: b=2\n\nid: 3\ndata: c=3\n\n"
	got := make([]byte, 1000)
	if m, err := c.Read(got); string(got[:m]) != want {
		t.Errorf("the first read got %q, %v, want %q", got[:m], err, want)
	}
}

// A client that reads nothing at all loses its stream.
func TestStalledClient(t *testing.T) {
	n := newNode(t, nil)
	h := newHub(t, n, func(c *Config) { c.Stall = 50 * time.Millisecond })
	attach(t, h, Topic{Namespace: "ns", Name: "k"}, Start{})
	value := strings.Repeat("v", 1<<20)
	for range 16 {
		n.set("ns", "k", value)
	}
	eventually(t, "its stream ends", func() bool { return h.Stats().Streams == 0 })
}

// fill sets the key k of ns until a subscriber that does not read is behind.
func fill(t *testing.T, h *Hub, n *node, value string) {
	t.Helper()
	eventually(t, "it is level", func() bool { return h.Stats().Behind == 0 })
	for h.Stats().Behind == 0 {
		n.set("ns", "k", value)
		last := n.state.Point().Revision
		eventually(t, "all is delivered", func() bool { return h.Stats().Revision == last })
	}
}

// A client that has a part of a large event, the rest of which the history has
// lost, cannot be served: it goes on from the event before on a new stream.
func TestTornEvent(t *testing.T) {
	settings := fsm.DefaultSettings()
	settings.HistoryEvents = 2
	n := newNode(t, settings)
	h := newHub(t, n)
	c := attach(t, h, Topic{Namespace: "ns", Name: "k"}, Start{})
	fill(t, h, n, strings.Repeat("v", 1<<20))
	for range settings.HistoryEvents + 1 {
		n.set("ns", "k", "1")
	}
	all, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	if blocks := bytes.Count(all, []byte("\n\n")); blocks < 2 || blocks > 16 || bytes.HasSuffix(all, []byte("\n\n")) {
		t.Errorf("%d blocks, ending %q", blocks, all[len(all)-10:])
	}
}

// A small event is never torn: the client is told the present keys on the same
// stream.
func TestSmallEventsAreNotTorn(t *testing.T) {
	settings := fsm.DefaultSettings()
	settings.HistoryEvents = 2
	n := newNode(t, settings)
	h := newHub(t, n)
	c := attach(t, h, Topic{Namespace: "ns", Name: "k"}, Start{})
	value := strings.Repeat("v", 10_000)
	fill(t, h, n, value)
	for range settings.HistoryEvents + 1 {
		n.set("ns", "k", value)
	}
	last := n.state.Point().Revision
	want := fmt.Sprintf("data: k==%s\n\nevent: synced\nid: %d\ndata: {\"revision\":%d}\n\n", value, last, last)
	var all bytes.Buffer
	buf := make([]byte, 1<<16)
	for !bytes.HasSuffix(all.Bytes(), []byte(want)) {
		m, err := c.Read(buf)
		if err != nil {
			t.Fatalf("%v after %d bytes", err, all.Len())
		}
		all.Write(buf[:m])
	}
	if !bytes.Contains(all.Bytes(), []byte("\n\nevent: resync\ndata: {}\n\ndata: k==v")) {
		t.Error("no resync between two events")
	}
}

// A node whose snapshot of another's state makes the history jump tells all
// its subscribers the present keys.
func TestHistoryJumps(t *testing.T) {
	settings := fsm.DefaultSettings()
	settings.HistoryEvents = 1
	ahead := newNode(t, settings)
	for i := range 10 {
		ahead.set("ns", "k", fmt.Sprint(i))
	}
	var image bytes.Buffer
	if err := ahead.state.Freeze().Save(&image); err != nil {
		t.Fatal(err)
	}
	n := newNode(t, nil)
	h := newHub(t, n)
	c := attach(t, h, Topic{Namespace: "ns", Name: "k"}, Start{})
	quiet := attach(t, h, Topic{Namespace: "other", Prefix: true}, Start{})
	expect(t, c, "retry: 1000\nid: 0\n\n")
	expect(t, quiet, "retry: 1000\nid: 0\n\n")
	eventually(t, "both are level", func() bool { return h.Stats().Behind == 0 })
	n.mu.Lock()
	if err := n.state.Restore(&image); err != nil {
		t.Fatal(err)
	}
	close(n.changed)
	n.changed = make(chan struct{})
	n.index, n.sequence, n.session = ahead.index, ahead.sequence, ahead.session
	n.mu.Unlock()
	expect(t, c, "event: resync\ndata: {}\n\ndata: k==9\n\nevent: synced\nid: 10\ndata: {\"revision\":10}\n\n")
	expect(t, quiet, "event: resync\ndata: {}\n\nevent: synced\nid: 10\ndata: {\"revision\":10}\n\n")
	eventually(t, "both are level again", func() bool { return h.Stats().Behind == 0 })
	n.set("ns", "k", "10")
	expect(t, c, "id: 11\ndata: k=10\n\n")
}

// Closing does not wait for clients.
func TestCloseWithBusyStreams(t *testing.T) {
	n := newNode(t, nil)
	h := newHub(t, n)
	for range 5 {
		attach(t, h, Topic{Namespace: "ns", Prefix: true}, Start{})
	}
	value := strings.Repeat("v", 1<<20)
	for range 16 {
		n.set("ns", "k", value)
	}
	eventually(t, "all are behind", func() bool { return h.Stats().Behind == 5 })
	h.Close()
	if stats := h.Stats(); stats.Streams != 0 || stats.Behind != 0 {
		t.Errorf("left: %+v", stats)
	}
}

// newBusyHub is one whose turns for snapshots are all taken.
func newBusyHub(t *testing.T) *Hub {
	n := newNode(t, nil)
	n.set("ns", "k", "1")
	h := newHub(t, n, func(c *Config) { c.KeepAlive = 10 * time.Millisecond })
	for range maxSnapshots {
		h.snapshots <- struct{}{}
	}
	return h
}

// A snapshot waits for its turn, and gives it back. Its client hears comments
// without an id meanwhile.
func TestSnapshotsTakeTurns(t *testing.T) {
	h := newBusyHub(t)
	many := attach(t, h, Topic{Namespace: "ns", Prefix: true}, Start{Snapshot: true})
	one := attach(t, h, Topic{Namespace: "ns", Name: "k"}, Start{Snapshot: true})
	const all = "data: k==1\n\nevent: synced\nid: 1\ndata: {\"revision\":1}\n\n"
	expect(t, one, "retry: 1000\n\n"+all)
	expect(t, many, "retry: 1000\n\n: keep-alive\n\n: keep-alive\n\n: keep-alive\n\n")
	if n := h.waiting.Load(); n != 1 {
		t.Errorf("%d wait, want 1", n)
	}
	<-h.snapshots
	blocks := bufio.NewReader(many)
	for next, _ := blocks.Peek(1); string(next) == ":"; next, _ = blocks.Peek(1) {
		expect(t, blocks, ": keep-alive\n\n")
	}
	expect(t, blocks, all)
	if n := h.waiting.Load(); n != 0 {
		t.Errorf("%d wait, want 0", n)
	}
	eventually(t, "the turn is given back", func() bool { return len(h.snapshots) == maxSnapshots-1 })
}

// A client that leaves while it waits for its turn, or whose stream is ended,
// gives its place back.
func TestLeaveWhileWaiting(t *testing.T) {
	tests := []struct {
		name  string
		leave func(*Hub, *net.TCPConn)
	}{
		{"close", func(_ *Hub, c *net.TCPConn) { c.Close() }},
		{"reset", func(_ *Hub, c *net.TCPConn) { c.SetLinger(0); c.Close() }},
		{"half close", func(_ *Hub, c *net.TCPConn) { c.CloseWrite() }},
		{"ended", func(h *Hub, _ *net.TCPConn) { h.EndPresent() }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newBusyHub(t)
			c := attach(t, h, Topic{Namespace: "ns", Prefix: true}, Start{Snapshot: true})
			expect(t, c, "retry: 1000\n\n")
			eventually(t, "it waits", func() bool { return h.waiting.Load() == 1 })
			tt.leave(h, c.(*net.TCPConn))
			eventually(t, "its place is free", func() bool { return h.Stats().Streams == 0 })
			if n := h.waiting.Load(); n != 0 {
				t.Errorf("%d wait", n)
			}
		})
	}
}

// Where the connection is a handler's, writing to it finds out.
func TestLeaveHandlerWhileWaiting(t *testing.T) {
	h := newBusyHub(t)
	s, err := h.Subscribe(Topic{Namespace: "ns", Prefix: true}, Start{Snapshot: true})
	if err != nil {
		t.Fatal(err)
	}
	client, server := net.Pipe()
	_ = client.SetReadDeadline(time.Now().Add(20 * time.Second))
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.Background(), server) }()
	expect(t, client, "retry: 1000\n\n: keep-alive\n\n")
	client.Close()
	if err := <-served; !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("got %v", err)
	}
	if n := h.Stats().Streams; n != 0 {
		t.Errorf("%d streams are left", n)
	}
}

// Ending the streams that there are does not refuse new ones.
func TestEndPresent(t *testing.T) {
	h := newHub(t, newNode(t, nil))
	topic := Topic{Namespace: "ns", Prefix: true}
	c := attach(t, h, topic, Start{})
	expect(t, c, "retry: 1000\nid: 0\n\n")
	eventually(t, "it is level", func() bool { return h.Stats().Behind == 0 })
	h.EndPresent()
	expect(t, c, ": keep-alive\n\n")
	if n, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("got %d bytes, %v, want the end", n, err)
	}
	expect(t, attach(t, h, topic, Start{}), "retry: 1000\nid: 0\n\n")
}

// Keep-alives that came due while a shard was busy are made up for.
func TestKeepAlivesAreMadeUpFor(t *testing.T) {
	t.Parallel()
	const pause = 20 * time.Millisecond
	h := newHub(t, newNode(t, nil), func(c *Config) { c.KeepAlive = keepAliveSlots * pause })
	attach(t, h, Topic{Namespace: "w", Name: "k"}, Start{})
	sh := h.shards[0]
	eventually(t, "the shard runs", func() bool {
		sh.mu.Lock()
		defer sh.mu.Unlock()
		return sh.ticks > 0
	})
	begin := time.Now()
	sh.mu.Lock()
	time.Sleep(keepAliveSlots / 4 * pause) // as long as a batch may take
	sh.mu.Unlock()
	eventually(t, "all keep-alives were sent", func() bool {
		sh.mu.Lock()
		defer sh.mu.Unlock()
		lacks := int(time.Since(begin)/pause) - sh.ticks
		return lacks <= 3
	})
}
