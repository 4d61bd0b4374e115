package cluster

import (
	"errors"
	"io"
	"syscall"

	"github.com/hashicorp/raft"
)

// onLiveConn makes a call of raft's again while it fails because the connection
// had ended. Raft keeps up to raftPool connections to a peer for reuse and
// does not see them end: to a peer that has restarted, each fails once, and a
// vote that is lost so costs an election. It is for calls that may arrive
// twice.
func onLiveConn(call func() error) error {
	for range raftPool {
		if err := call(); !hasEnded(err) {
			return err
		}
	}
	return call()
}

// hasEnded reports whether a call failed because its connection was over.
func hasEnded(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// RequestVote implements raft.Transport.
func (r *raftTransport) RequestVote(id raft.ServerID, target raft.ServerAddress, req *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	return onLiveConn(func() error { return r.NetworkTransport.RequestVote(id, r.locate(id, target), req, resp) })
}

// RequestPreVote implements raft.WithPreVote.
func (r *raftTransport) RequestPreVote(id raft.ServerID, target raft.ServerAddress, req *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	return onLiveConn(func() error { return r.NetworkTransport.RequestPreVote(id, r.locate(id, target), req, resp) })
}
