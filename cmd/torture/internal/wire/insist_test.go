package wire_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
	"github.com/stateraft/stateraft/cmd/torture/internal/wire"
)

// script gives one answer after the other, and the last for ever.
type script struct {
	answers []wire.Answer
	keys    []string // idempotency keys that it was asked with
}

func (s *script) Name() string { return "n1" }

func (s *script) Do(_ context.Context, r wire.Request) wire.Answer {
	a := s.answers[min(len(s.keys), len(s.answers)-1)]
	s.keys = append(s.keys, r.Idempotency)
	return a
}

// Ensure a node is asked again where its answer proves nothing, with the same
// request, and never where it does: a wrong answer is not asked away.
func TestInsistent(t *testing.T) {
	ok := wire.Answer{Outcome: history.OK}
	failed := func(o history.Outcome, why string) wire.Answer { return wire.Answer{Outcome: o, Error: why} }
	const limit = 10 * time.Second
	for _, tt := range []struct {
		name    string
		answers []wire.Answer
		asked   int // 0: until the time is over
	}{
		{"at once", []wire.Answer{ok}, 1},
		{"after silence", []wire.Answer{failed(history.Unknown, "no answer"), failed(history.Refused, "unreachable"), ok}, 3},
		{"after elections", []wire.Answer{failed(history.Refused, "NO_LEADER"), failed(history.Refused, "NOT_READY"), failed(history.Unknown, "OUTCOME_UNKNOWN"), ok}, 4},
		{"after a crowd", []wire.Answer{failed(history.Refused, "OVERLOADED"), ok}, 2},
		{"never", []wire.Answer{failed(history.Refused, "NO_LEADER")}, 0},
		{"refused", []wire.Answer{failed(history.Refused, "INVALID_REQUEST"), ok}, 1},
		{"a token that waits", []wire.Answer{failed(history.Refused, "BEHIND"), ok}, 1},
		{"broken", []wire.Answer{failed(history.Unknown, "INTERNAL"), ok}, 1},
		{"out of the contract", []wire.Answer{failed(history.Unknown, "an answer that is not of the contract, status 200"), ok}, 1},
		{"a conflict", []wire.Answer{{Outcome: history.OK, Conflict: true}, ok}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, begin := &script{answers: tt.answers}, time.Now()
				got := wire.Insistent{Store: s, Limit: limit}.Do(t.Context(), wire.Request{Idempotency: "i"})
				want := tt.answers[min(len(s.keys), len(tt.answers))-1]
				if got.Outcome != want.Outcome || got.Error != want.Error {
					t.Errorf("got %+v, want %+v", got, want)
				}
				if tt.asked > 0 && len(s.keys) != tt.asked || tt.asked == 0 && time.Since(begin) != limit {
					t.Errorf("asked %d times in %v, want %d times", len(s.keys), time.Since(begin), tt.asked)
				}
				if slices.ContainsFunc(s.keys, func(key string) bool { return key != "i" }) {
					t.Errorf("the copies have the idempotency keys %q", s.keys)
				}
			})
		})
	}
}
