package faults

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/faultfs"
	"github.com/stateraft/stateraft/cmd/torture/internal/node"
)

// Ensure what a fault expects is a promise where nothing else hurts the cluster,
// and only there.
func TestBrokenIsJudgedAlone(t *testing.T) {
	late := errors.New("too late")
	for _, alone := range []bool{false, true} {
		s := Scene{Alone: alone}
		if err := s.broken(late); !errors.Is(err, late) || errors.Is(err, ErrBroken) != alone {
			t.Errorf("alone %v: %v", alone, err)
		}
		if err := s.broken(nil); err != nil {
			t.Errorf("alone %v: %v of nothing", alone, err)
		}
	}
}

// Ensure a crash that was to come at an operation is missed where that does not
// come, and not where it does.
func TestAwaitCrash(t *testing.T) {
	s := Scene{Slack: 2}
	rule := faultfs.Rule{Op: faultfs.Sync, Path: logFile, Crash: faultfs.Before}
	synctest.Test(t, func(t *testing.T) {
		n, begin := &node.Node{Name: "n1", Disk: new(faultfs.Disk)}, time.Now()
		err := s.awaitCrash(t.Context(), n, rule, nothing)
		if err == nil || err.Error() != "n1 did not come to a sync of raft.db" || time.Since(begin) != 2*crashTimeout {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.awaitCrash(ctx, &node.Node{Disk: new(faultfs.Disk)}, rule, nothing); err == nil {
		t.Error("an end before the crash is no miss")
	}
}
