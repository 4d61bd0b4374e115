package node

import (
	"context"
	"slices"
	"sync"
	"time"
)

// ReadyFor is how long an answer that a node is ready counts for those who
// choose a node by it.
const ReadyFor = 100 * time.Millisecond

// Span is a time in which a node counted as ready: from an answer that said so
// until ReadyFor after the last one.
type Span struct {
	Node     string
	From, To time.Time
}

// Readiness remembers when nodes said that they were ready.
type Readiness struct {
	mu    sync.Mutex // guards spans
	spans map[string][]Span
}

// Watch asks the nodes every 20 ms, until ctx ends.
func (r *Readiness) Watch(ctx context.Context, nodes []*Node) {
	var wg sync.WaitGroup
	for _, n := range nodes {
		wg.Go(func() { r.watch(ctx, n) })
	}
	wg.Wait()
}

func (r *Readiness) watch(ctx context.Context, n *Node) {
	tick := time.NewTicker(readyPause)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if n.Ready(ctx) == nil {
			r.answered(n.Name, time.Now())
		}
	}
}

// answered takes note of an answer that the node is ready.
func (r *Readiness) answered(node string, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.spans == nil {
		r.spans = map[string][]Span{}
	}
	spans := r.spans[node]
	if last := len(spans) - 1; last >= 0 && !at.After(spans[last].To) {
		spans[last].To = at.Add(ReadyFor)
		return
	}
	r.spans[node] = append(spans, Span{node, at, at.Add(ReadyFor)})
}

// Spans returns what is known by now, of each node in the order of time.
func (r *Readiness) Spans() (all []Span) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, spans := range r.spans {
		all = slices.Concat(all, spans)
	}
	return all
}
