package main

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/stateraft/stateraft/cmd/torture/internal/faults"
	"github.com/stateraft/stateraft/cmd/torture/internal/node"
)

// Ensure a fault that breaks a promise counts as carried out and as a violation,
// and one that could not be carried out as neither.
func TestJudge(t *testing.T) {
	for _, tt := range []struct {
		err               error
		liveness, process int
		failed            string
	}{
		{nil, 0, 0, ""},
		{errors.New("no such node"), 0, 0, "no such node"},
		{fmt.Errorf("%w: too late", faults.ErrBroken), 1, 0, ""},
		{errors.Join(errors.New("x"), fmt.Errorf("n1 %w", node.ErrEndedBadly)), 0, 1, ""},
		{fmt.Errorf("%w: it runs", node.ErrNotRefused), 0, 1, ""},
	} {
		test := newTester(&config{}, false, io.Discard, nil)
		failed := test.judge("kill", tt.err)
		if failed != tt.failed || test.liveness.Violations != tt.liveness || test.process.Violations != tt.process {
			t.Errorf("%v: %q, %d and %d violations", tt.err, failed, test.liveness.Violations, test.process.Violations)
		}
	}
}
