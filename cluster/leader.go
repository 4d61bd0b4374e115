package cluster

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/stateraft/stateraft/cluster/clusterpb"
	"github.com/stateraft/stateraft/fsm"
	"github.com/stateraft/stateraft/fsm/fsmpb"
)

// A leadTerm is a term that this node leads, once its first entry is applied.
type leadTerm struct {
	number  uint64
	first   uint64 // index of its first entry of ours
	applied signal // after every batch of entries
}

// A signal wakes one goroutine; signals that come together are one.
type signal chan struct{}

func (s signal) signal() {
	select {
	case s <- struct{}{}:
	default:
	}
}

// leadership drains Raft's notifications, which block Raft while unread, and
// keeps the newest and their number.
type leadership struct {
	notify  chan bool
	changed signal

	mu      sync.Mutex
	leading bool
	turns   int
}

func newLeadership() *leadership {
	return &leadership{notify: make(chan bool, 16), changed: make(signal, 1)}
}

func (l *leadership) drain(ctx context.Context) {
	for {
		select {
		case leading := <-l.notify:
			l.mu.Lock()
			l.leading, l.turns = leading, l.turns+1
			l.mu.Unlock()
			l.changed.signal()
		case <-ctx.Done():
			return
		}
	}
}

func (l *leadership) get() (leading bool, turns int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.leading, l.turns
}

// runLeadership leads whenever Raft says so. Everything that a leader does
// lives in lead, under a context that ends with the leadership.
func (n *Node) runLeadership(ctx context.Context) {
	var wg sync.WaitGroup
	end, turn := func() {}, 0
	for {
		if leading, turns := n.leadership.get(); turns != turn {
			turn = turns
			end()
			wg.Wait()
			if leading {
				var term context.Context
				term, end = context.WithCancel(ctx)
				wg.Go(func() { n.lead(term) })
			}
		}
		select {
		case <-n.leadership.changed:
		case <-ctx.Done():
			end()
			wg.Wait()
			return
		}
	}
}

// lead is one leadership of this node: it agrees on the time, puts its first
// entry into the log, and then admits writes, confirms reads, ends what is due
// and looks after the members, until ctx ends.
func (n *Node) lead(ctx context.Context) {
	n.committer.lead()
	defer n.committer.follow()
	var duties sync.WaitGroup
	defer duties.Wait()
	duties.Go(func() { n.watchWrites(ctx) })
	term := n.raft.CurrentTerm()
	if n.raft.State() != raft.Leader || n.raft.CurrentTerm() != term {
		return // and it was another term
	}
	n.observeLog()
	_, asked := n.clock.restsOn()
	base, err := n.agreeOnTime(ctx)
	if err != nil {
		return
	}
	n.clock.lead(base, asked, term)
	defer n.clock.follow()
	t := n.beginTerm(ctx)
	if t == nil {
		return
	}
	n.term.Store(t)
	defer n.term.Store(nil)
	n.committer.resume()
	n.cfg.Logger.Info("leading", "term", t.number)
	defer n.cfg.Logger.Info("no longer leading", "term", t.number)

	duties.Go(func() { n.driveExpiry(ctx, t) })
	duties.Go(func() { n.correctOffset(ctx) })
	duties.Go(func() { n.reconcile(ctx) })
	duties.Go(func() { n.watchDisks(ctx) })
	duties.Go(func() { n.watchStaging(ctx) })
	duties.Go(func() { n.watchFollowers(ctx, t) })
	duties.Go(func() { n.handOverIfDraining(ctx) })
	<-ctx.Done()
	duties.Wait() // before the term's clock ends
}

// beginTerm puts the first entry of the term into the log; nil if ctx ends
// before it is applied. Its term is taken from the entry itself: by the time
// Raft is asked, it may be in another.
func (n *Node) beginTerm(ctx context.Context) *leadTerm {
	for ctx.Err() == nil {
		res := n.committer.first(&fsmpb.Entry{LeaderStart: n.leaderStart()})
		if res.err == nil {
			return &leadTerm{number: res.term, first: res.index, applied: make(signal, 1)}
		}
		sleep(ctx, firstPause)
	}
	return nil
}

func (n *Node) leaderStart() *fsmpb.LeaderStart {
	return &fsmpb.LeaderStart{
		WallOffset: n.clock.wallOffset().Microseconds(),
		Settings:   n.settings(),
	}
}

// observeLog takes note of the last stamp in the log, which may not be applied
// yet: the clock must not rest on an earlier term than what was promised does.
func (n *Node) observeLog() {
	applied := n.fsm.applied.get()
	for index := n.raft.LastIndex(); index > applied; index-- {
		var l raft.Log
		if n.readLog(index, &l) != nil {
			return // applied and compacted meanwhile
		}
		if l.Type != raft.LogCommand {
			continue
		}
		if stamp, err := fsm.Stamp(l.Data); err == nil {
			n.clock.observe(stamp, n.clock.cameAt(index, l.Term), l.Term, index > n.logEnd)
		}
		return
	}
}

// agreeOnTime returns the cluster time to go on from. A live estimate of this
// node's own is good; one that rests on a snapshot, which is as old as it may be,
// is safe, and others may improve it. Without one a majority of voters is asked: of
// the live estimates that rest on the latest term the greatest counts, if it is not
// older than what this node has; and if all machines have booted since, the
// smallest that a wall clock gives, so that one that is ahead can end nothing early.
func (n *Node) agreeOnTime(ctx context.Context) (int64, error) {
	term, _ := n.clock.restsOn()
	if now, live := n.clock.now(); live && term != 0 {
		return now, nil
	}
	for ctx.Err() == nil {
		if base, ok := n.askTime(ctx); ok {
			return base, nil
		}
		sleep(ctx, maxPause)
	}
	return 0, context.Cause(ctx)
}

func (n *Node) askTime(ctx context.Context) (base int64, ok bool) {
	voters := n.voters()
	answers := n.askAll(ctx, voters, &clusterpb.Request{Clock: &clusterpb.Clock{}})
	own := n.answerClock()
	if own.Live {
		return improve(own, answers), true
	}
	if answers = append(answers, own); len(answers) <= len(voters)/2 {
		return 0, false
	}
	for _, a := range answers {
		a.Live = a.Live && !outdated(a, own) // it is a guess then, like that of a wall clock
	}
	best := slices.MaxFunc(answers, func(a, b *clusterpb.Response) int {
		switch {
		case a.Live != b.Live && a.Live:
			return 1
		case a.Live != b.Live:
			return -1
		case a.Live:
			return cmp.Or(cmp.Compare(a.Term, b.Term), cmp.Compare(a.Estimate, b.Estimate))
		}
		return cmp.Compare(b.Estimate, a.Estimate)
	})
	return best.Estimate, true
}

// improve returns the greatest live estimate that is not older than own.
func improve(own *clusterpb.Response, others []*clusterpb.Response) (best int64) {
	best = own.Estimate
	for _, a := range others {
		if a.Live && own.Index > 0 && !outdated(a, own) {
			best = max(best, a.Estimate)
		}
	}
	return best
}

// outdated reports whether a may not account for what own does: it may be ahead of
// what has been promised since.
func outdated(a, own *clusterpb.Response) bool {
	if own.Term == 0 {
		return a.Index < own.Index
	}
	return a.Term < own.Term
}

// wallTolerance is how far the instants shown to users may be from the
// leader's wall clock before the offset is corrected.
const wallTolerance = 500 * time.Millisecond

// correctOffset keeps shown instants close to the leader's wall clock.
func (n *Node) correctOffset(ctx context.Context) {
	for {
		sleep(ctx, time.Second)
		if ctx.Err() != nil {
			return
		}
		if d := n.clock.wallOffset() - n.state.WallOffset(); d.Abs() >= wallTolerance {
			n.cfg.Logger.Warn("wall clock moved against cluster time", "by", d)
			_, _ = n.committer.commit(ctx, &fsmpb.Entry{LeaderStart: n.leaderStart()}) // looked at again in a second
		}
	}
}

// voters returns the servers that may vote in the latest configuration.
func (n *Node) voters() []raft.Server { return votersOf(n.servers()) }

func votersOf(servers []raft.Server) []raft.Server {
	var voters []raft.Server
	for _, s := range servers {
		if s.Suffrage == raft.Voter {
			voters = append(voters, s)
		}
	}
	return voters
}

// servers returns all servers of the latest configuration.
func (n *Node) servers() []raft.Server {
	f := n.raft.GetConfiguration()
	if f.Error() != nil {
		return nil
	}
	return f.Configuration().Servers
}

// askTimeout bounds a question to other nodes that a leader can do without.
const askTimeout = 500 * time.Millisecond

// askAll asks every server but this node and returns the answers that came in
// time.
func (n *Node) askAll(ctx context.Context, servers []raft.Server, req *clusterpb.Request) []*clusterpb.Response {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var (
		mu      sync.Mutex
		answers []*clusterpb.Response
		wg      sync.WaitGroup
	)
	for _, s := range servers {
		if string(s.ID) == n.id.nodeID() {
			continue
		}
		wg.Go(func() {
			resp, err := n.call(ctx, n.gossip.locate(s.ID, s.Address), req)
			if err != nil || resp.Code != clusterpb.Response_OK {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			answers = append(answers, resp)
		})
	}
	wg.Wait()
	return answers
}

// statusOf asks one server but this node; nil if it does not answer in time.
func (n *Node) statusOf(ctx context.Context, s raft.Server) *clusterpb.NodeStatus {
	for _, a := range n.askAll(ctx, []raft.Server{s}, &clusterpb.Request{Status: &clusterpb.Status{}}) {
		return a.Status
	}
	return nil
}
