package main

import (
	"context"
	"sync"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
	"github.com/stateraft/stateraft/cmd/torture/internal/node"
)

// mostSamples bounds those of a node in a run that takes as long as planned.
const mostSamples = 600

// sampler looks now and then at what the nodes use.
type sampler struct {
	samples []history.Sample
	starts  map[string]float64 // of each node's present process
	lives   map[string]int
}

// run looks until ctx ends.
func (s *sampler) run(ctx context.Context, t *tester) {
	pause := max(time.Second, t.config.duration/mostSamples)
	for ctx.Err() == nil {
		for _, n := range t.cluster.Nodes {
			s.look(ctx, n, t.now())
		}
		wait(ctx, pause)
	}
}

// look leaves out a node that does not answer.
func (s *sampler) look(ctx context.Context, n *node.Node, at time.Duration) {
	figures, err := n.Figures(ctx)
	if err != nil {
		return
	}
	if start := figures["process_start_time_seconds"]; start != s.starts[n.Name] {
		s.starts[n.Name] = start
		s.lives[n.Name]++
	}
	s.samples = append(s.samples, history.Sample{
		Node: n.Name, At: at, Life: s.lives[n.Name],
		Goroutines: int(figures["go_goroutines"]), Files: int(figures["process_open_fds"]),
		Resident: int64(figures["process_resident_memory_bytes"]), Disk: n.DiskBytes(),
	})
}

// sample begins to look, and returns the samples once ctx has ended and wg is
// done.
func (t *tester) sample(ctx context.Context, wg *sync.WaitGroup) *sampler {
	s := &sampler{starts: map[string]float64{}, lives: map[string]int{}}
	wg.Go(func() { s.run(ctx, t) })
	return s
}
