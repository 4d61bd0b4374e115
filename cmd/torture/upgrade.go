package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/check"
	"github.com/stateraft/stateraft/cmd/torture/internal/faults"
	"github.com/stateraft/stateraft/cmd/torture/internal/history"
	"github.com/stateraft/stateraft/cmd/torture/internal/node"
	"github.com/stateraft/stateraft/cmd/torture/internal/workload"
)

// findOld makes the path of a binary of what --old says: a path, or a commit,
// which it builds.
func (c *config) findOld(ctx context.Context, stderr io.Writer) (err error) {
	if c.old == "" {
		return nil
	}
	if info, failed := os.Stat(c.old); failed == nil && !info.IsDir() {
		c.oldBinary, err = filepath.Abs(c.old)
		return err
	}
	c.oldBinary, err = node.BuildCommit(ctx, c.old, c.report, stderr)
	return err
}

const streamPath = "/v1/state/{workflow}/{key}/stream"

// needed is a path of the API that a workload asks for and that early builds do
// not serve.
var needed = map[string]string{
	"stream":    streamPath,
	"atomic":    streamPath, // the truth is what its readers are told
	"pages":     streamPath,
	"lock":      streamPath,
	"agent":     "/api/v1/state/{key}",
	"backup":    "/v1/backup",
	"isolation": "/v1/keys",
}

// leaveOut removes the workloads that the old build does not serve, and says so.
func (t *tester) leaveOut(ctx context.Context) error {
	if t.config.old == "" {
		return nil
	}
	var document struct{ Paths map[string]any }
	if err := t.nodes[0].GetJSON(ctx, "/openapi.json", &document); err != nil {
		return fmt.Errorf("what the old build serves: %w", err)
	}
	t.specs = slices.DeleteFunc(slices.Clone(t.specs), func(s workload.Spec) bool {
		path, known := needed[s.Name]
		if !known || document.Paths[path] != nil {
			return false
		}
		t.leftOut = append(t.leftOut, fmt.Sprintf("workload %s: %s does not serve %s", s.Name, t.config.old, path))
		return true
	})
	return nil
}

// rolls watches nodes that are replaced.
type rolls struct {
	builds map[string]string // versions of binaries
	ready  node.Readiness
}

// watchRolls begins to watch until ctx ends, if one of the faults replaces
// nodes.
func (t *tester) watchRolls(ctx context.Context, wg *sync.WaitGroup, chosen []faults.Fault) error {
	if !slices.ContainsFunc(chosen, faults.Fault.Upgrades) {
		return nil
	}
	t.rolls = &rolls{builds: map[string]string{}}
	for _, binary := range []string{t.cluster.Old, t.cluster.New} {
		b, err := node.Describe(binary)
		if err != nil {
			return err
		}
		t.rolls.builds[binary] = b.Version
	}
	wg.Go(func() { t.rolls.ready.Watch(ctx, t.cluster.Nodes) })
	return nil
}

// checkRolls checks the part of an epoch's history in which nodes were replaced.
func (t *tester) checkRolls(e *epoch, h *history.History) *check.Verdict {
	at := func(instant time.Time) time.Duration { return instant.Sub(t.started) - e.begin }
	t.mu.Lock()
	end := t.epochs[e.number].End
	t.mu.Unlock()
	var steps []check.Step
	for _, s := range t.cluster.Steps() {
		if at(s.Begin) >= 0 && at(s.Begin)+e.begin < end {
			steps = append(steps, check.Step{
				Node: s.Node, From: t.rolls.builds[s.From], To: t.rolls.builds[s.To],
				Led: s.Led, Lingers: s.From == t.cluster.New,
				Begin: at(s.Begin), Ended: at(s.Ended), Ready: at(s.Ready),
			})
		}
	}
	var ready []check.Span
	for _, s := range t.rolls.ready.Spans() {
		ready = append(ready, check.Span{Node: s.Node, From: at(s.From), To: at(s.To)})
	}
	return check.Rolling(h, steps, ready, t.config.excused())
}

// excused is the share of the steps at which requests may fail: at all, where
// another fault is at work; at half, where a busy machine may stop a node for
// longer than it drains, or for an election: what a build does wrong shows at
// more.
func (c *config) excused() float64 {
	switch {
	case c.combined:
		return 1
	case c.slack > 1:
		return 0.5
	}
	return 0
}
