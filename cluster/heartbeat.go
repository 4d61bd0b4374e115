package cluster

import (
	"fmt"
	"sync"

	"github.com/hashicorp/raft"

	"github.com/stateraft/stateraft/cluster/logstore"
)

// A heartbeatGuard says which heartbeats raft may handle beside its main
// goroutine, so that they need not wait for a disk: those of the term that it is
// in, which change nothing that the main goroutine counts on. One of another
// term could turn a leader into a follower of that term between two of its
// steps, and it would write an entry of a term that it never led
// (hashicorp/raft issue 695). The term cannot change meanwhile.
type heartbeatGuard struct {
	mu   sync.RWMutex // held to read while a heartbeat is handled aside, to write while the term changes
	term uint64       // on the disk; 0: not known
}

// SetHeartbeatHandler implements raft.Transport.
func (r *raftTransport) SetHeartbeatHandler(handle func(raft.RPC)) {
	if handle == nil {
		r.NetworkTransport.SetHeartbeatHandler(nil)
		return
	}
	r.NetworkTransport.SetHeartbeatHandler(func(rpc raft.RPC) {
		if r.heartbeats.aside(rpc, handle) {
			return
		}
		if err := r.gate.hand(r.streams.ctx, rpc); err != nil {
			rpc.Respond(nil, raft.ErrTransportShutdown)
		}
	})
}

// aside has a heartbeat handled on the caller's goroutine, and reports whether
// it may be.
func (g *heartbeatGuard) aside(rpc raft.RPC, handle func(raft.RPC)) bool {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if beat, ok := rpc.Command.(*raft.AppendEntriesRequest); !ok || beat.Term != g.term {
		return false
	}
	handle(rpc)
	return true
}

// isIn reports whether raft is in that term still. Its log is that term's then,
// for the next leader writes into it only once the term has changed.
func (g *heartbeatGuard) isIn(term uint64) bool {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.term == term || g.term == 0
}

// guardTerm returns s as raft is to have it, for heartbeats to be handled aside
// at all.
func (r *raftTransport) guardTerm(s raft.StableStore) raft.StableStore {
	return guardedTerm{s, &r.heartbeats}
}

// guardedTerm shows a heartbeatGuard the term.
type guardedTerm struct {
	raft.StableStore
	guard *heartbeatGuard
}

// SetUint64 implements raft.StableStore. Who handles a heartbeat aside may set
// the term that there is, and no other; raft's main goroutine, which is the only
// other caller, is the one that changes it.
func (s guardedTerm) SetUint64(key []byte, n uint64) error {
	if string(key) != logstore.KeyTerm {
		return s.StableStore.SetUint64(key, n)
	}
	switch term := s.guard.term; {
	case n == term:
		return nil
	case n < term: // raft panics: better than to vote again in a term that is past
		return fmt.Errorf("the term would go back from %d to %d", term, n)
	}
	s.guard.mu.Lock()
	defer s.guard.mu.Unlock()
	if err := s.StableStore.SetUint64(key, n); err != nil {
		return err
	}
	s.guard.term = n
	return nil
}
