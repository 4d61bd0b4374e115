package node

import (
	"context"
	"fmt"
	"time"

	"github.com/stateraft/stateraft/client"
)

const (
	hashPause = 500 * time.Millisecond
	hashLimit = 100_000 // indexes remembered; then all are forgotten
)

// WatchHashes looks at the nodes' states until ctx ends, tells of each index at
// which two differ, at once, and returns how often two were the same.
func (c *Cluster) WatchHashes(ctx context.Context, tell func(string)) (compared int) {
	seen := sights{byIndex: map[uint64]sight{}}
	told := 0
	for {
		for _, n := range c.Nodes {
			if st, err := n.Status(ctx); err == nil {
				seen.take(st)
			}
		}
		for ; told < len(seen.divergences); told++ {
			tell(seen.divergences[told])
		}
		select {
		case <-ctx.Done():
			return seen.compared
		case <-time.After(hashPause):
		}
	}
}

type sight struct {
	node, hash string
	differed   bool // from another; that was noted
}

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
			s.byIndex[m.AppliedIndex] = sight{node: m.Name, hash: m.StateHash}
		case before.hash == m.StateHash && before.node != m.Name:
			s.compared++
		case before.hash != m.StateHash && !before.differed:
			before.differed = true
			s.byIndex[m.AppliedIndex] = before
			s.divergences = append(s.divergences, fmt.Sprintf("at index %d %s has state %s, %s has %s", m.AppliedIndex, before.node, before.hash, m.Name, m.StateHash))
		}
	}
}
