package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/stateraft/stateraft/cluster/clusterpb"
	"github.com/stateraft/stateraft/internal/leaktest"
)

// handler sets the handler of a test transport.
func handler(h func(ctx context.Context, req *clusterpb.Request) *clusterpb.Response) func(*transportConfig) {
	return func(c *transportConfig) {
		c.handle = func(ctx context.Context, _ peer, req *clusterpb.Request) *clusterpb.Response { return h(ctx, req) }
	}
}

// Many callers share one connection, and each gets its own answer, in
// whatever order they come.
func TestCallsShareAConnection(t *testing.T) {
	leaktest.Check(t)
	const calls = 500
	var arrived atomic.Int32
	all := make(chan struct{})
	l := testTransport(t, "l", "c", handler(func(ctx context.Context, req *clusterpb.Request) *clusterpb.Response {
		if arrived.Add(1) == calls {
			close(all)
		}
		<-all // nobody is answered before all have asked
		return &clusterpb.Response{Index: req.ReadIndex.Term}
	}))
	var dials atomic.Int32
	d := testTransport(t, "d", "c", func(c *transportConfig) {
		c.dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			dials.Add(1)
			return new(net.Dialer).DialContext(ctx, network, addr)
		}
	})
	var wg sync.WaitGroup
	for i := range uint64(calls) {
		wg.Go(func() {
			resp, err := d.call(t.Context(), l.addr(), ask(i))
			if err != nil || resp.Index != i {
				t.Errorf("call %d = %v, %v", i, resp, err)
			}
		})
	}
	wg.Wait()
	if n := dials.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

func TestBigFrames(t *testing.T) {
	leaktest.Check(t)
	sized := func(n int) string { return strings.Repeat("x", n) }
	l := testTransport(t, "l", "c", handler(func(_ context.Context, req *clusterpb.Request) *clusterpb.Response {
		return &clusterpb.Response{Message: sized(int(req.ReadIndex.Term)), Index: uint64(len(req.ReadIndex.NodeId))}
	}))
	d := testTransport(t, "d", "c", nil)
	tests := []struct {
		name          string
		request, resp int // bytes
		wantErr       error
		wantCode      clusterpb.Response_Code
	}{
		{"large", 10 << 20, 10 << 20, nil, clusterpb.Response_OK},
		{"request too large", maxFrame, 1, errNotSent, 0},
		{"response too large", 1, maxFrame, nil, clusterpb.Response_INTERNAL},
		{"small again", 1, 1, nil, clusterpb.Response_OK},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			req := &clusterpb.Request{ReadIndex: &clusterpb.ReadIndex{Term: uint64(tt.resp), NodeId: sized(tt.request)}}
			resp, err := d.call(t.Context(), l.addr(), req)
			if !errors.Is(err, tt.wantErr) {
				t.Fatalf("error = %v, want %v", err, tt.wantErr)
			}
			if err != nil {
				return
			}
			if resp.Code != tt.wantCode {
				t.Fatalf("code = %v (%s), want %v", resp.Code, resp.Message, tt.wantCode)
			}
			if resp.Code == clusterpb.Response_OK && (len(resp.Message) != tt.resp || resp.Index != uint64(tt.request)) {
				t.Errorf("got %d bytes for %d, want %d for %d", len(resp.Message), resp.Index, tt.resp, tt.request)
			}
		})
	}
}

func TestNoResponse(t *testing.T) {
	leaktest.Check(t)
	l := testTransport(t, "l", "c", handler(func(context.Context, *clusterpb.Request) *clusterpb.Response { return nil }))
	d := testTransport(t, "d", "c", nil)
	if resp, err := d.call(t.Context(), l.addr(), ask(1)); err != nil || resp.Code != clusterpb.Response_INTERNAL {
		t.Errorf("call = %v, %v, want INTERNAL", resp, err)
	}
}

// The handler gets what is left of the caller's time, and no more.
func TestDeadlineTravels(t *testing.T) {
	leaktest.Check(t)
	const budget = time.Second
	ended, release := make(chan error, 1), make(chan struct{})
	l := testTransport(t, "l", "c", handler(func(ctx context.Context, req *clusterpb.Request) *clusterpb.Response {
		deadline, ok := ctx.Deadline()
		if req.ReadIndex.Term == 0 {
			return &clusterpb.Response{Live: ok}
		}
		if left := time.Until(deadline); !ok || left > budget {
			t.Errorf("handler has %v, %v", left, ok)
		}
		<-ctx.Done()
		ended <- ctx.Err()
		<-release
		return &clusterpb.Response{}
	}))
	d := testTransport(t, "d", "c", nil)

	resp, err := d.call(context.Background(), l.addr(), &clusterpb.Request{Timeout: 5, ReadIndex: &clusterpb.ReadIndex{}})
	if err != nil || resp.Live {
		t.Errorf("call without a deadline = %v, %v; want a handler without one", resp, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), budget)
	defer cancel()
	if _, err := d.call(ctx, l.addr(), ask(1)); !errors.Is(err, errBroken) || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("error = %v, want errBroken by the deadline", err)
	}
	if err := <-ended; !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("handler's context: %v", err)
	}
	close(release) // the connection is none the worse for a late answer
	if resp, err := d.call(t.Context(), l.addr(), ask(0)); err != nil || resp.Index != 0 {
		t.Errorf("call = %v, %v", resp, err)
	}
}

func TestNotSent(t *testing.T) {
	leaktest.Check(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts and never says hello
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	gone := testTransport(t, "g", "c", nil)
	gone.close()
	d := testTransport(t, "d", "c", nil)

	over, cancel := context.WithCancel(t.Context())
	cancel()
	soon, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	tests := []struct {
		name    string
		ctx     context.Context
		addr    string
		cause   error
		refused bool
	}{
		{"nobody listens", t.Context(), gone.addr(), nil, true},
		{"context over before", over, silent.Addr().String(), context.Canceled, false},
		{"context over while dialling", soon, silent.Addr().String(), context.DeadlineExceeded, false},
		{"no address", t.Context(), "", nil, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := d.call(tt.ctx, tt.addr, ask(1))
			if !errors.Is(err, errNotSent) || errors.Is(err, errBroken) {
				t.Errorf("error = %v, want errNotSent", err)
			}
			if tt.cause != nil && !errors.Is(err, tt.cause) {
				t.Errorf("error = %v, want one by %v", err, tt.cause)
			}
			if got := isRefused(err); got != tt.refused {
				t.Errorf("isRefused(%v) = %v, want %v", err, got, tt.refused)
			}
		})
	}
}

// A connection that ends in the middle of calls ends them at once.
func TestBrokenMidCall(t *testing.T) {
	leaktest.Check(t)
	const calls = 20
	var arrived sync.WaitGroup
	arrived.Add(calls)
	l := testTransport(t, "l", "c", handler(func(ctx context.Context, _ *clusterpb.Request) *clusterpb.Response {
		arrived.Done()
		<-ctx.Done()
		return &clusterpb.Response{}
	}))
	ended := make(chan string, 1)
	d := testTransport(t, "d", "c", func(c *transportConfig) { c.onDisconnect = func(a string) { ended <- a } })
	var wg sync.WaitGroup
	for range calls {
		wg.Go(func() {
			if _, err := d.call(t.Context(), l.addr(), ask(1)); !errors.Is(err, errBroken) || errors.Is(err, errNotSent) {
				t.Errorf("error = %v, want errBroken", err)
			}
		})
	}
	arrived.Wait()
	l.sever("d")
	wg.Wait()
	if got := <-ended; got != l.addr() {
		t.Errorf("disconnected from %s, want %s", got, l.addr())
	}
}

// stalled accepts a node connection and then reads nothing.
func stalled(t *testing.T) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conns := make(chan net.Conn, 1)
	go func() {
		defer close(conns)
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		conn.(*net.TCPConn).SetReadBuffer(4096)
		ours := &clusterpb.Hello{Wire: wireVersion, ClusterId: []byte("c"), NodeId: "stalled"}
		welcome(conn, ours, func(byte, *clusterpb.Hello) string { return "" })
		conns <- conn
	}()
	t.Cleanup(func() {
		ln.Close()
		if conn := <-conns; conn != nil {
			conn.Close()
		}
	})
	return ln.Addr().String()
}

// writeSignal tells of the first write of a large frame.
type writeSignal struct {
	net.Conn
	once  sync.Once
	large chan struct{}
}

func (w *writeSignal) Write(p []byte) (int, error) {
	if len(p) == ioBuffer {
		w.once.Do(func() { close(w.large) })
	}
	return w.Conn.Write(p)
}

// A call that still waits for the writer when its time is over has not been
// sent, and says so.
func TestNotSentBehindAStalledPeer(t *testing.T) {
	leaktest.Check(t)
	addr := stalled(t)
	large := make(chan struct{})
	d := testTransport(t, "d", "c", func(c *transportConfig) {
		c.dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			conn.(*net.TCPConn).SetWriteBuffer(4096)
			return &writeSignal{Conn: conn, large: large}, nil
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() {
		_, err := d.call(ctx, addr, &clusterpb.Request{ReadIndex: &clusterpb.ReadIndex{NodeId: strings.Repeat("x", maxFrame-100)}})
		first <- err
	}()
	<-large
	short, cancelShort := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancelShort()
	if _, err := d.call(short, addr, ask(1)); !errors.Is(err, errNotSent) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("second call: %v, want errNotSent by the deadline", err)
	}
	cancel()
	if err := <-first; !errors.Is(err, errBroken) {
		t.Errorf("first call: %v, want errBroken", err)
	}
}

// Calls beyond the bound wait with the caller until others are done.
func TestCallsInFlightAreBounded(t *testing.T) {
	leaktest.Check(t)
	var now, most atomic.Int32
	var once sync.Once
	full, release := make(chan struct{}), make(chan struct{})
	l := testTransport(t, "l", "c", handler(func(context.Context, *clusterpb.Request) *clusterpb.Response {
		n := now.Add(1)
		defer now.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		if n == maxInFlight {
			once.Do(func() { close(full) })
		}
		<-release
		return &clusterpb.Response{}
	}))
	d := testTransport(t, "d", "c", nil)
	var wg sync.WaitGroup
	for range maxInFlight + 200 {
		wg.Go(func() {
			if _, err := d.call(t.Context(), l.addr(), ask(1)); err != nil {
				t.Error(err)
			}
		})
	}
	<-full
	time.Sleep(20 * time.Millisecond) // in which a call too many would be handled
	close(release)
	wg.Wait()
	if m := most.Load(); m != maxInFlight {
		t.Errorf("%d calls at once, want %d", m, maxInFlight)
	}
}

// A node that joins a cluster is a member to those it has called before.
func TestConnectionsFollowTheClusterID(t *testing.T) {
	leaktest.Check(t)
	var cluster atomic.Pointer[[]byte]
	cluster.Store(new([]byte))
	var disconnects atomic.Int32
	d := testTransport(t, "d", "", func(c *transportConfig) {
		c.hello = func() *clusterpb.Hello { return &clusterpb.Hello{NodeId: "d", ClusterId: *cluster.Load()} }
		c.onDisconnect = func(string) { disconnects.Add(1) }
	})
	l := testTransport(t, "l", "c", nil)
	other := testTransport(t, "o", "x", nil)
	for _, peer := range []*transport{l, other} {
		if resp, err := d.call(t.Context(), peer.addr(), ask(1)); err != nil || len(resp.ClusterId) > 0 {
			t.Errorf("call = %v, %v", resp, err)
		}
		if _, err := peer.call(t.Context(), d.addr(), ask(1)); err != nil {
			t.Error(err)
		}
	}
	joined := []byte("c")
	cluster.Store(&joined)
	if resp, err := d.call(t.Context(), l.addr(), ask(1)); err != nil || string(resp.ClusterId) != "c" {
		t.Errorf("call = %v, %v, want one as a member of c", resp, err)
	}
	if n := disconnects.Load(); n != 0 {
		t.Errorf("%d disconnects told, want none: nobody died", n)
	}
	// Those of another cluster are strangers, over a connection from before too.
	if _, err := d.call(t.Context(), other.addr(), ask(1)); !errors.Is(err, errNotSent) {
		t.Errorf("call of another cluster: %v", err)
	}
	if _, err := other.call(t.Context(), d.addr(), ask(1)); !errors.Is(err, errBroken) {
		t.Errorf("call from another cluster: %v", err)
	}
	if _, err := l.call(t.Context(), d.addr(), ask(1)); err != nil {
		t.Errorf("call from the own cluster: %v", err)
	}
}

// A request is sent to several nodes at once, by callers with and without a
// deadline, while connections come and go.
func TestConcurrentCallsUnderDisconnects(t *testing.T) {
	leaktest.Check(t)
	peers := []*transport{testTransport(t, "a", "c", nil), testTransport(t, "b", "c", nil)}
	d := testTransport(t, "d", "c", nil)
	req := ask(9)
	stop := make(chan struct{})
	var severing sync.WaitGroup
	severing.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(2 * time.Millisecond):
				[]*transport{d, peers[0]}[i%2].sever([]string{"b", "d"}[i%2])
			}
		}
	})
	var answered atomic.Int32
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 200 {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				resp, err := d.call(ctx, peers[(i+j)%2].addr(), req)
				cancel()
				switch {
				case err == nil && resp.Index == 9:
					answered.Add(1)
				case errors.Is(err, context.DeadlineExceeded) || errors.Is(err, errNotSent) == errors.Is(err, errBroken):
					t.Errorf("call = %v, %v", resp, err)
				}
			}
		})
	}
	wg.Wait()
	close(stop)
	severing.Wait()
	if answered.Load() == 0 {
		t.Error("no call was answered")
	}
	if req.Timeout != 0 {
		t.Error("the caller's request was written to")
	}
}

func TestEncodeRequest(t *testing.T) {
	for _, req := range []*clusterpb.Request{
		{}, ask(5), {Timeout: 3, Term: &clusterpb.Term{}}, {Remove: &clusterpb.Remove{Node: strings.Repeat("n", 300)}},
	} {
		for _, id := range []uint64{0, 1, 1 << 63} {
			block, err := encodeRequest(id, req, 77)
			if err != nil {
				t.Fatal(err)
			}
			want := &clusterpb.Frame{Id: id, Request: proto.Clone(req).(*clusterpb.Request)}
			want.Request.Timeout = 77
			if got := decodeFrame(t, block); !proto.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
		}
	}
}

func decodeFrame(t *testing.T, block []byte) *clusterpb.Frame {
	t.Helper()
	var buf bytes.Buffer
	if err := readBlock(bytes.NewReader(block), &buf, maxFrame); err != nil {
		t.Fatal(err)
	}
	f := new(clusterpb.Frame)
	if err := proto.Unmarshal(buf.Bytes(), f); err != nil {
		t.Fatal(err)
	}
	return f
}

// The reader never takes more than the block, nor accepts one cut short.
func FuzzReadBlock(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0, 0, 0, 0})
	f.Add([]byte{0, 0, 0, 3, 1, 2, 3, 4})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		const limit = 64
		r := bytes.NewReader(data)
		var buf bytes.Buffer
		if err := readBlock(r, &buf, limit); err != nil {
			return
		}
		if buf.Len() > limit || !bytes.Equal(buf.Bytes(), data[blockHeader:blockHeader+buf.Len()]) {
			t.Errorf("read %x of %x", buf.Bytes(), data)
		}
		if rest, _ := io.ReadAll(r); len(rest) != len(data)-blockHeader-buf.Len() {
			t.Errorf("%d bytes are left of %d after %d", len(rest), len(data), buf.Len())
		}
	})
}

func FuzzReadHello(f *testing.F) {
	hello, err := appendBlock(nil, &clusterpb.Hello{Wire: 1, ClusterId: []byte("c"), NodeId: "n", Refusal: "no"}, maxHello)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(hello)
	f.Add(hello[:len(hello)-1])
	f.Fuzz(func(t *testing.T, data []byte) {
		theirs, err := readHello(bytes.NewReader(data))
		if err != nil {
			return
		}
		again, err := appendBlock(nil, theirs, maxHello+64) // unknown fields are kept, sizes may be spelt longer
		if err != nil {
			t.Fatal(err)
		}
		back, err := readHello(bytes.NewReader(again))
		if err == nil && !proto.Equal(theirs, back) {
			t.Errorf("%v became %v", theirs, back)
		}
	})
}

// Frames from a stranger who got past the handshake end the connection or are
// answered; nothing panics and nothing is left running.
func FuzzServeCalls(f *testing.F) {
	request, err := encodeRequest(1, ask(1), 1000)
	if err != nil {
		f.Fatal(err)
	}
	response, err := encodeResponse(1, &clusterpb.Response{})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(request)
	f.Add(append(request, response...))
	f.Add([]byte{0, 0, 0, 0})
	f.Add([]byte{0x10, 0, 0, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		tr := &transport{
			config: transportConfig{handle: echo, hello: func() *clusterpb.Hello { return new(clusterpb.Hello) }},
			ctx:    t.Context(), links: make(map[*link]struct{}),
		}
		near, far := net.Pipe()
		l, err := tr.track(near, "")
		if err != nil {
			t.Fatal(err)
		}
		go io.Copy(io.Discard, far)
		go func() {
			far.Write(data)
			far.Close()
		}()
		tr.serveCalls(l, peer{nodeID: "stranger"})
		if len(tr.links) > 0 {
			t.Error("the connection is still in the books")
		}
	})
}

func BenchmarkCall(b *testing.B) {
	start := func(id string) *transport {
		tr, err := newTransport(transportConfig{
			listenAddr: "127.0.0.1:0", logger: discard, handle: echo,
			hello: func() *clusterpb.Hello { return &clusterpb.Hello{NodeId: id, ClusterId: []byte("c")} },
		})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { tr.close() })
		return tr
	}
	l, d := start("l"), start("d")
	req := &clusterpb.Request{ReadIndex: &clusterpb.ReadIndex{Term: 1, NodeId: strings.Repeat("x", 256)}}
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			b.SetParallelism(callers)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := d.call(context.Background(), l.addr(), req); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
