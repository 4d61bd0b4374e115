package httpapi

import (
	"io"
	"net"
	"testing"
	"time"
)

// Ensure a connection on which nothing was ever sent does not hold Shutdown up.
func TestShutdownSilentConnection(t *testing.T) {
	x := newAPI(t)
	conn, err := net.Dial("tcp", x.serve())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	eventually(t, "accepted", func() bool {
		x.server.silent.mu.Lock()
		defer x.server.silent.mu.Unlock()
		return len(x.server.silent.conns) > 0
	})
	begin := time.Now()
	if err := x.server.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown = %v", err)
	}
	if took := time.Since(begin); took > 9*silentTimeout { // net/http waits 5 s
		t.Errorf("Shutdown took %v", took)
	}
	if _, err := conn.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the connection is not closed: %v", err)
	}
}
