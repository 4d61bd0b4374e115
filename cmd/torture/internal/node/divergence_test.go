package node

import (
	"testing"

	"github.com/stateraft/stateraft/client"
)

func TestDivergence(t *testing.T) {
	at := func(name string, index uint64, hash string) client.ClusterNode {
		return client.ClusterNode{Name: name, AppliedIndex: index, StateHash: hash}
	}
	for _, tt := range []struct {
		name                  string
		nodes                 []client.ClusterNode
		compared, divergences int
	}{
		{"equal", []client.ClusterNode{at("n1", 7, "a"), at("n2", 7, "a")}, 1, 0},
		{"at different indexes", []client.ClusterNode{at("n1", 7, "a"), at("n2", 8, "b")}, 0, 0},
		{"the same node again", []client.ClusterNode{at("n1", 7, "a"), at("n1", 7, "a")}, 0, 0},
		{"a node that did not answer", []client.ClusterNode{at("n1", 0, ""), at("n2", 0, "")}, 0, 0},
		{"different", []client.ClusterNode{at("n1", 7, "a"), at("n2", 7, "b")}, 0, 1},
		{"a restarted node in another state", []client.ClusterNode{at("n1", 7, "a"), at("n1", 7, "b")}, 0, 1},
	} {
		s := sights{byIndex: map[uint64]sight{}}
		s.take(client.ClusterStatus{Nodes: tt.nodes})
		if s.compared != tt.compared || len(s.divergences) != tt.divergences {
			t.Errorf("%s: compared %d, divergences %q", tt.name, s.compared, s.divergences)
		}
	}
}
