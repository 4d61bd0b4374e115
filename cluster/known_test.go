package cluster

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
)

// standingAt is where a raft stands.
type standingAt struct{ term, commit, applied uint64 }

func (s standingAt) CurrentTerm() uint64  { return s.term }
func (s standingAt) CommitIndex() uint64  { return s.commit }
func (s standingAt) AppliedIndex() uint64 { return s.applied }

// logFrom is a log's first and last entry.
type logFrom struct{ first, last uint64 }

func (l logFrom) FirstIndex() (uint64, error) { return l.first, nil }
func (l logFrom) LastIndex() (uint64, error)  { return l.last, nil }

// entries are of term 5.
func entries(first, last uint64) (logs []*raft.Log) {
	for i := first; i <= last; i++ {
		logs = append(logs, &raft.Log{Index: i, Term: 5})
	}
	return logs
}

// told is what raft is to do with a command.
func told(command any) string {
	switch c := command.(type) {
	case *raft.InstallSnapshotRequest:
		return fmt.Sprintf("install up to %d", c.LastLogIndex)
	case *raft.AppendEntriesRequest:
		told := fmt.Sprintf("append after %d", c.PrevLogEntry)
		for _, e := range c.Entries {
			told += fmt.Sprint(" ", e.Index)
		}
		return fmt.Sprintf("%s, commit %d", told, c.LeaderCommitIndex)
	}
	return "unknown"
}

// Ensure a raft in term 7 that has entries 20 to 40, of which those up to 30 are
// committed, is given nothing that it would go back for, and all else.
func TestWithoutKnown(t *testing.T) {
	running, begun := standingAt{term: 7, commit: 30, applied: 28}, standingAt{term: 7, commit: 0, applied: 30}
	appending := func(term, after, last uint64) any {
		return &raft.AppendEntriesRequest{Term: term, PrevLogEntry: after, Entries: entries(after+1, last), LeaderCommitIndex: 100}
	}
	for _, tt := range []struct {
		name    string
		command any
		want    string
	}{
		{"a snapshot of what is committed", &raft.InstallSnapshotRequest{Term: 7, LastLogIndex: 30}, "append after 0, commit 0"},
		{"the same of a later leader", &raft.InstallSnapshotRequest{Term: 8, LastLogIndex: 5}, "append after 0, commit 0"},
		{"the same of an earlier leader, which raft refuses", &raft.InstallSnapshotRequest{Term: 6, LastLogIndex: 5}, "install up to 5"},
		{"a newer snapshot", &raft.InstallSnapshotRequest{Term: 7, LastLogIndex: 31}, "install up to 31"},
		{"entries after one of the log", appending(7, 20, 22), "append after 20 21 22, commit 100"},
		{"entries after the log's end", appending(7, 40, 41), "append after 40 41, commit 100"},
		{"entries of which all are committed", appending(7, 15, 30), "append after 0, commit 30"},
		{"entries of which some are new", appending(7, 15, 32), "append after 0 31 32, commit 32"},
		{"entries after the one before the log", appending(7, 19, 31), "append after 0 31, commit 31"},
		{"entries of an earlier leader, which raft refuses", appending(6, 15, 16), "append after 15 16, commit 100"},
		{"entries from the first on", appending(7, 0, 31), "append after 0 31, commit 31"},
		{"a notice of a commit", appending(7, 15, 15), "append after 0, commit 30"},
		{"a heartbeat", &raft.AppendEntriesRequest{Term: 7}, "append after 0, commit 0"},
		{"another command", &raft.RequestVoteRequest{Term: 7}, "unknown"},
	} {
		for _, at := range []standingAt{running, begun} {
			g := &rpcGate{logger: discard, raft: at, log: logFrom{20, 40}}
			data := strings.NewReader("data")
			got := g.withoutKnown(raft.RPC{Command: tt.command, Reader: data})
			if told := told(got.Command); told != tt.want {
				t.Errorf("%s, %+v: %s, want %s", tt.name, at, told, tt.want)
			}
			if _, sent := tt.command.(*raft.InstallSnapshotRequest); sent && got.Command != tt.command && data.Len() > 0 {
				t.Errorf("%s: %d bytes were left to read", tt.name, data.Len())
			}
		}
	}
	for _, log := range []logFrom{{}, {5, 8}} { // the rest is in a snapshot
		g := &rpcGate{logger: discard, raft: running, log: log}
		for _, tt := range []struct {
			after, last uint64
			want        string
		}{
			{30, 30, "append after 0, commit 30"},
			{30, 31, "append after 0 31, commit 31"},
			{20, 32, "append after 0 31 32, commit 32"},
			{0, 31, "append after 0 31, commit 31"},
		} {
			if got := told(g.withoutKnown(raft.RPC{Command: appending(7, tt.after, tt.last)}).Command); got != tt.want {
				t.Errorf("entries %d to %d, log %+v: %s, want %s", tt.after+1, tt.last, log, got, tt.want)
			}
		}
	}
}
