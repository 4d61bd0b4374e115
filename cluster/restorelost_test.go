package cluster

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stateraft/stateraft/cluster/clusterpb"
	"github.com/stateraft/stateraft/fsm"
	"github.com/stateraft/stateraft/fsm/fsmpb"
)

// restored is the state machine that a restore meets.
type restored struct {
	t     *testing.T
	state *fsm.State
	index uint64
}

func (m *restored) apply(e *fsmpb.Entry) fsm.Applied {
	m.t.Helper()
	m.index++
	data, err := fsm.Encode(e)
	if err != nil {
		m.t.Fatal(err)
	}
	res, err := m.state.Apply(m.index, data)
	if err != nil {
		m.t.Fatal(err)
	}
	return res
}

func (m *restored) set() {
	m.t.Helper()
	s := m.apply(&fsmpb.Entry{OpenSession: &fsmpb.OpenSession{}}).Session
	c := &fsmpb.Command{Namespace: "w", Ops: []*fsmpb.Op{{Kind: fsmpb.Op_SET, Key: "k", Value: []byte("1")}}}
	m.apply(&fsmpb.Entry{Batches: []*fsmpb.Batch{{Session: s, Sequence: 1, Low: 1, Commands: []*fsmpb.Command{c}}}})
}

// another is a whole restore by somebody else.
func (m *restored) another() {
	m.t.Helper()
	for i, step := range []fsmpb.Restore_Step{fsmpb.Restore_BEGIN, fsmpb.Restore_COMMIT} {
		r := &fsmpb.Restore{Step: step, Force: true, Id: []byte("another restore."), Sequence: uint64(i)}
		if a := m.apply(&fsmpb.Entry{Restore: r}).Restore; a.Refusal != fsmpb.RestoreAnswer_NONE {
			m.t.Fatalf("the other's %v: %v", step, a.Refusal)
		}
	}
}

// A restore says that nothing has changed only if it knows so: not if its last
// step may have happened, and another restore since.
func TestRestoreRefusedAtLast(t *testing.T) {
	lost := errors.New("the answer was lost")
	tests := []struct {
		name    string
		happens func(m *restored, commit *fsmpb.Entry) error // to the first attempt at the last step
		want    error
	}{
		{"done", func(m *restored, commit *fsmpb.Entry) error { m.apply(commit); return lost }, nil},
		{"done and replaced", func(m *restored, commit *fsmpb.Entry) error { m.apply(commit); m.another(); return lost }, ErrOutcomeUnknown},
		{"not sent and replaced", func(m *restored, _ *fsmpb.Entry) error { m.another(); return errNotSent }, ErrRefused},
		{"lost on the way, and a key came", func(m *restored, _ *fsmpb.Entry) error { m.set(); return lost }, errNotEmpty},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := &restored{t: t, state: fsm.New()}
			commits := 0
			r := &restoring{
				node: &Node{ctx: t.Context(), leaders: &leaders{now: leader{ctx: t.Context()}}},
				how:  Restore{Patience: time.Minute},
				id:   []byte("this one restore"),
				submit: func(_ context.Context, p *clusterpb.Propose, _ time.Duration) (*clusterpb.Response, error) {
					e := &fsmpb.Entry{Restore: p.Restore}
					if p.Restore.Step == fsmpb.Restore_COMMIT {
						if commits++; commits == 1 {
							return nil, tt.happens(m, e)
						}
					}
					return &clusterpb.Response{Restore: m.apply(e).Restore}, nil
				},
			}
			if _, err := r.step(t.Context(), &fsmpb.Restore{Step: fsmpb.Restore_BEGIN}); err != nil {
				t.Fatal(err)
			}
			if _, err := r.step(t.Context(), &fsmpb.Restore{Step: fsmpb.Restore_COMMIT}); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}
