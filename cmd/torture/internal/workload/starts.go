package workload

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
	"github.com/stateraft/stateraft/cmd/torture/internal/wire"
)

const (
	// startPause is about how long passes until another stream begins somewhere
	// in the history.
	startPause = 150 * time.Millisecond
	// startSpread is how far from the oldest change such a stream may begin: others
	// move it meanwhile.
	startSpread = 100
	// startStay bounds how long such a stream is read, startEvents how much.
	startStay   = 400 * time.Millisecond
	startEvents = 30
	// edgeTries is how many streams begin, one after the other, before a change that
	// is about to be forgotten, and edgeSpread how far from the oldest one it may
	// be: that is about how far a flood of changes gets meanwhile.
	edgeTries  = 16
	edgeSpread = 1000
	// silentStarts is how many of those that told nothing are begun again in the
	// end, and must tell all from there.
	silentStarts = 10
)

// starts are streams of the workflows of the workload stream that begin anywhere
// in the history, at its end, and beyond, and are left soon.
type starts struct {
	env    Env
	follow *followers
	silent []start // those that told nothing

	mu       sync.Mutex // guards the fields below
	revision uint64     // of the last answer
	sets     []set      // that were answered, but those that nodes need not remember
}

// start is where a stream begins.
type start struct {
	node *wire.Node
	feed wire.Feed
	from uint64
}

// set is where a key was set.
type set struct {
	workflow string
	revision uint64
}

// saw takes notice of an answer.
func (w *starts) saw(op history.Op) {
	if op.Revision == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.revision = op.Revision
	if op.Kind == history.Set {
		w.sets = append(w.sets, set{op.Workflow, op.Revision})
	}
}

// run begins streams, one after the other, until ctx ends.
func (w *starts) run(ctx context.Context) {
	a := &actor{env: w.env, rng: w.env.rng("start")}
	for i := 0; ctx.Err() == nil; i++ {
		workflow := w.env.in(streamName(a.rng.IntN(streamWorkflows)))
		w.begin(fmt.Sprint("start ", i), start{a.node(), wire.Feed{Workflow: workflow}, w.from(a)}, startEvents)
		w.edge(ctx, a, fmt.Sprint("edge ", i))
		a.rest(ctx, 0, 2*startPause)
	}
}

// begin begins a stream, leaves it after so many events, and reports whether they
// were changes.
func (w *starts) begin(name string, s start, most int) bool {
	told, resynced := 0, false
	ended := make(chan struct{})
	w.follow.add(name+" of "+s.feed.Workflow, s.feed, s.from, func(ctx context.Context, take func(history.Event)) {
		defer close(ended)
		ctx, leave := context.WithTimeout(ctx, startStay)
		defer leave()
		cursor := s.from
		w.env.listen(ctx, s.node, s.feed, &cursor, func(e history.Event) {
			take(e)
			resynced = resynced || e.Type == "resync"
			if told++; told == most {
				leave()
			}
		})
	})
	<-ended
	if newest, _ := w.reach(); told == 0 && len(w.silent) < silentStarts && s.from <= newest {
		w.silent = append(w.silent, s)
	}
	return told > 0 && !resynced
}

// reach is the newest revision that was told, and the oldest whose changes since
// nodes must remember.
func (w *starts) reach() (newest, oldest uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.revision, w.revision - min(w.revision, w.env.Record.Remembered())
}

// from draws where a stream begins: anywhere, at the oldest change that nodes
// must remember or a little before or behind it, at the newest, or in the future.
func (w *starts) from(a *actor) uint64 {
	newest, oldest := w.reach()
	switch a.rng.IntN(6) {
	case 0:
		return oldest + a.rng.Uint64N(newest-oldest+1)
	case 1:
		return newest
	case 2:
		return newest + 1_000_000
	}
	return max(oldest+a.rng.Uint64N(2*startSpread), startSpread) - startSpread
}

// edge begins streams right before a change while nodes are about to forget it,
// one after the other, until one tells all keys: those before must tell it.
func (w *starts) edge(ctx context.Context, a *actor, name string) {
	s, ok := w.aboutToGo(a)
	for i := 0; ok && i < edgeTries && ctx.Err() == nil; i++ {
		from := start{a.node(), wire.Feed{Workflow: s.workflow}, s.revision - 1}
		ok = w.begin(fmt.Sprint(name, ".", i), from, 1)
	}
}

// aboutToGo draws a change that nodes need not remember for long any more. There
// is none while they must remember everything.
func (w *starts) aboutToGo(a *actor) (set, bool) {
	_, oldest := w.reach()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sets = slices.DeleteFunc(w.sets, func(s set) bool { return s.revision <= oldest })
	near := oldest + a.rng.Uint64N(edgeSpread)
	i := slices.IndexFunc(w.sets, func(s set) bool { return s.revision > near })
	if oldest == 0 || i < 0 {
		return set{}, false
	}
	return w.sets[i], true
}

// again begins those that told nothing again, to be read to the end. Nobody writes
// any more.
func (w *starts) again() {
	for _, s := range w.silent {
		w.follow.staying(s.node, s.feed, s.from)
	}
}
