package cluster

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/hashicorp/raft"
)

// noticeScript drives commitNotices as raft would, and collects what it sends.
type noticeScript struct {
	t *testing.T
	n *commitNotices

	mu      sync.Mutex
	notices []raft.AppendEntriesRequest
	block   chan struct{} // if set, a notice waits for it
	refuse  bool          // notices are answered with Success false
	fail    bool          // notices fail
}

func newNoticeScript(t *testing.T) *noticeScript {
	s := &noticeScript{t: t}
	s.n = newCommitNotices(func(_ raft.ServerID, _ raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
		s.mu.Lock()
		s.notices = append(s.notices, *req)
		block := s.block
		s.mu.Unlock()
		if block != nil {
			<-block
		}
		if s.fail {
			return errors.New("broken")
		}
		resp.Success = !s.refuse
		return nil
	})
	return s
}

// append is an AppendEntries of raft's with entries of the same term from
// prev+1 to last, and prevTerm that of prev.
func (s *noticeScript) append(term, prev, prevTerm, last, commit uint64) *raft.AppendEntriesRequest {
	req := &raft.AppendEntriesRequest{
		RPCHeader: raft.RPCHeader{ProtocolVersion: 3, ID: []byte("leader"), Addr: []byte("leader:1")},
		Term:      term, PrevLogEntry: prev, PrevLogTerm: prevTerm, LeaderCommitIndex: commit,
	}
	for i := prev + 1; i <= last; i++ {
		req.Entries = append(req.Entries, &raft.Log{Index: i, Term: term})
	}
	s.n.sending("f", "f:1", req)
	return req
}

// acked is append with a follower that accepts.
func (s *noticeScript) acked(term, prev, prevTerm, last, commit uint64) {
	s.n.sent("f", s.append(term, prev, prevTerm, last, commit), true)
}

// told returns the commit indexes of the notices so far, once none is under
// way, and checks the rules that hold for each.
func (s *noticeScript) told() []uint64 {
	s.t.Helper()
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	var commits []uint64
	for _, req := range s.notices {
		if req.PrevLogEntry == 0 || req.LeaderCommitIndex > req.PrevLogEntry || len(req.Entries) > 0 {
			s.t.Errorf("notice %+v", req)
		}
		if string(req.ID) != "leader" || string(req.Addr) != "leader:1" || req.ProtocolVersion != 3 {
			s.t.Errorf("header %+v", req)
		}
		commits = append(commits, req.LeaderCommitIndex)
	}
	return commits
}

func TestCommitNotices(t *testing.T) {
	tests := []struct {
		name   string
		script func(s *noticeScript)
		want   []uint64 // commit indexes told
	}{
		{"a commit is told", func(s *noticeScript) {
			s.acked(2, 4, 1, 6, 4)
			s.n.commit(6, 2)
		}, []uint64{6}},
		{"no further than acknowledged", func(s *noticeScript) {
			s.acked(2, 4, 1, 6, 4)
			s.n.commit(9, 2)
		}, []uint64{6}},
		{"an empty request acknowledges the entry before it", func(s *noticeScript) {
			s.acked(2, 6, 2, 6, 4)
			s.n.commit(6, 2)
		}, []uint64{6}},
		{"known already", func(s *noticeScript) {
			s.acked(2, 4, 1, 6, 6)
			s.n.commit(6, 2)
		}, nil},
		// A follower commits only what it has: sent is not told.
		{"sent beyond what it had", func(s *noticeScript) {
			s.acked(2, 4, 1, 5, 7)
			s.acked(2, 5, 2, 7, 5)
			s.n.commit(7, 2)
		}, []uint64{7}},
		{"told once", func(s *noticeScript) {
			s.acked(2, 4, 1, 6, 4)
			s.n.commit(6, 2)
			s.told()
			s.n.commit(6, 2)
		}, []uint64{6}},
		{"acknowledged after the commit", func(s *noticeScript) {
			s.n.commit(6, 2)
			s.acked(2, 4, 1, 6, 4)
		}, []uint64{6}},
		{"a heartbeat acknowledges nothing", func(s *noticeScript) {
			s.acked(2, 0, 0, 0, 0)
			s.n.commit(6, 2)
		}, nil},
		{"nobody answered yet", func(s *noticeScript) {
			s.append(2, 4, 1, 6, 4)
			s.n.commit(6, 2)
		}, nil},
		{"raft's own request is under way", func(s *noticeScript) {
			s.acked(2, 4, 1, 6, 4)
			s.append(2, 6, 2, 7, 4)
			s.n.commit(6, 2)
		}, nil},
		{"it ended", func(s *noticeScript) {
			s.acked(2, 4, 1, 6, 4)
			req := s.append(2, 6, 2, 7, 4)
			s.n.commit(6, 2)
			s.n.sent("f", req, true)
		}, []uint64{6}},
		{"it failed", func(s *noticeScript) {
			s.acked(2, 4, 1, 6, 4)
			req := s.append(2, 6, 2, 7, 4)
			s.n.commit(6, 2)
			s.n.sent("f", req, false)
			s.n.commit(7, 2)
		}, nil},
		{"it failed and the next did not", func(s *noticeScript) {
			s.n.sent("f", s.append(2, 6, 2, 7, 4), false)
			s.n.commit(7, 2)
			s.acked(2, 6, 2, 7, 4)
		}, []uint64{7}},
		{"an old acknowledgement takes nothing back", func(s *noticeScript) {
			s.acked(2, 4, 1, 8, 4)
			s.acked(2, 4, 1, 4, 4)
			s.n.commit(8, 2)
		}, []uint64{8}},

		// The new leader's entry 6 is not the follower's entry 6.
		{"deposed, the successor commits", func(s *noticeScript) {
			s.acked(2, 4, 1, 6, 4)
			s.n.commit(6, 3)
		}, nil},
		{"an entry of an earlier term", func(s *noticeScript) {
			s.acked(2, 4, 1, 6, 3)
			s.n.commit(4, 1)
		}, nil},
		{"a new term forgets what was acknowledged", func(s *noticeScript) {
			s.acked(2, 4, 1, 6, 4)
			s.append(3, 4, 1, 5, 4)
			s.n.commit(6, 3)
		}, nil},
		{"a new term forgets what was committed", func(s *noticeScript) {
			s.n.commit(6, 2)
			s.acked(3, 4, 1, 6, 4)
		}, nil},
		{"a late answer from an earlier term", func(s *noticeScript) {
			late := s.append(2, 4, 1, 6, 4)
			s.append(3, 4, 1, 5, 4)
			s.n.sent("f", late, true)
			s.n.commit(6, 3)
		}, nil},
		{"a late request of an earlier term", func(s *noticeScript) {
			s.acked(3, 4, 1, 6, 4)
			s.acked(2, 4, 1, 9, 4)
			s.n.commit(9, 3)
		}, []uint64{6}},

		{"a failed notice is not repeated", func(s *noticeScript) {
			s.fail = true
			s.acked(2, 4, 1, 6, 4)
			s.n.commit(5, 2)
			s.told()
			s.n.commit(6, 2)
		}, []uint64{5}},
		{"nor a refused one", func(s *noticeScript) {
			s.refuse = true
			s.acked(2, 4, 1, 6, 4)
			s.n.commit(5, 2)
			s.told()
			s.n.commit(6, 2)
		}, []uint64{5}},
		{"after close", func(s *noticeScript) {
			s.acked(2, 4, 1, 6, 4)
			s.n.close()
			s.n.commit(6, 2)
		}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newNoticeScript(t)
				tt.script(s)
				if got := s.told(); !slices.Equal(got, tt.want) {
					t.Errorf("told %v, want %v", got, tt.want)
				}
			})
		})
	}
}

// While a notice is under way others wait, and the last says it all.
func TestCommitNoticesCoalesce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newNoticeScript(t)
		s.block = make(chan struct{})
		s.acked(2, 4, 1, 9, 4)
		for commit := uint64(5); commit <= 9; commit++ {
			s.n.commit(commit, 2)
			synctest.Wait()
		}
		close(s.block)
		if got, want := s.told(), []uint64{5, 9}; !slices.Equal(got, want) {
			t.Errorf("told %v, want %v", got, want)
		}
	})
}
