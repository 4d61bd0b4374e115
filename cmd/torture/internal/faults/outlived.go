package faults

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/node"
)

// electTimeout is how long a majority may take to serve without the others. A
// leader's host that is lost is made up for within 0.7 s where the nodes have the
// machine for themselves (docs/operations.md).
const electTimeout = 5 * time.Second

// outlived has the end of a fault wait until a majority takes sets meanwhile, of
// nodes that can do without the others. If one of the others led, these must have
// elected another. Now and then nothing is waited for: a fault that is over
// before the election is one of its own. Nor is it beside another fault, which
// may hurt the majority, or where there is none.
func (s *Scene) outlived(ctx context.Context, h Hurt, nodes []*node.Node) Hurt {
	if s.Rand.IntN(4) == 0 {
		return h
	}
	return s.outlive(ctx, h, nodes, takeSets)
}

// outlive is outlived always, with what asks whether so many of the nodes serve.
func (s *Scene) outlive(ctx context.Context, h Hurt, nodes []*node.Node, serve func(context.Context, []*node.Node, int) error) Hurt {
	majority := len(s.Cluster.Nodes)/2 + 1
	if !s.Alone || len(nodes) < majority {
		return h
	}
	begin, took, done := time.Now(), time.Duration(0), make(chan error, 1)
	go func() {
		err := s.waitFor(ctx, electTimeout, func(ctx context.Context) error { return serve(ctx, nodes, majority) })
		took = time.Since(begin).Round(time.Millisecond)
		done <- err
	}()
	undo := h.End
	h.End = func(ctx context.Context) error {
		err := s.broken(<-done)
		return errors.Join(err, undo(ctx))
	}
	h.Did = func() string { return fmt.Sprintf("during which a majority took sets after %v", took) }
	return h
}

// takeSets returns nil if so many of the nodes take sets.
func takeSets(ctx context.Context, nodes []*node.Node, enough int) error {
	failed := make(chan error, len(nodes))
	for _, n := range nodes {
		go func() { failed <- n.TakesSets(ctx) }()
	}
	var errs []error
	took := 0
	for range nodes {
		if err := <-failed; err != nil {
			errs = append(errs, err)
		} else if took++; took == enough {
			return nil
		}
	}
	return fmt.Errorf("only %d of %s take sets, want %d: %w", took, names(nodes), enough, errors.Join(errs...))
}
