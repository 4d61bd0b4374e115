package cluster

import (
	"net"
	"syscall"
	"testing"

	"github.com/stateraft/stateraft/internal/leaktest"
)

// Both ends of every connection give up a peer that vanished.
func TestUserTimeoutIsSet(t *testing.T) {
	leaktest.Check(t)
	l := testTransport(t, "l", "c", nil)
	d := testTransport(t, "d", "c", nil)
	if _, err := d.call(t.Context(), l.addr(), ask(1)); err != nil {
		t.Fatal(err)
	}
	for _, tr := range []*transport{l, d} {
		tr.mu.Lock()
		defer tr.mu.Unlock()
		if len(tr.links) != 1 {
			t.Errorf("%d connections, want 1", len(tr.links))
		}
		for k := range tr.links {
			if got, want := userTimeout(t, k.raw), int(silenceTimeout.Milliseconds()); got != want {
				t.Errorf("connection to %s: timeout of %d ms, want %d", k.nodeID, got, want)
			}
		}
	}
}

func userTimeout(t *testing.T, conn net.Conn) (ms int) {
	t.Helper()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var got error
	err = raw.Control(func(fd uintptr) { ms, got = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout) })
	if err != nil || got != nil {
		t.Fatal(err, got)
	}
	return ms
}
