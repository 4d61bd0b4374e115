package fsm

import (
	"fmt"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/stateraft/stateraft/fsm/fsmpb"
)

func TestOpenSession(t *testing.T) {
	m := &machine{State: New(), t: t}
	open := func(node, boot string) uint64 {
		return m.entry(&fsmpb.Entry{OpenSession: opening(node, boot)}).Session
	}
	tests := []struct {
		name, node, boot string
		want             uint64
		nodes            string
	}{
		{"numbered by its entry", "n1", "a", 1, "[n1]"},
		{"of another node", "n2", "a", 2, "[n1 n2]"},
		{"same boot id", "n1", "a", 1, "[n1 n2]"},
		{"another boot id", "n1", "b", 4, "[n2 n1]"},
		{"the former boot id", "n1", "a", 5, "[n2 n1]"},
		{"of the node between", "n2", "c", 6, "[n1 n2]"},
	}
	for _, tt := range tests {
		if got := open(tt.node, tt.boot); got != tt.want {
			t.Errorf("%s: session %d, want %d", tt.name, got, tt.want)
		}
		var ids []string
		for _, n := range m.Nodes() {
			ids = append(ids, n.Id)
		}
		if got := fmt.Sprint(ids); got != tt.nodes {
			t.Errorf("%s: sessions of %s, want %s", tt.name, got, tt.nodes)
		}
		verify(t, m.State)
	}
}

// Each case sends batches of the one session; each batch sets "k".
func TestWindow(t *testing.T) {
	type sent struct {
		sequence, low uint64
		want          string // version of k, or the refusal
	}
	const settled, ahead = "SEQUENCE_SETTLED", "SEQUENCE_AHEAD"
	tests := []struct {
		name  string
		sends []sent
	}{
		{"in order", []sent{{1, 1, "1"}, {2, 2, "2"}, {3, 3, "3"}}},
		{"again", []sent{{1, 1, "1"}, {2, 1, "2"}, {1, 1, "1"}, {2, 1, "2"}, {3, 1, "3"}}},
		{"out of order", []sent{{2, 1, "1"}, {3, 1, "2"}, {1, 1, "3"}, {2, 1, "1"}}},
		{"again after it was settled", []sent{{1, 1, "1"}, {2, 2, "2"}, {1, 1, settled}}},
		{"for the first time after it was settled", []sent{{2, 2, "1"}, {1, 1, settled}}},
		// Copies of one batch are one, whichever low they would carry.
		{"low beyond its own sequence", []sent{{3, 9, "1"}, {3, 9, "1"}, {2, 2, settled}, {4, 3, "2"}}},
		{"low never sinks", []sent{{5, 5, "1"}, {6, 1, "2"}, {4, 1, settled}}},
		{"the last of the window", []sent{{1, 1, "1"}, {1 + Window - 1, 1, "2"}, {1, 1, "1"}}},
		{"beyond the window", []sent{{1, 1, "1"}, {1 + Window, 1, ahead}, {2, 1, "2"}}},
		{"beyond, and settles", []sent{{1, 1, "1"}, {2, 2, "2"}, {3 + Window, 3, ahead}, {2, 2, settled}, {3, 3, "3"}}},
		{"a jump", []sent{{1, 1, "1"}, {1000, 1000, "2"}, {999, 900, settled}, {1000, 1000, "2"}}},
		{"the greatest sequence", []sent{{1, 1, "1"}, {1<<64 - 1, 1<<64 - 1, "2"}, {1<<64 - 1, 1<<64 - 1, "2"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newMachine(t)
			for _, s := range tt.sends {
				a := m.batch(s.sequence, s.low, command("w", set("k", "x")))
				got := a.Refusal.String()
				if a.Refusal == fsmpb.BatchAnswer_NONE {
					got = showAnswer(a.Answers[0])
				}
				if got != s.want {
					t.Errorf("sequence %d, low %d: got %s, want %s", s.sequence, s.low, got, s.want)
				}
			}
			if n := len(m.sessions[0].answers); n > Window {
				t.Errorf("%d answers are kept, the window is %d", n, Window)
			}
		})
	}
}

func TestUnknownSession(t *testing.T) {
	m := newMachine(t)
	other := m.entry(&fsmpb.Entry{OpenSession: opening("n2", "boot")}).Session
	refusal := func(session uint64) string {
		b := &fsmpb.Batch{Session: session, Sequence: 1, Low: 1, Commands: []*fsmpb.Command{command("w", set("k", "x"))}}
		return m.entry(&fsmpb.Entry{Batches: []*fsmpb.Batch{b}}).Batches[0].Refusal.String()
	}
	const unknown, none = "UNKNOWN_SESSION", "NONE"
	members := func(ids ...string) func() {
		return func() { m.index++; m.Members(m.index, ids) }
	}
	reopen := func() { m.entry(&fsmpb.Entry{OpenSession: opening("n1", "boot2")}) }

	for _, tt := range []struct {
		name       string
		do         func()
		one, other string
	}{
		{"both open", func() {}, none, none},
		{"all are members", members("n2", "n1", "n3"), none, none},
		{"replaced by the node's next", reopen, unknown, none},
		{"its node left", members("n1"), unknown, unknown},
	} {
		tt.do()
		if one, two := refusal(m.session), refusal(other); one != tt.one || two != tt.other {
			t.Errorf("%s: refusals are %s and %s, want %s and %s", tt.name, one, two, tt.one, tt.other)
		}
	}
	for _, session := range []uint64{0, 999, 1<<64 - 1} {
		if got := refusal(session); got != unknown {
			t.Errorf("session %d: refusal is %s, want %s", session, got, unknown)
		}
	}
	if got := m.Point().Index; got != m.index {
		t.Errorf("index is %d, want %d; members are part of the log", got, m.index)
	}
}

// One entry may carry batches of several sessions, and one batch twice.
func TestBatchesOfOneEntry(t *testing.T) {
	m := newMachine(t)
	b := &fsmpb.Batch{Session: m.session, Sequence: 1, Low: 1, Commands: []*fsmpb.Command{command("w", set("k", "x")), command("w", set("k", "y"))}}
	stray := &fsmpb.Batch{Session: 77, Sequence: 1, Low: 1}
	got := m.entry(&fsmpb.Entry{Batches: []*fsmpb.Batch{b, stray, b}}).Batches
	if len(got) != 3 || got[1].Refusal != fsmpb.BatchAnswer_UNKNOWN_SESSION {
		t.Fatalf("answers are %v", got)
	}
	if !proto.Equal(got[0], got[2]) {
		t.Errorf("a copy was answered %v, the batch %v", got[2], got[0])
	}
	if keys := showKeys(m.State); keys != "k=y@2" {
		t.Errorf("keys are %q, want k=y@2", keys)
	}
	revisions := []uint64{got[0].Answers[0].Revision, got[0].Answers[1].Revision}
	if !slices.Equal(revisions, []uint64{1, 2}) {
		t.Errorf("revisions are %d, want 1 and 2", revisions)
	}
}
