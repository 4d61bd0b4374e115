package node

import (
	"testing"

	"github.com/stateraft/stateraft/client"
)

func TestOrder(t *testing.T) {
	type seen struct {
		node            string
		process         int
		term            uint64
		leader          string
		commit, applied uint64
	}
	for _, tt := range []struct {
		name      string
		keepDisks bool
		seen      []seen
		wrong     bool
	}{
		{"goes on", false, []seen{{"n1", 1, 2, "n1", 5, 5}, {"n1", 1, 2, "n1", 7, 6}, {"n1", 1, 3, "n2", 8, 8}}, false},
		{"another process", false, []seen{{"n1", 1, 2, "n1", 5, 5}, {"n1", 2, 2, "n1", 3, 3}}, false},
		{"another process, whose disk was changed", false, []seen{{"n1", 1, 5, "n1", 5, 5}, {"n1", 2, 4, "n1", 5, 5}}, false},
		{"another process, which has yet to begin", true, []seen{{"n1", 1, 5, "n1", 5, 5}, {"n1", 2, 0, "", 0, 0}, {"n1", 2, 5, "n1", 5, 5}}, false},
		{"another process, which forgot all terms", true, []seen{{"n1", 1, 5, "n1", 5, 5}, {"n1", 2, 0, "", 0, 0}, {"n1", 2, 3, "n1", 5, 5}}, true},
		{"another process, later", true, []seen{{"n1", 1, 5, "n1", 5, 5}, {"n1", 2, 6, "n1", 3, 3}}, false},
		{"another process, which forgot the term", true, []seen{{"n1", 1, 5, "n1", 5, 5}, {"n1", 2, 4, "n1", 5, 5}}, true},
		{"no answer of its own", false, []seen{{"n1", 1, 2, "n1", 5, 5}, {"n1", 1, 2, "n1", 0, 0}}, false},
		{"one that has not seen the new leader's term", false, []seen{{"n1", 1, 2, "n1", 5, 5}, {"n1", 1, 3, "n1", 5, 5}, {"n2", 9, 3, "n2", 5, 5}, {"n2", 9, 3, "n2", 5, 5}}, false},
		{"term", false, []seen{{"n1", 1, 2, "n1", 5, 5}, {"n1", 1, 1, "n1", 5, 5}}, true},
		{"commit index", false, []seen{{"n1", 1, 2, "n1", 5, 5}, {"n1", 1, 2, "n1", 4, 5}}, true},
		{"applied index", false, []seen{{"n1", 1, 2, "n1", 5, 5}, {"n1", 1, 2, "n1", 5, 4}}, true},
		{"two leaders", false, []seen{{"n1", 1, 2, "n1", 5, 5}, {"n1", 1, 2, "n1", 5, 5}, {"n2", 9, 2, "n2", 5, 5}, {"n2", 9, 2, "n2", 5, 5}}, true},
	} {
		o := order{keepDisks: tt.keepDisks, leaders: map[uint64]string{}, last: map[string]look{}}
		for _, s := range tt.seen {
			o.take(s.node, s.process, client.ClusterStatus{Term: s.term, Leader: s.leader, Nodes: []client.ClusterNode{{Name: s.node, CommitIndex: s.commit, AppliedIndex: s.applied}}})
		}
		if (len(o.broken) > 0) != tt.wrong || o.looked != len(tt.seen) {
			t.Errorf("%s: looked %d times, %q", tt.name, o.looked, o.broken)
		}
	}
}
