package cluster

import (
	"sync"
	"testing"

	"github.com/hashicorp/raft"
)

// Ensure that connections which the peer has ended, and raft keeps for reuse,
// cost none of the calls that an election stands on.
func TestCallsOverEndedConnections(t *testing.T) {
	l, d := testTransport(t, "l", "c", nil), testTransport(t, "d", "c", nil)
	to := raft.ServerAddress(l.addr())
	go answerRaft(l)
	calls := map[string]func() error{
		"vote": func() error {
			return d.raft.RequestVote("l", to, &raft.RequestVoteRequest{Term: 1}, new(raft.RequestVoteResponse))
		},
		"pre-vote": func() error {
			return d.raft.RequestPreVote("l", to, &raft.RequestPreVoteRequest{Term: 1}, new(raft.RequestPreVoteResponse))
		},
		"append": func() error {
			return d.raft.AppendEntries("l", to, &raft.AppendEntriesRequest{Term: 1, PrevLogEntry: 1}, new(raft.AppendEntriesResponse))
		},
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			var fill sync.WaitGroup
			for range raftPool {
				fill.Go(func() {
					if err := call(); err != nil {
						t.Error(err)
					}
				})
			}
			fill.Wait()
			l.sever("d")
			if err := call(); err != nil {
				t.Error(err)
			}
		})
	}
}
