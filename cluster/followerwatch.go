package cluster

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// How long a follower may stand still, in ticks. They are counted, and not
// time, so that a leader that was paused does not blame its followers.
//
// A replication that works makes raft wait 10.24 s after many failures, and 5 s
// for an answer; so within wedgedTicks/2 it fails, or the follower moves.
const (
	stillTicks  = 5              // then its connections are cut, and again at twice and four times that
	wedgedTicks = 8 * stillTicks // then it is told of, and again as often as that
)

// A remedy is what a leader does about a follower that stands still.
type remedy int

const (
	wait    remedy = iota
	cut            // an RPC is under way: end its connection, which starts replication anew
	tell           // the follower or the way to it is at fault: only say so
	replace        // this leader is: let another lead
)

// A standstill counts how long a follower has answered heartbeats without
// taking an entry that it lacks.
type standstill struct {
	seen   progress // at the last tick
	end    uint64   // of the leader's log, then
	ticks  int
	failed uint64 // seen.failed in the middle of the count
}

// tick takes note of what the follower has shown, and of the log's end. A
// follower that moves, has everything, is silent or gets a snapshot does not
// stand still: it is slow, done, dead, or busy.
func (s *standstill) tick(p progress, end uint64) remedy {
	was := *s
	s.seen, s.end = p, end
	if p.matched != was.seen.matched || p.matched >= was.end || p.heard == was.seen.heard || p.installing > 0 {
		s.ticks = 0
		return wait
	}
	s.ticks++
	switch s.ticks % wedgedTicks {
	case 0:
		if p.failed == s.failed {
			return replace
		}
		return tell
	case wedgedTicks / 2:
		s.failed = p.failed
		return s.cut()
	case stillTicks, 2 * stillTicks:
		return s.cut()
	}
	return wait
}

func (s *standstill) cut() remedy {
	if s.seen.appending > 0 {
		return cut
	}
	return wait
}

// given reports whether all remedies have been tried.
func (s *standstill) given() bool { return s.ticks >= wedgedTicks }

// watched is what a leader makes of its followers: figures for the metrics.
type watched struct {
	still atomic.Int64 // followers that answer and have taken nothing for stillTicks or more
	loops atomic.Int64 // followers that are sent snapshots for ever
	cuts  atomic.Int64 // connections cut since the process started
}

// handOverRest is the least time between two leaderships that this node gives
// up for a follower's sake: if that did not help, it does not help.
const handOverRest = 10 * time.Minute

// A followerWatch looks for followers that answer the leader and yet get
// nowhere, because replication to them is wedged. The library's heartbeats hide
// that: they go other ways than entries do.
type followerWatch struct {
	n     *Node
	term  uint64
	still map[raft.ServerID]*standstill
	loops map[raft.ServerID]bool
}

// watchFollowers watches until ctx, the term's, ends.
func (n *Node) watchFollowers(ctx context.Context, term uint64) {
	w := &followerWatch{n: n, term: term, still: make(map[raft.ServerID]*standstill), loops: make(map[raft.ServerID]bool)}
	defer n.watched.still.Store(0)
	defer n.watched.loops.Store(0)
	ticker := time.NewTicker(n.cfg.Tuning.WatchTick)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			w.tick(ctx)
			ticker.Reset(n.cfg.Tuning.WatchTick) // a look that was late is not followed by one too soon to hear anything
		case <-ctx.Done():
			return
		}
	}
}

// tick looks at every follower of the configuration, and forgets others.
func (w *followerWatch) tick(ctx context.Context) {
	end := w.n.raft.LastIndex()
	still, loops := make(map[raft.ServerID]*standstill), make(map[raft.ServerID]bool)
	remedies := make(map[raft.ServerID]remedy)
	for _, s := range w.n.servers() {
		if string(s.ID) == w.n.id.nodeID() {
			continue
		}
		p := w.n.rafts.notices.progressOf(s.ID, w.term)
		if still[s.ID] = w.still[s.ID]; still[s.ID] == nil {
			still[s.ID] = new(standstill)
		}
		if p.loops() {
			loops[s.ID] = true
			w.tellLoop(s, p)
		}
		remedies[s.ID] = still[s.ID].tick(p, end)
	}
	w.still, w.loops = still, loops
	w.count()
	for id, r := range remedies {
		w.act(ctx, id, r)
	}
}

func (w *followerWatch) count() {
	standing := 0
	for _, s := range w.still {
		if s.ticks >= stillTicks {
			standing++
		}
	}
	w.n.watched.still.Store(int64(standing))
	w.n.watched.loops.Store(int64(len(w.loops)))
}

// tellLoop says once that a follower is sent snapshots for ever. Its log
// conflicts with them, which the follower itself finds and ends by a restart:
// see checkInstalled. Or this leader cuts its log faster than the follower
// takes a snapshot, and then another leader would too.
func (w *followerWatch) tellLoop(s raft.Server, p progress) {
	if !w.loops[s.ID] {
		w.n.cfg.Logger.Error("a follower takes snapshots and then refuses the entries that follow; restart it",
			"follower", s.ID, "snapshots", p.installs, "end", p.installedEnd)
	}
}

func (w *followerWatch) act(ctx context.Context, id raft.ServerID, r remedy) {
	still := w.still[id]
	log := w.n.cfg.Logger.With("follower", id, "has", still.seen.matched, "end", still.end, "ticks", still.ticks, "failed", still.seen.failed)
	switch r {
	case cut:
		log.Info("a follower answers and takes no entries; cutting its connections")
		w.n.watched.cuts.Add(1)
		w.n.transport.severRaft(string(id))
	case tell:
		log.Warn("a follower answers and takes no entries: it, or the way to it, is at fault")
	case replace:
		log.Warn("a follower answers and takes no entries, though none failed: this leader's replication is wedged")
		w.n.stepAside(ctx, id, w.servesMajority())
	}
}

// servesMajority reports whether enough voters take entries to commit any.
func (w *followerWatch) servesMajority() bool {
	voters, served := w.n.voters(), 0
	for _, v := range voters {
		if s := w.still[v.ID]; s == nil || !s.given() {
			served++
		}
	}
	return served > len(voters)/2
}

// stepAside lets a voter that has the whole log lead, for the wedge is in this
// node's memory. Without one it goes on, unless it can commit nothing any more:
// then it ends, so that the others elect.
func (n *Node) stepAside(ctx context.Context, follower raft.ServerID, serves bool) {
	if serves && time.Since(n.steppedAside) < handOverRest {
		return
	}
	n.steppedAside = time.Now()
	err := n.handOver(ctx, "")
	switch {
	case err == nil || ctx.Err() != nil:
	case serves:
		n.cfg.Logger.Warn("leadership could not be handed over", "err", err)
	default:
		n.fatal(fmt.Errorf("replication to %s and others is wedged and nobody can take over: %w", follower, err))
	}
}
