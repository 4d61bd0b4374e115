package fsm

import (
	"testing"

	"github.com/stateraft/stateraft/fsm/fsmpb"
)

func TestHistoryLimits(t *testing.T) {
	const one = changeOverhead + 2 // of a change of a one-letter key to a one-letter value, from none
	play(t, []scenario{
		{"as many events as allowed", steps(limits(2, 0, 0), do(set("a", "x")), do(set("b", "x"))), "1 | 1", "a=x@1 b=x@1", "+a@1 +b@1"},
		{"one more", steps(limits(2, 0, 0), do(set("a", "x")), do(set("b", "x")), do(set("c", "x"))), "1 | 1 | 1", "a=x@1 b=x@1 c=x@1", "+b@1 +c@1"},
		{"as many bytes as allowed", steps(limits(0, 2*one, 0), do(set("a", "x")), do(set("b", "x"))), "1 | 1", "a=x@1 b=x@1", "+a@1 +b@1"},
		{"one byte more", steps(limits(0, 2*one, 0), do(set("a", "x")), do(set("b", "xy"))), "1 | 1", "a=x@1 b=xy@1", "+b@1"},
		{"a change beyond all bytes", steps(limits(0, one, 0), do(set("a", "x")), do(set("b", "xy"))), "1 | 1", "a=x@1 b=xy@1", nothing},
		{"old values count", steps(limits(0, 2*one, 0), do(set("a", "x")), do(set("a", "y"))), "1 | 2", "a=y@2", "+a@2"},
		{"an atomic write is trimmed like others", steps(limits(2, 0, 0), atomic(set("a", "x"), set("b", "x"), set("c", "x"))), "1 1 1", "a=x@1 b=x@1 c=x@1", "+b@1[1-3] +c@1[1-3]"},
		{"new limits hold at once", steps(do(set("a", "x")), do(set("b", "x")), limits(1, 0, 0)), "1 | 1", "a=x@1 b=x@1", "+b@1"},
	})
}

func TestChanges(t *testing.T) {
	m := after(t, limits(3, 0, 0), do(set("a", "1")), do(set("a", "2")), do(set("a", "3")), do(set("a", "4")), do(set("a", "5")))
	tests := []struct {
		name  string
		after uint64
		n     int
		want  string
		ok    bool
	}{
		{"before the first that is kept", 1, 10, "", false},
		{"from the first that is kept", 2, 10, "+a@3 +a@4 +a@5", true},
		{"at most n", 2, 2, "+a@3 +a@4", true},
		{"the last", 4, 10, "+a@5", true},
		{"nothing new", 5, 10, "", true},
		{"beyond", 99, 10, "", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			changes, ok := m.Changes(tt.after, tt.n)
			if got := showSome(changes, 0); got != tt.want || ok != tt.ok {
				t.Errorf("got %q, %v; want %q, %v", got, ok, tt.want, tt.ok)
			}
		})
	}
}

func TestChangeMembers(t *testing.T) {
	m := after(t, at(100), in("v", set("k", "a", ttl(50))), at(120), in("v", set("k", "b", ttl(30))), at(200))
	changes, _ := m.Changes(0, 10)
	want := []Change{
		{Type: fsmpb.Change_SET, Revision: 1, Version: 1, Namespace: "v", Key: "k", New: []byte("a"), Time: 100},
		{Type: fsmpb.Change_SET, Revision: 2, Version: 2, Namespace: "v", Key: "k", Old: []byte("a"), New: []byte("b"), Time: 120},
		{Type: fsmpb.Change_EXPIRE, Revision: 3, Version: 3, Namespace: "v", Key: "k", Old: []byte("b"), Time: 200},
	}
	if len(changes) != len(want) {
		t.Fatalf("got %d changes, want %d", len(changes), len(want))
	}
	for i, c := range changes {
		if !sameChange(*c, want[i]) {
			t.Errorf("change %d is %+v, want %+v", i, *c, want[i])
		}
	}
}

func sameChange(a, b Change) bool {
	same := (a.Old == nil) == (b.Old == nil) && string(a.Old) == string(b.Old) &&
		(a.New == nil) == (b.New == nil) && string(a.New) == string(b.New)
	return same && a.Type == b.Type && a.Revision == b.Revision && a.Version == b.Version && a.Namespace == b.Namespace &&
		a.Key == b.Key && a.First == b.First && a.Last == b.Last && a.Time == b.Time
}
