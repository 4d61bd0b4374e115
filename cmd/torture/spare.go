package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/stateraft/stateraft/cmd/torture/internal/node"
	"github.com/stateraft/stateraft/cmd/torture/internal/wire"
	"github.com/stateraft/stateraft/cmd/torture/internal/workload"
)

// secure has the nodes ask for API keys if a workload works with them. Builds
// of old, which may not know how, are not asked to, and such workloads are left
// out.
func (t *tester) secure(cluster *node.Config) {
	needsKeys := func(s workload.Spec) bool { return s.Keys }
	switch {
	case !slices.ContainsFunc(t.specs, needsKeys):
	case t.config.old != "":
		t.specs = slices.DeleteFunc(slices.Clone(t.specs), needsKeys)
		t.leftOut = append(t.leftOut, "workloads that work with API keys: old builds may not ask for them")
	default:
		t.token = rand.Text()
		cluster.Token = t.token
	}
}

// startSpare starts a cluster of one node beside the one that is tested.
func (e *epoch) startSpare(ctx context.Context) (*wire.Node, func(), error) {
	name := fmt.Sprint("spare-", e.number)
	cfg := node.Config{
		Binary: e.config.binary, Size: 1, Token: e.token, Slack: e.config.slack,
		Dir: filepath.Join(e.config.report, "data", name), LogDir: filepath.Join(e.config.report, name),
	}
	for _, dir := range []string{cfg.Dir, cfg.LogDir} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, nil, err
		}
	}
	cluster, err := node.Start(cfg)
	stop := func() {
		cluster.Stop()
		e.takeEnded(cluster, "the other cluster: ")
		os.RemoveAll(cfg.Dir)
	}
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, e.config.slacken(startLimit))
		defer cancel()
		err = cluster.WaitWhole(ctx)
	}
	if err != nil {
		stop()
		return nil, nil, err
	}
	return wire.NewNode("the other cluster", cluster.Nodes[0].URL).WithToken(e.token), stop, nil
}
