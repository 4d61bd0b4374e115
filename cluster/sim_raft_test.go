package cluster

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// A simRaft is one node's Raft as the simulation has it: the protocol, driven
// one message at a time. It keeps what Raft promises, and nothing more: what a
// majority has not got may be lost or may survive, followers learn late, and a
// deposed leader may not know for as long as one likes.
type simRaft struct {
	consensus // what the simulation has no use for panics

	w  *simWorld
	id int

	simDisk
	simMemory

	mu sync.Mutex // of the methods of consensus; the simulation itself runs while they do not
}

// simDisk is what a crash leaves.
type simDisk struct {
	term     uint64
	vote     int
	log      []simEntry // follows base
	base     simMark    // last entry that is gone from the log
	snapshot []byte
	covers   simMark // what the snapshot covers; at or past base
}

// simMemory is what a crash takes.
type simMemory struct {
	leading    bool
	standing   bool // for election
	leader     int  // -1: none is known
	commit     uint64
	applied    uint64
	votes      []bool
	next       []uint64
	match      []uint64
	futures    map[uint64]*simFuture
	notices    []bool // leadership gained and lost, not yet told to the node
	newsLeader bool   // the node has not been told who leads
}

type simEntry struct {
	term uint64
	kind raft.LogType
	data []byte

	proposed time.Time
}

type simMark struct{ index, term uint64 }

// simMessage is one of Raft's RPCs or an answer to one.
type simMessage struct {
	kind     simKind
	from, to int
	term     uint64
	prev     simMark // for an append; the candidate's log end for a vote; what a snapshot covers
	entries  []simEntry
	commit   uint64
	snapshot []byte
	ok       bool
	match    uint64 // with ok: the follower has the leader's log up to here; else: try from here
}

type simKind int

const (
	simVote simKind = iota
	simVoted
	simAppend
	simAppended
	simInstall
)

func newSimMemory(nodes int) simMemory {
	return simMemory{leader: -1, futures: map[uint64]*simFuture{}, votes: make([]bool, nodes), next: make([]uint64, nodes), match: make([]uint64, nodes)}
}

func (r *simRaft) last() uint64 { return r.base.index + uint64(len(r.log)) }

// read is that of a log store.
func (r *simRaft) read(index uint64, l *raft.Log) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if index <= r.base.index || index > r.last() {
		return raft.ErrLogNotFound
	}
	e := r.log[index-r.base.index-1]
	*l = raft.Log{Index: index, Term: e.term, Type: e.kind, Data: e.data}
	return nil
}

// lastCommand returns the term of the last entry of ours; 0: there is none.
func (r *simRaft) lastCommand() uint64 {
	for i := len(r.log) - 1; i >= 0; i-- {
		if r.log[i].kind == raft.LogCommand {
			return r.log[i].term
		}
	}
	return 0
}

func (r *simRaft) end() simMark { return simMark{r.last(), r.termAt(r.last())} }

// termAt returns the term of an entry from base on.
func (r *simRaft) termAt(index uint64) uint64 {
	if index == r.base.index {
		return r.base.term
	}
	return r.log[index-r.base.index-1].term
}

func (r *simRaft) has(m simMark) bool {
	return m.index >= r.base.index && m.index <= r.last() && r.termAt(m.index) == m.term
}

// stand begins an election.
func (r *simRaft) stand() {
	r.follow(r.term + 1)
	r.standing, r.vote = true, r.id
	clear(r.votes)
	r.votes[r.id] = true
	for to := range r.w.nodes {
		r.send(simMessage{kind: simVote, to: to, prev: r.end()})
	}
	r.countVotes()
}

func (r *simRaft) send(m simMessage) {
	if m.from, m.term = r.id, r.term; m.to != r.id {
		r.w.post(m)
	}
}

// follow makes the node a follower, of a later term perhaps. The futures of a
// leadership that ends fail, but for those of entries that are committed.
func (r *simRaft) follow(term uint64) {
	if term > r.term {
		r.term, r.vote = term, -1
	}
	r.standing = false
	r.setLeader(-1)
	if !r.leading {
		return
	}
	r.leading = false
	r.notices = append(r.notices, false)
	for index := r.commit + 1; index <= r.last(); index++ {
		r.resolve(index, nil, raft.ErrLeadershipLost)
	}
}

func (r *simRaft) setLeader(id int) {
	if r.leader != id {
		r.leader, r.newsLeader = id, true
	}
}

func (r *simRaft) receive(m simMessage) {
	if m.term > r.term {
		r.follow(m.term)
	}
	switch m.kind {
	case simVote:
		r.receiveVote(m)
	case simVoted:
		if r.standing && m.term == r.term && m.ok {
			r.votes[m.from] = true
			r.countVotes()
		}
	case simAppend, simInstall:
		r.receiveEntries(m)
	case simAppended:
		r.receiveAppended(m)
	}
}

func (r *simRaft) receiveVote(m simMessage) {
	mine := r.end()
	current := m.prev.term > mine.term || m.prev.term == mine.term && m.prev.index >= mine.index
	ok := m.term == r.term && current && (r.vote == -1 || r.vote == m.from)
	if ok {
		r.vote = m.from
	}
	r.send(simMessage{kind: simVoted, to: m.from, ok: ok})
}

func (r *simRaft) countVotes() {
	if !r.standing || !r.w.isMajority(r.votes) {
		return
	}
	r.w.check.elected(r.id, r.term)
	r.standing, r.leading = false, true
	r.setLeader(r.id)
	r.notices = append(r.notices, true)
	for i := range r.next {
		r.next[i], r.match[i] = r.last()+1, 0
	}
	r.log = append(r.log, simEntry{term: r.term, kind: raft.LogNoop})
}

// replicate sends the follower what it lacks, at most n entries of it.
func (r *simRaft) replicate(to, n int) {
	next := r.next[to]
	if next <= r.base.index {
		r.send(simMessage{kind: simInstall, to: to, prev: r.covers, snapshot: r.snapshot})
		return
	}
	from := next - r.base.index - 1
	until := min(from+uint64(n), uint64(len(r.log)))
	r.send(simMessage{
		kind: simAppend, to: to, prev: simMark{next - 1, r.termAt(next - 1)},
		entries: slices.Clone(r.log[from:until]), commit: r.commit,
	})
}

func (r *simRaft) receiveEntries(m simMessage) {
	if m.term < r.term {
		r.send(simMessage{kind: simAppended, to: m.from})
		return
	}
	r.standing = false
	r.setLeader(m.from)
	if m.kind == simInstall {
		r.install(m)
		return
	}
	if m.prev.index >= r.base.index && !r.has(m.prev) {
		r.send(simMessage{kind: simAppended, to: m.from, match: min(m.prev.index-1, r.last())})
		return
	}
	r.append(m.prev.index, m.entries)
	match := m.prev.index + uint64(len(m.entries))
	r.commitTo(min(m.commit, match))
	r.send(simMessage{kind: simAppended, to: m.from, ok: true, match: match})
}

// append takes entries that follow index, and drops what conflicts with them.
func (r *simRaft) append(index uint64, entries []simEntry) {
	for _, e := range entries {
		index++
		switch {
		case index <= r.base.index:
			continue // committed, and in the snapshot
		case index <= r.last() && r.termAt(index) == e.term:
			continue
		case index <= r.last():
			r.w.check.that(index > r.commit, "node %d drops the committed entry %d", r.id, index)
			r.log = r.log[: index-r.base.index-1 : index-r.base.index-1]
		}
		r.log = append(r.log, e)
		if e.kind == raft.LogCommand {
			r.w.nodes[r.id].real.clock.arrived(index, e.term)
		}
	}
}

func (r *simRaft) install(m simMessage) {
	if m.prev.index > r.commit {
		if !r.has(m.prev) {
			r.log, r.base = nil, m.prev
		}
		r.snapshot, r.covers = m.snapshot, m.prev
		r.commit, r.applied = m.prev.index, m.prev.index
		r.w.nodes[r.id].restore()
	}
	r.send(simMessage{kind: simAppended, to: m.from, ok: true, match: m.prev.index})
}

func (r *simRaft) receiveAppended(m simMessage) {
	if !r.leading || m.term != r.term {
		return
	}
	if !m.ok {
		r.next[m.from] = max(r.match[m.from], min(r.next[m.from]-1, m.match)) + 1
		return
	}
	r.match[m.from] = max(r.match[m.from], m.match)
	r.next[m.from] = max(r.next[m.from], r.match[m.from]+1)
	r.advance()
}

// advance commits what a majority has, if it ends in this term.
func (r *simRaft) advance() {
	r.match[r.id] = r.last()
	sorted := slices.Sorted(slices.Values(r.match))
	index := sorted[(len(sorted)-1)/2]
	if index > r.commit && r.termAt(index) == r.term {
		r.commitTo(index)
	}
}

func (r *simRaft) commitTo(index uint64) {
	for i := r.commit + 1; i <= index; i++ {
		r.w.check.committed(i, r.log[i-r.base.index-1])
	}
	r.commit = max(r.commit, index)
}

// apply gives the state machine the next entries, at most n.
func (r *simRaft) apply(n int) {
	var logs []*raft.Log
	for ; n > 0 && r.applied < r.commit; n-- {
		r.applied++
		e := r.log[r.applied-r.base.index-1]
		r.w.check.apply(r.applied, e)
		if e.kind != raft.LogNoop {
			logs = append(logs, &raft.Log{Index: r.applied, Term: e.term, Type: e.kind, Data: e.data})
		}
	}
	if len(logs) == 0 {
		return
	}
	node := r.w.nodes[r.id]
	outcomes := node.real.fsm.ApplyBatch(logs)
	r.w.check.state(node)
	for i, l := range logs {
		r.resolve(l.Index, outcomes[i], nil)
	}
}

// compact has the log begin later: at most what the snapshot covers goes.
func (r *simRaft) compact(keep uint64) {
	if to := r.covers.index - min(keep, r.covers.index); to > r.base.index {
		term := r.termAt(to)
		r.log = slices.Clone(r.log[to-r.base.index:])
		r.base = simMark{to, term}
	}
}

// resolve tells whoever waits for the entry, if anybody does.
func (r *simRaft) resolve(index uint64, response any, err error) {
	if f := r.futures[index]; f != nil {
		delete(r.futures, index)
		f.response, f.err = response, err
		close(f.done)
		r.w.settle()
	}
}

// What follows is the node's side: the methods of consensus.

func (r *simRaft) CurrentTerm() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.term
}

func (r *simRaft) State() raft.RaftState {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.leading {
		return raft.Leader
	}
	return raft.Follower
}

func (r *simRaft) CommitIndex() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.commit
}

func (r *simRaft) LastIndex() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last()
}

func (r *simRaft) LeaderWithID() (raft.ServerAddress, raft.ServerID) {
	if r.leader < 0 {
		return "", ""
	}
	return raft.ServerAddress(simName(r.leader)), raft.ServerID(simName(r.leader))
}

func (r *simRaft) GetConfiguration() raft.ConfigurationFuture {
	return &simFuture{done: simClosed, servers: r.w.servers()}
}

func (r *simRaft) Apply(data []byte, _ time.Duration) raft.ApplyFuture {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.leading {
		return &simFuture{done: simClosed, err: raft.ErrNotLeader}
	}
	r.log = append(r.log, simEntry{term: r.term, kind: raft.LogCommand, data: data, proposed: time.Now()})
	f := &simFuture{done: make(chan struct{}), index: r.last()}
	r.futures[f.index] = f
	return f
}

// A simFuture is any of raft's futures.
type simFuture struct {
	done     chan struct{} // closed when the others are set
	index    uint64
	response any
	err      error
	servers  raft.Configuration
}

var simClosed = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

func (f *simFuture) Error() error {
	<-f.done
	return f.err
}
func (f *simFuture) Index() uint64                     { return f.index }
func (f *simFuture) Response() any                     { return f.response }
func (f *simFuture) Configuration() raft.Configuration { return f.servers }

func simName(id int) string { return fmt.Sprint("n", id) }

func simID(name string) int { return int(name[1] - '0') }

var errSimCut = errors.New("the connection ended")
