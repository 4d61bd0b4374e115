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
	for { // until the server has accepted it
		x.server.silent.mu.Lock()
		n := len(x.server.silent.conns)
		x.server.silent.mu.Unlock()
		if n > 0 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	begin := time.Now()
	if err := x.server.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown = %v", err)
	}
	if took := time.Since(begin); took > 4*silentTimeout {
		t.Errorf("Shutdown took %v", took)
	}
	if _, err := conn.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the connection is not closed: %v", err)
	}
}
