package node

import (
	"testing"

	"github.com/stateraft/stateraft/client"
)

// Ensure an index at which nodes differ is told once, however often it is seen.
func TestDivergenceIsToldOnce(t *testing.T) {
	s := sights{byIndex: map[uint64]sight{}}
	for range 3 {
		s.take(client.ClusterStatus{Nodes: []client.ClusterNode{
			{Name: "n1", AppliedIndex: 7, StateHash: "a"}, {Name: "n2", AppliedIndex: 7, StateHash: "b"}, {Name: "n3", AppliedIndex: 7, StateHash: "c"},
		}})
	}
	s.take(client.ClusterStatus{Nodes: []client.ClusterNode{{Name: "n1", AppliedIndex: 8, StateHash: "a"}, {Name: "n2", AppliedIndex: 8, StateHash: "b"}}})
	if len(s.divergences) != 2 {
		t.Errorf("told %q", s.divergences)
	}
}
