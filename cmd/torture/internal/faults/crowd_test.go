package faults

import (
	"net"
	"testing"
	"time"
)

// Ensure a connection whose end is seen late, as by a tester that waits for a
// processor, is not taken for an open one.
func TestStillOpen(t *testing.T) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	go func() {
		theirs.Write([]byte("HTTP/1.1 408 Request Timeout\r\n\r\n"))
		time.Sleep(openPatience / 10)
		theirs.Close()
	}()
	open, other := net.Pipe()
	defer open.Close()
	defer other.Close()
	if n := stillOpen([]net.Conn{ours, open}); n != 1 {
		t.Errorf("%d connections are open, want 1", n)
	}
}
