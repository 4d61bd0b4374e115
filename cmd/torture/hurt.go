package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/faults"
	"github.com/stateraft/stateraft/cmd/torture/internal/history"
	"github.com/stateraft/stateraft/cmd/torture/internal/node"
	"github.com/stateraft/stateraft/cmd/torture/internal/report"
)

// hurt goes through rounds of the schedule until the time is over, then once
// more looks whether the cluster is whole. Before that it leaves the cluster alone
// for a while, if there is the time, for rests between rounds are short.
func (t *tester) hurt(ctx context.Context, schedule *faults.Schedule, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	if d >= judgedFrom {
		wait(ctx, t.config.slacken(calmPause)+calmAtFirst)
	}
	for ctx.Err() == nil {
		r := schedule.Next()
		wait(ctx, r.Rest)
		switch {
		case ctx.Err() != nil:
			schedule.Keep(r)
		case len(r.Faults) > 0:
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
	scene := faults.Scene{Cluster: t.cluster, Slack: t.config.slack, Alone: len(r.Faults) == 1, Parting: new(faults.Parting)}
	for i, p := range r.Faults {
		wg.Go(func() { done[i] = t.fault(ctx, p, scene) })
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
func (t *tester) fault(ctx context.Context, p faults.Planned, scene faults.Scene) report.Fault {
	wait(ctx, p.After)
	whatever := context.WithoutCancel(ctx)
	f := report.Fault{Name: p.Name, Row: p.Row, Kind: string(p.Kind), Begin: t.now()}
	h, err := p.Begin(whatever, scene)
	if err == nil {
		wait(ctx, p.Hold)
	}
	err = errors.Join(err, h.End(whatever))
	f.What, f.End = h.What, t.now()
	if h.Did != nil {
		f.What += ", " + h.Did()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if p.Kind == faults.Clocks {
		t.drifts = append(t.drifts, history.Drift{From: f.Begin, To: f.End, Gain: p.Gain})
	}
	f.Error = t.judge(p.Name, err)
	return f
}

// judge returns why a fault could not be carried out; empty: it was, and may have
// broken a promise. It requires t.mu.
func (t *tester) judge(name string, err error) string {
	switch {
	case err == nil:
	case errors.Is(err, node.ErrEndedBadly), errors.Is(err, node.ErrNotRefused):
		t.process.Fail("%s: %v", name, err)
	case errors.Is(err, faults.ErrBroken):
		t.liveness.Fail("%s: %v", name, err)
	default:
		return err.Error()
	}
	return ""
}

// driftsSince returns the drifts of clocks by the time since a begin.
func (t *tester) driftsSince(begin time.Duration) (since []history.Drift) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, d := range t.drifts {
		since = append(since, history.Drift{From: d.From - begin, To: d.To - begin, Gain: d.Gain})
	}
	return since
}

// waitWhole returns when the cluster is whole; 0: it is not in time.
func (t *tester) waitWhole() time.Duration {
	ctx, cancel := context.WithTimeout(context.Background(), t.config.healLimit())
	defer cancel()
	begin := t.now()
	err := t.cluster.WaitWhole(ctx)
	end := t.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.liveness.Checked++
	t.process.Checked += len(t.cluster.Nodes)
	if err != nil {
		t.liveness.Fail("not whole at %v, %v after the faults: %v", end.Round(time.Millisecond), (end - begin).Round(time.Millisecond), err)
		return 0
	}
	return end
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
