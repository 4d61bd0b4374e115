package main

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/check"
	"github.com/stateraft/stateraft/cmd/torture/internal/faults"
	"github.com/stateraft/stateraft/cmd/torture/internal/history"
	"github.com/stateraft/stateraft/cmd/torture/internal/report"
	"github.com/stateraft/stateraft/cmd/torture/internal/wire"
	"github.com/stateraft/stateraft/cmd/torture/internal/workload"
)

// epoch is a part of a run: workloads, their keys and the history of them.
type epoch struct {
	*tester
	number int
	begin  time.Duration // its record's times count from there
	record *history.Recorder
	works  []workload.Workload
	ends   []error // of works, of the promises that were not kept in the end
}

func (t *tester) newEpoch(number int) *epoch {
	e := &epoch{tester: t, number: number, begin: t.now(), record: history.NewRecorder()}
	e.record.Reach(t.reach)
	for _, s := range t.specs {
		e.works = append(e.works, s.New(e.env(s.Name)))
	}
	return e
}

// env gives the workloads of each epoch workflows of their own.
func (e *epoch) env(name string) workload.Env {
	env := workload.Env{Name: name, Nodes: e.nodes, Record: e.record, Seed: e.config.seed + uint64(e.number), Slack: e.config.slack, Spare: e.startSpare}
	if e.number > 0 {
		env.Space = fmt.Sprintf("@%d", e.number)
	}
	return env
}

// run works on the cluster and hurts it for a time, and then, when the others do
// not work on it either, looks at it in peace.
func (e *epoch) run(ctx context.Context, schedule *faults.Schedule, d time.Duration, others *sync.WaitGroup) {
	loading, stopLoad := context.WithCancel(ctx)
	loaded := e.load(loading)
	e.hurt(ctx, schedule, d)
	e.mu.Lock()
	e.epochs = append(e.epochs, report.Epoch{Begin: e.begin, End: e.now()})
	e.mu.Unlock()
	stopLoad()
	loaded.Wait()
	others.Wait()
	e.finish()
}

// load lets the workloads and the prober work until ctx ends.
func (e *epoch) load(ctx context.Context) *sync.WaitGroup {
	wg := new(sync.WaitGroup)
	for _, w := range e.works {
		wg.Go(func() { w.Run(ctx) })
	}
	wg.Go(func() { workload.RunProbe(ctx, e.env(workload.Probe)) })
	return wg
}

// finish lets the workloads look once more, waits until the nodes agree, and
// reads every key from every node. Before that it waits until no node works any more
// on a request that its client has given up, for a late effect would come behind what
// is told as the last, or between the reads of two nodes. Nodes count that time
// themselves, whatever the slack.
func (e *epoch) finish() {
	time.Sleep(wire.NodeTimeout)
	ctx, cancel := context.WithTimeout(context.Background(), e.config.slacken(finalLimit))
	defer cancel()
	e.ends = make([]error, len(e.works))
	var finishing sync.WaitGroup
	for i, w := range e.works {
		finishing.Go(func() { e.ends[i] = w.Finish(ctx) })
	}
	finishing.Wait()
	equal, cancel := context.WithTimeout(context.Background(), e.config.healLimit())
	defer cancel()
	idle := e.now()
	unequal := e.cluster.WaitEqual(equal)
	waited := e.now() - idle
	unread := e.readFinal()
	e.takeEnded(e.cluster, "")

	e.mu.Lock()
	defer e.mu.Unlock()
	if unequal != nil {
		e.hashes.Fail("%v after the end of all work: %v", waited.Round(time.Millisecond), unequal)
	}
	e.hashes.Checked += len(e.cluster.Nodes)
	for _, err := range unread {
		e.liveness.Fail("%v", err)
	}
}

// readFinal records the keys of every node that shows all of them.
func (e *epoch) readFinal() (errs []error) {
	places := e.record.History().Places()
	for _, n := range e.nodes {
		entries, err := e.readAll(n, places)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		e.record.Final(n.Name(), entries)
	}
	return errs
}

// readAll lists places at a node, for each of which it may take as long as to
// heal. It ends with the first that takes longer.
func (e *epoch) readAll(n *wire.Node, places []history.Place) (entries []history.Entry, err error) {
	for _, p := range places {
		ctx, cancel := context.WithTimeout(context.Background(), e.config.healLimit())
		page, err := n.List(ctx, p)
		cancel()
		if err != nil {
			return nil, fmt.Errorf("the keys of %s cannot be listed in the end: %w", p.Workflow, err)
		}
		entries = append(entries, page...)
	}
	return entries, nil
}

// clearers is how many clients delete an epoch's keys.
const clearers = 8

// clear deletes the epoch's keys, so that the state of a long run has a bound.
// What cannot be deleted while faults go on stays.
func (e *epoch) clear(ctx context.Context) {
	left := make(chan history.Entry)
	var wg sync.WaitGroup
	for i := range clearers {
		node := e.nodes[i%len(e.nodes)]
		wg.Go(func() {
			for entry := range left {
				node.Do(ctx, wire.Request{Kind: history.Delete, Workflow: entry.Workflow, Agent: entry.Agent, Key: entry.Key})
			}
		})
	}
	for _, entry := range e.record.History().AnyFinal() {
		left <- entry
	}
	close(left)
	wg.Wait()
}

// conclude checks what an epoch has recorded, and lets go of it.
func (t *tester) conclude(e *epoch) {
	if e.record.Full() {
		t.giveUp(fmt.Errorf("an epoch's history is longer than the tester records: give a shorter --epoch"))
		return
	}
	h := e.record.History()
	h.Drifts, h.Slack, h.Older = t.driftsSince(e.begin), t.config.slack, t.rolls != nil
	found := e.check(h)
	if t.rolls != nil && t.config.excused() < 1 { // else it cannot fail
		found = append(found, t.checkRolls(e, h))
	}
	found = append(found, check.Calm(h, workload.Probe, t.calm(e)))
	t.mu.Lock()
	t.digest.Add(h, workload.Probe, e.begin, t.epochs[e.number].End)
	t.mu.Unlock()
	for _, v := range found {
		if v.Undecided != nil {
			t.giveUp(v.Undecided)
		}
	}
	if more := t.blame(); e.number == 0 || more || !check.AllOK(found) {
		if err := h.Save(filepath.Join(t.config.report, e.historyFile())); err != nil {
			t.giveUp(err)
		}
	}
	t.merge(e.number, found)
}

// blame reports whether the run itself has broken a promise since it was called
// last.
func (t *tester) blame() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.blamed
	t.blamed = 0
	for _, v := range t.own() {
		t.blamed += v.Violations
	}
	return t.blamed > before
}

// check returns the verdicts on a history, and on how its workloads ended.
func (e *epoch) check(h *history.History) (found []*check.Verdict) {
	for _, c := range check.All {
		if c.Workload == "" {
			found = append(found, c.Check(h))
		}
		for i, s := range e.specs {
			if c.Workload != s.Name {
				continue
			}
			v := c.Check(h)
			if e.ends[i] != nil {
				v.Fail("in the end: %v", e.ends[i])
				e.ends[i] = nil // a workload may have several verdicts
			}
			found = append(found, v)
		}
	}
	return found
}

// historyFile is where an epoch's history is kept: of the first, and of those
// that broke a promise.
func (e *epoch) historyFile() string {
	if e.number == 0 {
		return "history.jsonl"
	}
	return fmt.Sprintf("history-%d.jsonl", e.number)
}

// giveUp makes the run one that cannot be judged.
func (t *tester) giveUp(why error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.unusable == nil {
		t.unusable = why
	}
}
