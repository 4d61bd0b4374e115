package cluster

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/stateraft/stateraft/cluster/clusterpb"
)

// Beyond clockWarn a node's wall clock is warned about, and below clockCalm no
// longer: an offset at the edge is told once. Nothing but the instants that
// users see depends on wall clocks: see clock.go.
const (
	clockWarn = 500 * time.Millisecond
	clockCalm = 400 * time.Millisecond
)

// clockAsks is how often a measurement asks: the answer with the shortest
// round trip counts, for it is wrong by at most half of that.
const clockAsks = 3

// A clockOffset is this node's wall clock minus the leader's, as last measured.
type clockOffset struct {
	micros atomic.Int64
	warned bool // of measureOffset alone
}

func (o *clockOffset) get() time.Duration { return time.Duration(o.micros.Load()) * time.Microsecond }

// measureOffset measures the wall clock against each leader's as soon as there
// is one, and then every ClockCheck, give or take a fifth.
func (n *Node) measureOffset(ctx context.Context) {
	for {
		to, err := n.leaders.wait(ctx)
		if err != nil {
			return
		}
		if d, ok := n.offsetFrom(ctx, to); ok {
			n.noteOffset(d, to)
		}
		d := n.cfg.Tuning.ClockCheck
		n.leaders.pause(ctx, d-d/5+rand.N(2*d/5))
		if ctx.Err() != nil {
			return
		}
	}
}

func (n *Node) noteOffset(d time.Duration, to leader) {
	n.offset.micros.Store(d.Microseconds())
	switch was := n.offset.warned; {
	case !was && d.Abs() > clockWarn:
		n.offset.warned = true
		n.cfg.Logger.Warn("this node's wall clock and the leader's differ", "by", d, "leader", to.id)
	case was && d.Abs() < clockCalm:
		n.offset.warned = false
		n.cfg.Logger.Info("this node's wall clock and the leader's agree again", "by", d, "leader", to.id)
	}
}

// offsetFrom returns this node's wall clock minus the leader's, if that
// answers.
func (n *Node) offsetFrom(ctx context.Context, to leader) (offset time.Duration, ok bool) {
	if to.id == n.id.nodeID() {
		return 0, true
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var best time.Duration
	for range clockAsks {
		asked := time.Now()
		resp, err := n.call(ctx, to.at(), &clusterpb.Request{Clock: &clusterpb.Clock{}})
		if took := time.Since(asked); err == nil && resp.Code == clusterpb.Response_OK && (!ok || took < best) {
			offset, best, ok = -n.clock.ahead(resp.Wall, took), took, true
		}
	}
	return offset, ok
}

// ahead returns how far another node's wall clock is ahead of this one's. theirs,
// in µs, was told in an answer that came just now and took took: it is taken to
// be from the middle of that.
func (c *clusterClock) ahead(theirs int64, took time.Duration) time.Duration {
	return time.UnixMicro(theirs).Sub(c.wall().Add(-took / 2))
}
