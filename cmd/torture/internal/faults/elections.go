package faults

import (
	"context"
	"errors"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/node"
)

// termTimeout is how long nodes may take to tell their term.
const termTimeout = 5 * time.Second

// elections returns what counts elections from then on, as far as the nodes
// know. It counts none where nobody can say how many there should be: if no node
// tells its term, or a fault of the network has parted some, which hold elections
// until they have rejoined.
func (s *Scene) elections(ctx context.Context, nodes []*node.Node) func(context.Context) uint64 {
	term := func(ctx context.Context) (term uint64) {
		s.waitFor(ctx, termTimeout, func(ctx context.Context) (err error) { // else it stays 0
			term, err = termOf(ctx, nodes)
			return err
		})
		return term
	}
	begin, before := time.Now(), term(ctx)
	return func(ctx context.Context) uint64 {
		after := term(ctx)
		if before == 0 || after < before || s.Parting.since(begin, rejoinTimeout*time.Duration(s.Slack)) {
			return 0
		}
		return after - before
	}
}

// termOf is the highest term that any of the nodes knows.
func termOf(ctx context.Context, nodes []*node.Node) (term uint64, err error) {
	for _, n := range nodes {
		if st, err := n.Status(ctx); err == nil {
			term = max(term, st.Term)
		}
	}
	if term == 0 {
		return 0, errors.New("no node tells its term")
	}
	return term, nil
}
