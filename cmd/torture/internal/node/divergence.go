package node

import (
	"context"
	"fmt"
	"time"

	"github.com/stateraft/stateraft/client"
)

const (
	hashPause       = 500 * time.Millisecond
	hashLimit       = 100_000 // indexes remembered; then all are forgotten
	divergenceLimit = 10
)

// WatchHashes looks at the nodes' states until ctx ends and returns what it saw
// of two at the same index: how often they were the same, and the first times
// that they differed.
func (c *Cluster) WatchHashes(ctx context.Context) (compared int, divergences []string) {
	seen := sights{byIndex: map[uint64]sight{}}
	for {
		for _, n := range c.Nodes {
			if st, err := n.Status(ctx); err == nil {
				seen.take(st)
			}
		}
		select {
		case <-ctx.Done():
			return seen.compared, seen.divergences
		case <-time.After(hashPause):
		}
	}
}

type sight struct{ node, hash string }

type sights struct {
	byIndex     map[uint64]sight
	compared    int
	divergences []string
}

func (s *sights) take(st client.ClusterStatus) {
	if len(s.byIndex) >= hashLimit {
		clear(s.byIndex)
	}
	for _, m := range st.Nodes {
		before, known := s.byIndex[m.AppliedIndex]
		switch {
		case m.StateHash == "":
		case !known:
			s.byIndex[m.AppliedIndex] = sight{m.Name, m.StateHash}
		case before.hash == m.StateHash && before.node != m.Name:
			s.compared++
		case before.hash != m.StateHash && len(s.divergences) < divergenceLimit:
			s.divergences = append(s.divergences, fmt.Sprintf("at index %d %s has state %s, %s has %s", m.AppliedIndex, before.node, before.hash, m.Name, m.StateHash))
		}
	}
}
