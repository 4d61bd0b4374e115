package cluster

import (
	"errors"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/raft"
)

// Ensure closing waits for the heartbeat being handled and lets no other in.
func TestHeartbeatGuard(t *testing.T) {
	var g heartbeatGuard
	var handled atomic.Bool
	began, end := make(chan struct{}), make(chan struct{})
	go g.pass(raft.RPC{}, func(raft.RPC) { close(began); <-end; handled.Store(true) })
	<-began
	closed := make(chan bool)
	go func() { g.close(); closed <- handled.Load() }()
	close(end)
	if !<-closed {
		t.Error("closed while a heartbeat is handled")
	}
	answer := make(chan raft.RPCResponse, 1)
	g.pass(raft.RPC{RespChan: answer}, func(raft.RPC) { t.Error("handled after the close") })
	if a := <-answer; !errors.Is(a.Error, raft.ErrTransportShutdown) {
		t.Errorf("answered %v", a.Error)
	}
}
