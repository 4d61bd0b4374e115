package client

import (
	"testing"
	"time"

	"github.com/stateraft/stateraft/internal/contract"
)

// Ensure the numbers that the contract's files tell are the client's.
func TestContractNumbers(t *testing.T) {
	r := contract.RetryTable(t, contract.Dir(".."))
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	if ms(r.Pauses.FirstMs) != backoffFirst || ms(r.Pauses.MostMs) != backoffMost || r.Pauses.Factor != 2 {
		t.Errorf("pauses: %+v", r.Pauses)
	}
	if ms(r.Defaults.TimeoutMs) != defaultTimeout || ms(r.Defaults.AttemptTimeoutMs) != defaultAttemptTimeout || r.Defaults.MaxAttempts != defaultMaxAttempts {
		t.Errorf("defaults: %+v", r.Defaults)
	}
	rows := map[string]failure{"answered": answered, "unreachable": unreachable, "unavailable": unavailable, "overloaded": overloaded, "lost": lost}
	for _, row := range r.Table {
		f, ok := rows[row.Failure]
		again := retries[f].again
		got := [5]bool{again&read != 0, again&write != 0, again&versioned != 0, again&keyed != 0, retries[f].next}
		if want := [5]bool{row.Read, row.Write, row.Versioned, row.Keyed, row.Next}; !ok || got != want {
			t.Errorf("%s: %v, want %v", row.Failure, got, want)
		}
		delete(rows, row.Failure)
	}
	if len(rows) > 0 {
		t.Errorf("retries.json lacks %v", rows)
	}
}
