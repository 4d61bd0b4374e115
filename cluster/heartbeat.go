package cluster

import (
	"sync"

	"github.com/hashicorp/raft"
)

// A heartbeatGuard keeps heartbeats from a raft whose store may be closed.
// Raft's transport handles them on the goroutine of their connection, for which
// nothing waits, and one of a new term writes to the store.
type heartbeatGuard struct {
	mu     sync.RWMutex // held to read while a heartbeat is handled
	closed bool
}

// SetHeartbeatHandler implements raft.Transport.
func (r *raftTransport) SetHeartbeatHandler(handle func(raft.RPC)) {
	if handle == nil {
		r.NetworkTransport.SetHeartbeatHandler(nil)
		return
	}
	r.NetworkTransport.SetHeartbeatHandler(func(rpc raft.RPC) { r.heartbeats.pass(rpc, handle) })
}

func (g *heartbeatGuard) pass(rpc raft.RPC, handle func(raft.RPC)) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.closed {
		rpc.Respond(nil, raft.ErrTransportShutdown)
		return
	}
	handle(rpc)
}

// close returns once no heartbeat is being handled and none will be.
func (g *heartbeatGuard) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
}
