package cluster

import (
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

// Ensure nothing is sent in the name of a term that is not the log's any more.
func TestEntriesOfALaterTerm(t *testing.T) {
	for _, tt := range []struct {
		req  raft.AppendEntriesRequest
		want bool
	}{
		{raft.AppendEntriesRequest{Term: 5}, false},
		{raft.AppendEntriesRequest{Term: 5, PrevLogTerm: 5}, false},
		{raft.AppendEntriesRequest{Term: 5, PrevLogTerm: 6}, true},
		{raft.AppendEntriesRequest{Term: 5, PrevLogTerm: 3, Entries: []*raft.Log{{Term: 4}, {Term: 5}}}, false},
		{raft.AppendEntriesRequest{Term: 5, PrevLogTerm: 3, Entries: []*raft.Log{{Term: 5}, {Term: 6}}}, true},
	} {
		if got := isOfALaterTerm(&tt.req); got != tt.want {
			t.Errorf("%+v: %v, want %v", tt.req, got, tt.want)
		}
	}
}
