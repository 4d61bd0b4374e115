package cluster

import (
	"errors"
	"testing"

	"github.com/hashicorp/raft"
)

// Ensure one request carries no more bytes than can arrive in time, and yet
// always an entry.
func TestFirstBytes(t *testing.T) {
	entries := func(sizes ...int) (logs []*raft.Log) {
		for _, n := range sizes {
			logs = append(logs, &raft.Log{Data: make([]byte, n)})
		}
		return logs
	}
	for _, tt := range []struct {
		sizes []int
		want  int
	}{
		{nil, 0}, {[]int{200}, 1}, {[]int{200, 1}, 1}, {[]int{60, 40, 1}, 2}, {[]int{1, 1, 1}, 3}, {[]int{1, 200, 1}, 1},
	} {
		if got := firstBytes(entries(tt.sizes...), 100); len(got) != tt.want {
			t.Errorf("of entries of %v bytes %d go, want %d", tt.sizes, len(got), tt.want)
		}
	}
}

// Ensure a deposed leader sends no entries: the next one may have written into
// its log while they were read.
func TestDeposedLeaderSendsNothing(t *testing.T) {
	leader := startRaft(t, 1, false, nil)[0]
	propose(t, []*raftMember{leader}, "before")
	trans, term := leader.transport.raft, leader.raft.CurrentTerm()
	send := func(term uint64) error {
		req := &raft.AppendEntriesRequest{Term: term, PrevLogEntry: 1, PrevLogTerm: 1}
		return trans.AppendEntries("n9", "127.0.0.1:1", req, new(raft.AppendEntriesResponse))
	}
	if err := send(term - 1); !errors.Is(err, errDeposed) {
		t.Errorf("in the term before: %v, want %v", err, errDeposed)
	}
	if err := send(term); err == nil || errors.Is(err, errDeposed) {
		t.Errorf("in its own term: %v, want that nobody is there", err)
	}
}
