package cluster

import (
	"sync"

	"github.com/hashicorp/raft"
)

// commitNotices tells followers of a commit at once. Raft itself tells them
// with the next AppendEntries, which on a quiet cluster goes out only after
// CommitTimeout: so long a follower would hold back a committed write from its
// readers and streams. A notice is one more AppendEntries without entries,
// just as raft would have sent it:
//
//   - PrevLogEntry is an entry that the follower has acknowledged in this
//     term. It is never 0, which would make the request a heartbeat.
//   - LeaderCommitIndex is at most PrevLogEntry. A follower commits up to the
//     lower of LeaderCommitIndex and its own last index, without asking
//     whether what it has beyond PrevLogEntry is the leader's: it may be the
//     rest of a deposed leader's log, and committing it would be divergence.
//   - What it says is committed is so by an entry of the leader's own term. A
//     term has one leader, and the follower's log up to PrevLogEntry is that
//     leader's. So a notice stays true for ever, and may arrive late, twice,
//     or after its sender was deposed, as raft allows for any AppendEntries.
//
// The answer only tells whether the follower has been told. A notice that
// fails is not repeated: raft says the same after CommitTimeout.
type commitNotices struct {
	appendEntries func(raft.ServerID, raft.ServerAddress, *raft.AppendEntriesRequest, *raft.AppendEntriesResponse) error
	wg            sync.WaitGroup

	mu        sync.Mutex // guards the fields below, followers' too
	closed    bool
	term      uint64 // the latest seen; what follows is of this term
	committed uint64 // highest index known to be committed by an entry of term; 0: none
	followers map[raft.ServerID]*noticedFollower
}

// noticedFollower is what a follower's answers have shown in one term.
type noticedFollower struct {
	id   raft.ServerID
	addr raft.ServerAddress
	like raft.AppendEntriesRequest // header, which names the leader, and term for a notice

	acked     uint64 // highest entry that it has; 0: unknown since an RPC failed
	ackedTerm uint64 // term of that entry
	told      uint64 // commit index that it knows
	noticing  bool   // a goroutine runs for it

	progress progress
}

func newCommitNotices(appendEntries func(raft.ServerID, raft.ServerAddress, *raft.AppendEntriesRequest, *raft.AppendEntriesResponse) error) *commitNotices {
	return &commitNotices{appendEntries: appendEntries, followers: make(map[raft.ServerID]*noticedFollower)}
}

// noteCommit is told of a committed entry: its index and its own term, both as
// in its raft.Log. It tells the followers that have it and do not know; it does
// not block. An entry of an earlier term than the one this node leads in is
// passed over.
//
// The term that the node believes to lead in will not do instead: just after
// it was deposed, an entry of its successor would pass for one of its own, and
// a follower that still holds another entry at that index would commit it.
func (t *transport) noteCommit(index, term uint64) { t.raft.notices.commit(index, term) }

func (n *commitNotices) commit(index, term uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.enter(term)
	if term != n.term || index <= n.committed {
		return
	}
	n.committed = index
	for _, f := range n.followers {
		n.notice(f)
	}
}

// sending observes an AppendEntries of raft's before it goes out.
func (n *commitNotices) sending(id raft.ServerID, addr raft.ServerAddress, req *raft.AppendEntriesRequest) {
	if isHeartbeat(req) {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.enter(req.Term)
	if f := n.follower(id, req.Term); f != nil {
		f.addr = addr
		f.like = raft.AppendEntriesRequest{RPCHeader: req.RPCHeader, Term: req.Term}
		f.progress.appending++
	}
}

// enter forgets what was known if term is a later one.
func (n *commitNotices) enter(term uint64) {
	if term > n.term {
		n.term, n.committed = term, 0
		clear(n.followers)
	}
}

// follower is nil for a term that is over.
func (n *commitNotices) follower(id raft.ServerID, term uint64) *noticedFollower {
	if term != n.term {
		return nil
	}
	f := n.followers[id]
	if f == nil {
		f = &noticedFollower{id: id}
		n.followers[id] = f
	}
	return f
}

// sent observes what became of an AppendEntries that sending has seen.
func (n *commitNotices) sent(id raft.ServerID, req *raft.AppendEntriesRequest, success bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.enter(req.Term)
	f := n.follower(id, req.Term)
	if f == nil {
		return
	}
	if isHeartbeat(req) {
		if success {
			f.progress.heard++
		}
		return
	}
	f.progress.appended(req, success)
	if !success {
		f.acked = 0
		return
	}
	last, lastTerm := lastEntry(req)
	if last > f.acked {
		f.acked, f.ackedTerm = last, lastTerm
	}
	f.told = max(f.told, min(req.LeaderCommitIndex, last))
	n.notice(f)
}

// isHeartbeat recognises what raft's heartbeats send: no entry, and none
// before it. It says nothing of the follower's log.
func isHeartbeat(req *raft.AppendEntriesRequest) bool {
	return len(req.Entries) == 0 && req.PrevLogEntry == 0
}

// lastEntry is the last entry that a follower has for certain when it has
// accepted req.
func lastEntry(req *raft.AppendEntriesRequest) (index, term uint64) {
	if n := len(req.Entries); n > 0 {
		return req.Entries[n-1].Index, req.Entries[n-1].Term
	}
	return req.PrevLogEntry, req.PrevLogTerm
}

// notice starts telling f if there is something to tell it. While an
// AppendEntries is under way nothing is: a follower handles one at a time, and
// when the answer comes there is a better notice, or raft sends the next.
func (n *commitNotices) notice(f *noticedFollower) {
	if f.noticing || n.closed || !n.due(f) {
		return
	}
	f.noticing = true
	n.wg.Go(func() { n.run(f) })
}

func (n *commitNotices) due(f *noticedFollower) bool {
	return f.like.Term == n.term && f.progress.appending == 0 && min(n.committed, f.acked) > f.told
}

// run sends notices to f, one at a time, until there is nothing to tell.
func (n *commitNotices) run(f *noticedFollower) {
	n.mu.Lock()
	defer n.mu.Unlock()
	defer func() { f.noticing = false }()
	for !n.closed && n.due(f) {
		req, resp := f.like, raft.AppendEntriesResponse{}
		req.PrevLogEntry, req.PrevLogTerm = f.acked, f.ackedTerm
		req.LeaderCommitIndex = min(n.committed, f.acked)
		addr := f.addr

		n.mu.Unlock()
		err := n.appendEntries(f.id, addr, &req, &resp)
		n.mu.Lock()

		if err != nil || !resp.Success {
			f.acked = 0
			return
		}
		f.told = max(f.told, req.LeaderCommitIndex)
	}
}

// close waits for the last notice.
func (n *commitNotices) close() {
	n.mu.Lock()
	n.closed = true
	n.mu.Unlock()
	n.wg.Wait()
}
