package cluster

import (
	"io"

	"github.com/hashicorp/raft"
)

// A follower can be further than its leader knows: it has worked off an RPC
// whose answer was lost. Raft (hashicorp/raft 1.8.0) then makes two mistakes:
//
//   - It installs a snapshot that is older than its state. State and
//     configuration go back to what they were, until the next commit at least,
//     and its readers with them.
//   - It refuses entries that follow one which it has in a snapshot alone, for
//     ever, so that the leader sends it such a snapshot.
//
// The gate keeps from raft what it would go wrong about. That is no more than
// entries of which this node knows that they are committed: a leader of its
// term or a later one has them all, the same (Raft's leader completeness), so
// it can be told that they are here.

// standing is what raft says of where it stands.
type standing interface {
	CurrentTerm() uint64
	CommitIndex() uint64
	AppliedIndex() uint64 // after a start this is ahead of the commit index
}

// extent says where the log stands: which entries raft can look up.
type extent interface {
	FirstIndex() (uint64, error) // 0: it is empty
	LastIndex() (uint64, error)
}

// known returns the last entry that this node knows to be committed.
func (g *rpcGate) known() uint64 { return max(g.raft.CommitIndex(), g.raft.AppliedIndex()) }

// knows reports whether the leader of term is not of the past, and this node
// knows that the entry at index is committed.
func (g *rpcGate) knows(term, index uint64) bool {
	return term >= g.raft.CurrentTerm() && index <= g.known()
}

// withoutKnown returns rpc, or what raft is to be given in its place.
func (g *rpcGate) withoutKnown(rpc raft.RPC) raft.RPC {
	switch c := rpc.Command.(type) {
	case *raft.InstallSnapshotRequest:
		if g.knows(c.Term, c.LastLogIndex) {
			g.logger.Info("what a snapshot holds that came is here already", "last-index", c.LastLogIndex, "applied", g.raft.AppliedIndex())
			_, _ = io.Copy(io.Discard, rpc.Reader) // the connection's next request follows it
			rpc.Reader = nil
			rpc.Command = &raft.AppendEntriesRequest{RPCHeader: c.RPCHeader, Term: c.Term}
		}
	case *raft.AppendEntriesRequest:
		if (c.PrevLogEntry > 0 || len(c.Entries) > 0) && g.knows(c.Term, c.PrevLogEntry) && !g.inLog(c.PrevLogEntry) {
			rpc.Command = g.news(c)
		}
	}
	return rpc
}

// inLog reports whether the log reaches over index. What is known and not in
// it is in a snapshot, of which raft's memory is short.
func (g *rpcGate) inLog(index uint64) bool {
	first, err := g.log.FirstIndex()
	if err != nil || index < first || first == 0 {
		return err != nil // which raft meets too
	}
	last, err := g.log.LastIndex()
	return err != nil || index <= last
}

// news returns c without the entries that this node knows. They stood between
// the others and an entry that it has, so the others follow what it has. Raft
// would commit all that it has up to the leader's commit index; but it is the
// leader's only as far as these entries go.
func (g *rpcGate) news(c *raft.AppendEntriesRequest) *raft.AppendEntriesRequest {
	known := g.known()
	n := &raft.AppendEntriesRequest{RPCHeader: c.RPCHeader, Term: c.Term, LeaderCommitIndex: min(c.LeaderCommitIndex, known)}
	for i, e := range c.Entries {
		if e.Index > known {
			n.Entries = c.Entries[i:]
			n.LeaderCommitIndex = min(c.LeaderCommitIndex, n.Entries[len(n.Entries)-1].Index)
			break
		}
	}
	return n
}

// answerTo returns raft's answer as one to what was asked.
func answerTo(asked any, a raft.RPCResponse) raft.RPCResponse {
	_, isSnapshot := asked.(*raft.InstallSnapshotRequest)
	if resp, ok := a.Response.(*raft.AppendEntriesResponse); ok && isSnapshot {
		a.Response = &raft.InstallSnapshotResponse{RPCHeader: resp.RPCHeader, Term: resp.Term, Success: resp.Success}
	}
	return a
}
