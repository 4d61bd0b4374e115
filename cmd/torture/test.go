package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/check"
	"github.com/stateraft/stateraft/cmd/torture/internal/faults"
	"github.com/stateraft/stateraft/cmd/torture/internal/history"
	"github.com/stateraft/stateraft/cmd/torture/internal/node"
	"github.com/stateraft/stateraft/cmd/torture/internal/report"
	"github.com/stateraft/stateraft/cmd/torture/internal/wire"
	"github.com/stateraft/stateraft/cmd/torture/internal/workload"
)

const (
	// startLimit is how long a new cluster may take to be whole.
	startLimit = 30 * time.Second
	// judgedFrom is how long a run must be to hold it against a checker that there
	// was nothing to look at.
	judgedFrom = 30 * time.Second
	// finalLimit bounds what the workloads do when an epoch is over.
	finalLimit = time.Minute
)

// tester is one run.
type tester struct {
	config   *config
	isolated bool
	out      io.Writer
	started  time.Time
	cluster  *node.Cluster
	nodes    []*wire.Node
	reach    uint64 // how many changes nodes remember; 0: as many as by default
	token    string // root token of all clusters; empty: nobody asks for API keys
	specs    []workload.Spec
	digest   *report.Digest
	rolls    *rolls   // nil: no fault replaces nodes
	leftOut  []string // workloads, and why

	liveness *check.Verdict // is the cluster whole when nothing hurts it
	hashes   *check.Verdict // are nodes at the same index in the same state
	process  *check.Verdict // do processes run, and end when asked
	order    *check.Verdict // of leaders, terms and indexes

	mu       sync.Mutex       // guards everything below
	epochs   []report.Epoch   // that are over
	faults   []report.Fault   // carried out
	drifts   []history.Drift  // of clocks, by the time of the run
	verdicts []*check.Verdict // of the checkers, over all epochs
	blamed   int              // violations of the run itself that an epoch's history is kept for
	unusable error            // why the run cannot be judged
}

// test runs the test and reports. The error says why nothing, or not all, could be
// judged. The nodes' data stays where a violation was found.
func test(ctx context.Context, c *config, isolated bool, stdout, stderr io.Writer) (code int, err error) {
	chosen, specs, err := c.selected(isolated)
	if err != nil {
		return 0, err
	}
	data, err := c.prepare(stderr)
	if err != nil {
		return 0, err
	}
	if err := c.findOld(ctx, stderr); err != nil {
		return 0, err
	}
	defer func() {
		if !c.keep && code != exitViolation {
			err = errors.Join(err, os.RemoveAll(data))
		}
	}()
	t := newTester(c, isolated, stdout, specs)
	cluster := node.Config{
		Binary: c.binary, Old: c.oldBinary, Dir: data, LogDir: c.report, Size: c.nodes, Flags: strings.Fields(c.serveFlags), Slack: c.slack, Isolated: isolated,
	}
	for _, f := range chosen {
		f.Needs(&cluster)
	}
	t.secure(&cluster)
	t.reach = reach(cluster.Flags)
	t.cluster, err = node.Start(cluster)
	defer t.cluster.Stop()
	if err != nil {
		return 0, err
	}
	starting, cancel := context.WithTimeout(ctx, c.slacken(startLimit))
	defer cancel()
	if err := t.cluster.WaitWhole(starting); err != nil {
		return 0, fmt.Errorf("the cluster does not start: %w; see the nodes' logs in %s", err, c.report)
	}
	r, err := t.run(ctx, chosen)
	if err != nil {
		return 0, err
	}
	if err := write(r, c.report, stdout); err != nil {
		return 0, err
	}
	if !r.OK() {
		return exitViolation, r.Unusable
	}
	return exitOK, r.Unusable
}

func newTester(c *config, isolated bool, out io.Writer, specs []workload.Spec) *tester {
	t := &tester{
		config: c, isolated: isolated, out: &lockedWriter{w: out}, specs: specs,
		liveness: &check.Verdict{Name: "liveness", Promise: fmt.Sprintf("within %v after a fault all nodes are ready, vote, and follow one leader", c.healLimit())},
		hashes:   &check.Verdict{Name: "hashes", Promise: "nodes at the same index have the same hash of their state"},
		process:  &check.Verdict{Name: "processes", Promise: "no process ends by itself, and SIGTERM ends it well"},
		order:    &check.Verdict{Name: "order", Promise: "a term has one leader, and no term and no index goes back while a process lives, nor a term over a restart"},
	}
	for _, v := range t.own() {
		v.Tell = func(told string) { t.tell(v, told) }
	}
	return t
}

// now is the time since the run began.
func (t *tester) now() time.Duration { return time.Since(t.started) }

// run goes through epochs: in each the workloads begin anew on keys of their
// own while the schedule of faults goes on, so that the history that is kept has
// a bound. What an epoch recorded is checked before the next one begins: checkers
// take all cores.
func (t *tester) run(ctx context.Context, chosen []faults.Fault) (*report.Run, error) {
	t.started = time.Now()
	for _, n := range t.cluster.Nodes {
		t.nodes = append(t.nodes, wire.NewNode(n.Name, n.URL).WithToken(t.token))
	}
	t.digest = report.NewDigest(t.config.duration, t.names())
	watching, stopWatching := context.WithCancel(ctx)
	watched := t.watch(watching, chosen)
	used := t.sample(watching, watched)
	if err := errors.Join(t.leaveOut(ctx), t.watchRolls(watching, watched, chosen)); err != nil {
		stopWatching()
		return nil, err
	}
	fmt.Fprintf(t.out, "seed %d: %s\n", t.config.seed, t.config.command())
	schedule := faults.NewSchedule(t.config.seed, chosen, t.config.combined)
	var clearing sync.WaitGroup
	left := t.config.duration
	for ; left > 0 && ctx.Err() == nil && t.mayGoOn(); left -= t.config.epoch {
		e := t.newEpoch(len(t.epochs))
		e.run(ctx, schedule, min(left, t.config.epoch), &clearing)
		t.conclude(e)
		if left > t.config.epoch {
			clearing.Go(func() { e.clear(ctx) })
		}
	}
	clearing.Wait()
	stopWatching()
	watched.Wait()
	t.takeEnded(t.cluster, "")
	if len(t.epochs) == 0 {
		return nil, context.Cause(ctx)
	}
	if left <= 0 && ctx.Err() == nil && t.unusable == nil && t.config.duration >= judgedFrom {
		check.FailIdle(t.tried())
	}
	return t.report(used.samples), nil
}

// mayGoOn reports whether another epoch makes sense.
func (t *tester) mayGoOn() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.unusable == nil && !found(t.config.until, t.all())
}

// report needs a run that is over, and what the nodes used.
func (t *tester) report(used []history.Sample) *report.Run {
	verdicts := t.all()
	if flat := check.Flat(used, t.now()); flat != nil {
		verdicts = append(verdicts, flat)
	}
	r := &report.Run{
		Command: t.config.command(), Seed: t.config.seed, Version: version(t.config.binary), Build: t.config.build,
		Started: t.started, Duration: t.epochs[len(t.epochs)-1].End, Nodes: t.names(), Isolated: t.isolated,
		Faults: t.faults, Workloads: t.workloads(), Skipped: t.skipped(),
		Tester: t.config.tester, Verdicts: verdicts, Digest: t.digest, Probe: workload.Probe, Epochs: t.epochs, Samples: used, Unusable: t.unusable,
	}
	if n := len(r.Faults); n > 0 && r.Failed() == n && r.Unusable == nil {
		r.Unusable = errors.New("none of the faults could be carried out")
	}
	return r
}

// watch compares the nodes' hashes, and what they say of themselves, until ctx
// ends.
func (t *tester) watch(ctx context.Context, chosen []faults.Fault) *sync.WaitGroup {
	wg := new(sync.WaitGroup)
	for verdict, watch := range map[*check.Verdict]func(context.Context, func(string)) int{
		t.hashes: t.cluster.WatchHashes,
		t.order: func(ctx context.Context, tell func(string)) int {
			return t.cluster.WatchOrder(ctx, !slices.ContainsFunc(chosen, changesDisk), tell)
		},
	} {
		wg.Go(func() {
			looked := watch(ctx, func(wrong string) {
				t.mu.Lock()
				defer t.mu.Unlock()
				verdict.Fail("%s", wrong)
			})
			t.mu.Lock()
			defer t.mu.Unlock()
			verdict.Checked += looked
		})
	}
	return wg
}

// changesDisk reports whether a node may have something else on its disk after a
// fault than what its process had left there.
func changesDisk(f faults.Fault) bool {
	return f.Kind == faults.Disk || f.Row == "D9" || f.Row == "M1"
}

// takeEnded takes note of a cluster's processes that ended by themselves. Where
// says in words which cluster that is.
func (t *tester) takeEnded(c *node.Cluster, where string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for {
		select {
		case told := <-c.Ended:
			t.process.Fail("%s%s", where, told)
		default:
			return
		}
	}
}

func (t *tester) names() (names []string) {
	for _, n := range t.cluster.Nodes {
		names = append(names, n.Name)
	}
	return names
}

func (t *tester) workloads() (names []string) {
	for _, s := range t.specs {
		names = append(names, s.Name)
	}
	return names
}

// skipped says which faults cannot be had here.
func (t *tester) skipped() (why []string) {
	for _, f := range faults.All {
		if err := f.Possible(t.config.nodes, t.isolated); err != nil {
			why = append(why, err.Error())
		}
	}
	return append(why, t.leftOut...)
}

// write writes the report's files, and the summary to out.
func write(r *report.Run, dir string, out io.Writer) error {
	for _, v := range r.Verdicts {
		if v.Picture == nil {
			continue
		}
		if err := v.Picture(filepath.Join(dir, v.Name+".html")); err != nil {
			return err
		}
	}
	for name, write := range map[string]func(io.Writer) error{"index.html": r.HTML, "summary.txt": r.Text} {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		if err := write(f); err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	if err := r.Result().Save(filepath.Join(dir, report.ResultFile)); err != nil {
		return err
	}
	if err := r.Text(out); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "report: %s\n", filepath.Join(dir, "index.html"))
	return err
}
