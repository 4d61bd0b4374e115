package httpapi

import (
	"net"
	"net/http"
	"sync"
	"time"
)

// silentTimeout is how long after the last connection was accepted one that has
// not sent a byte is waited for. Clients open connections that they then do not
// use, and net/http would wait 5 s for each.
const silentTimeout = 500 * time.Millisecond

// silent are the connections that have not sent anything.
type silent struct {
	mu    sync.Mutex // guards conns
	conns map[net.Conn]struct{}
}

// track is told of each connection's state.
func (s *silent) track(conn net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if state != http.StateNew {
		delete(s.conns, conn)
		return
	}
	if s.conns == nil {
		s.conns = make(map[net.Conn]struct{})
	}
	s.conns[conn] = struct{}{}
}

// close closes them.
func (s *silent) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.conns {
		conn.Close()
	}
}
