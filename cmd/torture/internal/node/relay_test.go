package node

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"
)

// echoes are two nodes on loopback addresses, which say back what they are told,
// and the relay between them.
type echoes struct {
	*Relay
	listeners []net.Listener
}

func testRelay(t *testing.T) echoes {
	t.Helper()
	first, err := net.Listen("tcp", "127.0.31.1:0")
	if err != nil {
		t.Skipf("no loopback addresses but 127.0.0.1: %v", err)
	}
	port := first.Addr().(*net.TCPAddr).AddrPort().Port()
	second, err := net.Listen("tcp", netip.AddrPortFrom(netip.MustParseAddr("127.0.31.2"), port).String())
	if err != nil {
		t.Fatal(err)
	}
	listeners := []net.Listener{first, second}
	for _, l := range listeners {
		t.Cleanup(func() { l.Close() })
		go echo(l)
	}
	r, err := startRelay([]relayEnd{
		{netip.AddrPortFrom(netip.MustParseAddr("127.0.31.1"), port), netip.MustParseAddr("127.0.31.101")},
		{netip.AddrPortFrom(netip.MustParseAddr("127.0.31.2"), port), netip.MustParseAddr("127.0.31.102")},
	})
	t.Cleanup(r.close)
	if err != nil {
		t.Fatal(err)
	}
	return echoes{r, listeners}
}

func echo(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			io.Copy(conn, conn)
		}()
	}
}

// dialThrough connects from the first node to the second, through the relay.
func dialThrough(r *Relay) (net.Conn, error) {
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(r.ends[0].node.Addr(), 0))}
	return d.Dial("tcp", netip.AddrPortFrom(r.ends[1].host, r.ends[1].node.Port()).String())
}

func call(t *testing.T, r *Relay) *net.TCPConn {
	t.Helper()
	conn, err := dialThrough(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn.(*net.TCPConn)
}

// ask says something and returns how long the echo took; 0: longer than limit.
func ask(t *testing.T, conn net.Conn, limit time.Duration) time.Duration {
	t.Helper()
	begin := time.Now()
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	conn.SetReadDeadline(begin.Add(limit))
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		return 0
	}
	return time.Since(begin)
}

func TestRelayDelays(t *testing.T) {
	const delay = 150 * time.Millisecond
	for _, tt := range []struct {
		name string
		slow []way
		want time.Duration
	}{
		{"no way", nil, 0},
		{"there", []way{{0, 1}}, delay},
		{"back", []way{{1, 0}}, delay},
		{"both ways", []way{{0, 1}, {1, 0}}, 2 * delay},
		{"healed", []way{{0, 1}}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := testRelay(t)
			conn := call(t, r.Relay)
			for _, w := range tt.slow {
				r.Delay(w.from, w.to, Delay{delay, delay})
			}
			if tt.want == 0 {
				r.Heal()
			}
			took := ask(t, conn, 10*time.Second)
			asked := 1
			for ; asked < 3 || asked < 10 && took > tt.want+delay; asked++ { // the machine may add to some
				took = min(took, ask(t, conn, 10*time.Second))
			}
			if took == 0 || took < tt.want || took > tt.want+delay {
				t.Errorf("the shortest of %d took %v, want %v", asked, took, tt.want)
			}
		})
	}
}

// Ensure a clogged way keeps what it is told until it is unclogged, and the
// other way flows meanwhile.
func TestRelayClogs(t *testing.T) {
	r := testRelay(t)
	conn := call(t, r.Relay)
	ask(t, conn, 10*time.Second)
	r.Clog(1, 0)
	r.Clog(1, 0)
	if took := ask(t, conn, 200*time.Millisecond); took != 0 {
		t.Fatalf("an answer came after %v on a clogged way", took)
	}
	r.Unclog(1, 0)
	r.Unclog(1, 0)
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		t.Errorf("the answer never came: %v", err)
	}
}

// Ensure a clogged way holds back those who write instead of keeping all that
// they write.
func TestRelayIsBounded(t *testing.T) {
	r := testRelay(t)
	conn := call(t, r.Relay)
	r.Clog(0, 1)
	conn.SetWriteDeadline(time.Now().Add(time.Second))
	const most = 64 << 20 // what the kernel and the relay hold at most is far less
	wrote := 0
	for wrote < most {
		n, err := conn.Write(make([]byte, 64<<10))
		if wrote += n; err != nil {
			return
		}
	}
	t.Errorf("%d bytes were taken", wrote)
}

// Ensure the end of a connection is passed on, after all that was said.
func TestRelayEnds(t *testing.T) {
	r := testRelay(t)
	conn := call(t, r.Relay)
	r.Delay(0, 1, Delay{50 * time.Millisecond, 100 * time.Millisecond})
	conn.Write([]byte("the last words"))
	conn.CloseWrite()
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	said, err := io.ReadAll(conn)
	if err != nil || string(said) != "the last words" {
		t.Errorf("%q, %v", said, err)
	}
}

// Ensure the caller of a node that refuses connections comes to know it.
func TestRelayRefuses(t *testing.T) {
	r := testRelay(t)
	r.listeners[1].Close()
	conn, err := dialThrough(r.Relay)
	if err == nil {
		defer conn.Close()
		conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		_, err = conn.Read(make([]byte, 1))
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v, want a reset", err)
	}
}

// Ensure strangers are not served: the relay could not tell whose way it is.
func TestRelayKnowsItsNodes(t *testing.T) {
	r := testRelay(t)
	conn, err := net.Dial("tcp", netip.AddrPortFrom(r.ends[1].host, r.ends[1].node.Port()).String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := conn.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("got %v", err)
	}
}
