package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/faults"
	"github.com/stateraft/stateraft/cmd/torture/internal/node"
	"github.com/stateraft/stateraft/cmd/torture/internal/report"
)

// hurt goes through rounds of the schedule until the time is over, then once
// more looks whether the cluster is whole.
func (t *tester) hurt(ctx context.Context, chosen []faults.Fault) {
	schedule := faults.NewSchedule(t.config.seed, chosen, t.config.combined)
	ctx, cancel := context.WithTimeout(ctx, t.config.duration)
	defer cancel()
	fmt.Fprintf(t.out, "seed %d: %s\n", t.config.seed, t.config.command())
	for ctx.Err() == nil {
		r := schedule.Next()
		wait(ctx, r.Rest)
		if len(r.Faults) > 0 && ctx.Err() == nil {
			t.round(ctx, r)
		}
	}
	t.waitWhole()
}

// round carries out the faults of one round, and waits until the cluster is
// whole again.
func (t *tester) round(ctx context.Context, r faults.Round) {
	fmt.Fprintln(t.out, r)
	var wg sync.WaitGroup
	done := make([]report.Fault, len(r.Faults))
	for i, p := range r.Faults {
		wg.Go(func() { done[i] = t.fault(ctx, p) })
	}
	wg.Wait()
	whole := t.waitWhole()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range done {
		f.Round, f.Whole = r.Number, whole
		fmt.Fprintf(t.out, "     %v to %v: %s %s\n", f.Begin.Round(time.Millisecond), f.End.Round(time.Millisecond), f.What, f.Error)
		t.faults = append(t.faults, f)
	}
}

// fault carries out one. The end of ctx shortens it, and leaves nothing undone.
func (t *tester) fault(ctx context.Context, p faults.Planned) report.Fault {
	wait(ctx, p.After)
	whatever := context.WithoutCancel(ctx)
	f := report.Fault{Name: p.Name, Row: p.Row, Kind: string(p.Kind), Begin: t.record.Now()}
	h, err := p.Begin(whatever, &faults.Scene{Cluster: t.cluster})
	if err == nil {
		wait(ctx, p.Hold)
	}
	err = errors.Join(err, h.End(whatever))
	f.What, f.End = h.What, t.record.Now()
	if err == nil {
		return f
	}
	f.Error = err.Error()
	if errors.Is(err, node.ErrEndedBadly) {
		t.process.Fail("%v", err)
	}
	return f
}

// waitWhole returns when the cluster is whole; 0: it is not in time.
func (t *tester) waitWhole() time.Duration {
	ctx, cancel := context.WithTimeout(context.Background(), healLimit)
	defer cancel()
	t.liveness.Checked++
	t.process.Checked += len(t.cluster.Nodes)
	begin := t.record.Now()
	if err := t.cluster.WaitWhole(ctx); err != nil {
		t.liveness.Fail("not whole at %v, %v after the faults: %v", t.record.Now().Round(time.Millisecond), (t.record.Now() - begin).Round(time.Millisecond), err)
		return 0
	}
	return t.record.Now()
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
