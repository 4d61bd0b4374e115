package cluster

import (
	"time"

	"github.com/hashicorp/raft"
)

// progress is what a follower's answers to raft's RPCs have shown in one term.
// Its numbers only grow, except where said.
type progress struct {
	matched uint64 // last entry that it has for certain, in its log or in a snapshot
	heard   uint64 // heartbeats that it accepted
	failed  uint64 // other RPCs that it did not accept or not answer

	appending  int // AppendEntries of raft's under way; no count
	installing int // snapshots under way; no count

	// Snapshots that it took since it last accepted entries, and when it took
	// the first of them.
	installs     int
	installedAt  time.Time
	installedEnd uint64 // the last entry that the latest covers
}

// appended notes the answer to an AppendEntries that was no heartbeat.
func (p *progress) appended(req *raft.AppendEntriesRequest, success bool) {
	p.appending--
	if !success {
		p.failed++
		return
	}
	last, _ := lastEntry(req)
	p.matched = max(p.matched, last)
	p.installs = 0
}

// installed notes the answer to an InstallSnapshot.
func (p *progress) installed(req *raft.InstallSnapshotRequest, success bool, now time.Time) {
	p.installing--
	if !success {
		p.failed++
		return
	}
	p.matched = max(p.matched, req.LastLogIndex)
	p.installedEnd = req.LastLogIndex
	if p.installs == 0 || now.Sub(p.installedAt) > loopTime {
		p.installs, p.installedAt = 0, now
	}
	p.installs++
}

// A follower that takes loopInstalls snapshots within loopTime and no entry
// after any of them takes them for ever.
const (
	loopInstalls = 3
	loopTime     = time.Minute
)

func (p progress) loops() bool { return p.installs >= loopInstalls }

// installing observes an InstallSnapshot of raft's before it goes out.
func (n *commitNotices) installing(id raft.ServerID, term uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.enter(term)
	if f := n.follower(id, term); f != nil {
		f.progress.installing++
	}
}

// installed observes what became of it.
func (n *commitNotices) installed(id raft.ServerID, req *raft.InstallSnapshotRequest, success bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if f := n.follower(id, req.Term); f != nil {
		f.progress.installed(req, success, time.Now())
	}
}

// progressOf returns what a follower has shown in that term.
func (n *commitNotices) progressOf(id raft.ServerID, term uint64) progress {
	n.mu.Lock()
	defer n.mu.Unlock()
	if f := n.followers[id]; f != nil && term == n.term {
		return f.progress
	}
	return progress{}
}
