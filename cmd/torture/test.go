package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
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
	// healLimit is how long it may take after the last fault of a round.
	healLimit = 10 * time.Second
	// finalLimit bounds the reads at the end.
	finalLimit = time.Minute
)

// tester is one run.
type tester struct {
	config   *config
	isolated bool
	out      io.Writer
	cluster  *node.Cluster
	nodes    []*wire.Node
	record   *history.Recorder
	specs    []workload.Spec
	works    []workload.Workload

	liveness *check.Verdict // is the cluster whole when nothing hurts it
	hashes   *check.Verdict // are nodes at the same index in the same state
	process  *check.Verdict // do processes run, and end when asked
	streams  *check.Verdict // has everybody caught up in the end

	mu     sync.Mutex // guards faults
	faults []report.Fault
}

// test runs the test and reports.
func test(ctx context.Context, c *config, isolated bool, stdout, stderr io.Writer) (int, error) {
	chosen, specs, err := c.selected(isolated)
	if err != nil {
		return 0, err
	}
	data, err := c.prepare(stderr)
	if err != nil {
		return 0, err
	}
	if !c.keep {
		defer os.RemoveAll(data)
	}
	t := newTester(c, isolated, stdout, specs)
	t.cluster, err = node.Start(node.Config{
		Binary: c.binary, Dir: data, LogDir: c.report, Size: c.nodes, Flags: strings.Fields(c.serveFlags), Isolated: isolated,
	})
	defer t.cluster.Stop()
	if err != nil {
		return 0, err
	}
	starting, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	if err := t.cluster.WaitWhole(starting); err != nil {
		return 0, fmt.Errorf("the cluster does not start: %w; see the nodes' logs in %s", err, c.report)
	}
	r := t.run(ctx, chosen)
	if t.record.Full() {
		return 0, fmt.Errorf("the history is longer than the tester records: give a shorter --duration")
	}
	if err := write(r, c.report, stdout); err != nil {
		return 0, err
	}
	if !r.OK() {
		return exitViolation, nil
	}
	return exitOK, nil
}

func newTester(c *config, isolated bool, out io.Writer, specs []workload.Spec) *tester {
	return &tester{
		config: c, isolated: isolated, out: out, specs: specs,
		liveness: &check.Verdict{Name: "liveness", Promise: fmt.Sprintf("within %v after a fault all nodes are ready, vote, and follow one leader", healLimit)},
		hashes:   &check.Verdict{Name: "hashes", Promise: "nodes at the same index have the same hash of their state"},
		process:  &check.Verdict{Name: "processes", Promise: "no process ends by itself, and SIGTERM ends it well"},
		streams:  &check.Verdict{Name: "caught up", Promise: "in the end all subscribers are where the state is"},
	}
}

// run works on the cluster, hurts it, and checks.
func (t *tester) run(ctx context.Context, chosen []faults.Fault) *report.Run {
	started := time.Now()
	t.record = history.NewRecorder()
	t.prepareWork()
	watching, stopWatching := context.WithCancel(ctx)
	watched := t.watch(watching)
	loading, stopLoad := context.WithCancel(ctx)
	loaded := t.load(loading)
	t.hurt(ctx, chosen)
	duration := t.record.Now()
	stopLoad()
	loaded.Wait()
	stopWatching()
	watched.Wait()
	t.finish()
	h := t.record.History()
	return &report.Run{
		Command: t.config.command(), Seed: t.config.seed, Binary: version(t.config.binary),
		Started: started, Duration: duration, Nodes: t.names(), Isolated: t.isolated,
		Faults: t.faults, Workloads: t.workloads(), Skipped: t.skipped(),
		Verdicts: t.verdicts(h), History: h, Probe: workload.Probe,
	}
}

func (t *tester) prepareWork() {
	for _, n := range t.cluster.Nodes {
		t.nodes = append(t.nodes, wire.NewNode(n.Name, n.URL))
	}
	for _, s := range t.specs {
		t.works = append(t.works, s.New(t.env(s.Name)))
	}
}

func (t *tester) env(name string) workload.Env {
	return workload.Env{Name: name, Nodes: t.nodes, Record: t.record, Seed: t.config.seed}
}

// load lets the workloads and the prober work until ctx ends.
func (t *tester) load(ctx context.Context) *sync.WaitGroup {
	wg := new(sync.WaitGroup)
	for _, w := range t.works {
		wg.Go(func() { w.Run(ctx) })
	}
	wg.Go(func() { workload.RunProbe(ctx, t.env(workload.Probe)) })
	return wg
}

// watch compares the nodes' hashes until ctx ends.
func (t *tester) watch(ctx context.Context) *sync.WaitGroup {
	wg := new(sync.WaitGroup)
	wg.Go(func() {
		compared, divergences := t.cluster.WatchHashes(ctx)
		t.hashes.Checked += compared
		for _, d := range divergences {
			t.hashes.Fail("%s", d)
		}
	})
	return wg
}

// finish waits until the nodes agree, lets the workloads look once more, and
// reads every key from every node.
func (t *tester) finish() {
	ctx, cancel := context.WithTimeout(context.Background(), finalLimit)
	defer cancel()
	for i, w := range t.works {
		if err := w.Finish(ctx); err != nil {
			t.streams.Fail("%s: %v", t.specs[i].Name, err)
		}
	}
	t.streams.Checked = len(t.works)
	equal, cancel := context.WithTimeout(ctx, healLimit)
	defer cancel()
	if err := t.cluster.WaitEqual(equal); err != nil {
		t.hashes.Fail("%v after the end of all work: %v", healLimit, err)
	}
	t.hashes.Checked += len(t.cluster.Nodes)
	t.readFinal(ctx)
	t.takeEnded()
}

func (t *tester) readFinal(ctx context.Context) {
	workflows := t.record.History().Workflows()
	for _, n := range t.nodes {
		var entries []history.Entry
		for _, workflow := range workflows {
			page, err := n.List(ctx, workflow)
			if err != nil {
				t.liveness.Fail("the keys of %s cannot be listed in the end: %v", workflow, err)
			}
			entries = append(entries, page...)
		}
		t.record.Final(n.Name(), entries)
	}
}

// takeEnded takes note of processes that ended by themselves.
func (t *tester) takeEnded() {
	for {
		select {
		case told := <-t.cluster.Ended:
			t.process.Fail("%s", told)
		default:
			return
		}
	}
}

// verdicts are those of the run itself and those of the history.
func (t *tester) verdicts(h *history.History) []*check.Verdict {
	verdicts := []*check.Verdict{t.liveness, t.process, t.hashes, t.streams}
	for _, c := range check.All {
		for _, s := range t.specs {
			if c.Workload == s.Name {
				verdicts = append(verdicts, c.Check(h))
			}
		}
		if c.Workload == "" {
			verdicts = append(verdicts, c.Check(h))
		}
	}
	return verdicts
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
	return why
}

// write writes the report's files, and the summary to out.
func write(r *report.Run, dir string, out io.Writer) error {
	for _, v := range r.Verdicts {
		path := filepath.Join(dir, v.Name+".html")
		os.Remove(path) // of an earlier run
		if v.Picture == nil {
			continue
		}
		if err := v.Picture(path); err != nil {
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
	if err := r.History.Save(filepath.Join(dir, "history.jsonl")); err != nil {
		return err
	}
	if err := r.Text(out); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "report: %s\n", filepath.Join(dir, "index.html"))
	return err
}
