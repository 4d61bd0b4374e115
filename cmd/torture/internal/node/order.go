package node

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/stateraft/stateraft/client"
)

const orderPause = 150 * time.Millisecond

// WatchOrder looks at the nodes until ctx ends, each beside the others so that
// one that does not answer hides nothing of them, and returns how often. It
// tells, at once, of what must not be: two leaders of one term; a term, a commit
// index or an applied index that goes back in the life of a process; and, if nobody
// changes what nodes have on their disks, a term that a process has seen and the
// node's next one has not.
func (c *Cluster) WatchOrder(ctx context.Context, keepDisks bool, tell func(string)) (looked int) {
	o := order{keepDisks: keepDisks, leaders: map[uint64]string{}, last: map[string]look{}}
	var mu sync.Mutex // guards o
	var wg sync.WaitGroup
	for _, n := range c.Nodes {
		wg.Go(func() {
			n.watch(ctx, func(process int, st client.ClusterStatus) {
				mu.Lock()
				defer mu.Unlock()
				told := len(o.broken)
				o.take(n.Name, process, st)
				for _, broken := range o.broken[told:] {
					tell(broken)
				}
			})
		})
	}
	wg.Wait()
	return o.looked
}

// watch hands over what the node says of itself, and the process that says it,
// until ctx ends.
func (n *Node) watch(ctx context.Context, take func(process int, st client.ClusterStatus)) {
	for {
		before, _ := n.pid()
		st, err := n.Status(ctx)
		if after, gone := n.pid(); err == nil && gone == nil && before == after {
			take(after, st)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(orderPause):
		}
	}
}

// look is what one node said of itself.
type look struct {
	process         int
	term            uint64
	leader          string
	commit, applied uint64
}

type order struct {
	keepDisks bool // a node's next process finds what the last one has left

	leaders map[uint64]string // by term
	last    map[string]look   // by node
	looked  int
	broken  []string
}

// take compares what a node says with what it and others said before.
func (o *order) take(name string, process int, st client.ClusterStatus) {
	now := look{process: process, term: st.Term, leader: st.Leader}
	for _, m := range st.Nodes {
		if m.Name == name {
			now.commit, now.applied = m.CommitIndex, m.AppliedIndex
		}
	}
	o.looked++
	if now.term == 0 {
		return // it did not say
	}
	before, known := o.last[name]
	o.last[name] = now
	if known && before.process != now.process {
		o.restarted(name, before, now)
	}
	if !known || before.process != now.process {
		return
	}
	for _, of := range []struct {
		what        string
		before, now uint64
	}{{"term", before.term, now.term}, {"commit index", before.commit, now.commit}, {"applied index", before.applied, now.applied}} {
		if of.now < of.before && of.now > 0 { // 0: it did not say
			o.fail("the %s of %s went back from %d to %d", of.what, name, of.before, of.now)
		}
	}
	// A node looks at the leader and at its term one after the other. Between two
	// looks at one term the leader was that of the term.
	if before.term != now.term || before.leader != now.leader || now.leader == "" {
		return
	}
	if other, led := o.leaders[now.term]; led && other != now.leader {
		o.fail("term %d has two leaders, %s and %s", now.term, other, now.leader)
	}
	o.leaders[now.term] = now.leader
}

// restarted compares what two processes of a node say. A term is on the disk before
// anybody sees it: a node that forgot it may vote in it again.
func (o *order) restarted(name string, before, now look) {
	if o.keepDisks && now.term < before.term {
		o.fail("the term of %s was %d before it was restarted, and is %d", name, before.term, now.term)
	}
}

func (o *order) fail(format string, args ...any) {
	o.broken = append(o.broken, fmt.Sprintf(format, args...))
}
