package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/faults"
	"github.com/stateraft/stateraft/cmd/torture/internal/report"
	"github.com/stateraft/stateraft/cmd/torture/internal/workload"
)

const (
	mostNodes    = 9
	mostDuration = 24 * time.Hour
	leastHold    = time.Second
	defaultEpoch = 3 * time.Minute
	mostEpoch    = 10 * time.Minute // what is recorded of it is in memory
	mostSlack    = 10
	// healTime is how long the cluster may take to be whole after the last fault
	// of a round.
	healTime = 10 * time.Second
)

// config is what the command line says.
type config struct {
	duration   time.Duration
	epoch      time.Duration
	seed       uint64
	nodes      int
	faults     string
	workloads  string
	combined   bool
	hold       time.Duration
	slack      int
	binary     string
	old        string // that the nodes begin with: a path or a commit; empty: binary
	serveFlags string
	report     string
	loopback   bool
	list       bool
	keep       bool
	until      string

	build     string // hash of the binary; prepare finds it
	tester    string // hash of this program; prepare finds it
	oldBinary string // path of old; empty: none
}

// parse reads the command line.
func parse(args []string, stderr io.Writer) (*config, error) {
	c := &config{}
	fs := flag.NewFlagSet("torture", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = usage(fs, `Usage: torture [flags]
       torture matrix [flags]    the whole fault matrix, row by row; see its --help

Starts a cluster, lets clients work on it, hurts it, and checks that it kept its
promises. Exit codes: 0 it did, 1 it did not, 2 there was no test.
`)
	fs.DurationVar(&c.duration, "duration", time.Minute, "how long to hurt the cluster")
	fs.DurationVar(&c.epoch, "epoch", defaultEpoch, "how long workloads go on until what they did is checked and they begin anew on other keys")
	fs.StringVar(&c.until, "until", "", "end with the first epoch in which this check, or any, finds a violation")
	fs.Uint64Var(&c.seed, "seed", uint64(time.Now().UnixNano()), "determines the faults and what clients do")
	fs.Lookup("seed").DefValue = "another every time"
	fs.IntVar(&c.nodes, "nodes", 3, "number of nodes, all voters")
	fs.StringVar(&c.faults, "faults", "", "faults by name or row of the fault matrix, comma-separated; none: no faults (default all)")
	fs.StringVar(&c.workloads, "workloads", "", "workloads by name, comma-separated (default all)")
	fs.BoolVar(&c.combined, "combined", false, "two faults of different kinds at the same time")
	fs.DurationVar(&c.hold, "hold", 0, "longest time that a fault is held (default: each fault's own)")
	fs.IntVar(&c.slack, "slack", 1, "how many times longer than is promised things may take, for machines that do much else")
	fs.StringVar(&c.binary, "binary", "", "stateraft to test (default: built from ./cmd/stateraft)")
	fs.StringVar(&c.old, "old", "", "what the nodes begin with, for faults U1 and U2: an older stateraft, or a commit of this repository to build (default: the same as --binary)")
	fs.StringVar(&c.serveFlags, "serve-flags", "", "flags for every node's serve, separated by spaces")
	fs.StringVar(&c.report, "report", "torture-report", "directory for the report, the nodes' logs and the history; what it has of them is replaced")
	fs.BoolVar(&c.loopback, "loopback", false, "no network namespaces, even where they can be had")
	fs.BoolVar(&c.list, "list", false, "list faults and workloads, and with -seed the first rounds, and do nothing")
	fs.BoolVar(&c.keep, "keep", false, "keep the nodes' data in the report's directory, as is done where a promise was broken")
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	known := append(checks(), anyCheck)
	switch {
	case c.until != "" && !slices.Contains(known, c.until):
		return nil, fmt.Errorf("--until %q must be one of %s", c.until, strings.Join(known, ", "))
	case fs.NArg() > 0:
		return nil, fmt.Errorf("torture takes no argument such as %q", fs.Arg(0))
	case c.nodes < 1 || c.nodes > mostNodes:
		return nil, fmt.Errorf("--nodes must be from 1 to %d", mostNodes)
	case c.hold != 0 && (c.hold < leastHold || c.hold > c.duration):
		return nil, fmt.Errorf("--hold must be from %v to the --duration", leastHold)
	case c.slack < 1 || c.slack > mostSlack:
		return nil, fmt.Errorf("--slack must be from 1 to %d", mostSlack)
	case c.epoch < time.Second || c.epoch > mostEpoch:
		return nil, fmt.Errorf("--epoch must be from 1s to %v", mostEpoch)
	case c.duration <= 0 || c.duration > mostDuration:
		return nil, fmt.Errorf("--duration must be above 0 and at most %v", mostDuration)
	}
	return c, nil
}

// command is the command line that repeats the run.
func (c *config) command() string {
	parts := []string{"torture", "--seed", fmt.Sprint(c.seed), "--duration", c.duration.String(), "--nodes", fmt.Sprint(c.nodes)}
	for _, f := range []struct{ name, value string }{
		{"faults", c.faults}, {"workloads", c.workloads}, {"serve-flags", c.serveFlags}, {"until", c.until}, {"old", c.old},
	} {
		if f.value != "" {
			parts = append(parts, "--"+f.name, f.value)
		}
	}
	if c.epoch != defaultEpoch {
		parts = append(parts, "--epoch", c.epoch.String())
	}
	if c.combined {
		parts = append(parts, "--combined")
	}
	if c.hold != 0 {
		parts = append(parts, "--hold", c.hold.String())
	}
	if c.slack != 1 {
		parts = append(parts, "--slack", fmt.Sprint(c.slack))
	}
	if c.loopback {
		parts = append(parts, "--loopback")
	}
	return strings.Join(parts, " ")
}

// slacken returns how long what is promised to take d may take.
func (c *config) slacken(d time.Duration) time.Duration { return d * time.Duration(c.slack) }

func (c *config) healLimit() time.Duration { return c.slacken(healTime) }

// selected returns the faults and the workloads of a run.
func (c *config) selected(isolated bool) ([]faults.Fault, []workload.Spec, error) {
	chosen, err := faults.Select(c.faults, c.nodes, isolated)
	if err != nil {
		return nil, nil, err
	}
	var names []string
	for i := range chosen {
		names = append(names, chosen[i].Name)
		if c.hold != 0 {
			chosen[i].Most = c.hold
		}
	}
	if err := distinct(names); err != nil {
		return nil, nil, err
	}
	if c.workloads == "" {
		return chosen, workload.All, nil
	}
	var specs []workload.Spec
	names = strings.Split(c.workloads, ",")
	for _, name := range names {
		i := slices.IndexFunc(workload.All, func(s workload.Spec) bool { return s.Name == name })
		if i < 0 {
			return nil, nil, fmt.Errorf("no workload is named %q", name)
		}
		specs = append(specs, workload.All[i])
	}
	return chosen, specs, distinct(names)
}

func distinct(names []string) error {
	for i, name := range names {
		if slices.Contains(names[:i], name) {
			return fmt.Errorf("%s is named twice", name)
		}
	}
	return nil
}

// prepare makes the report's directory and the binary, and returns the nodes'
// directory.
func (c *config) prepare(stderr io.Writer) (data string, err error) {
	if err := os.MkdirAll(c.report, 0o755); err != nil {
		return "", err
	}
	data = filepath.Join(c.report, "data")
	if err := c.removeOld(); err != nil {
		return "", err
	}
	if c.binary == "" {
		c.binary = filepath.Join(c.report, "stateraft")
		if err := build(c.binary, stderr); err != nil {
			return "", fmt.Errorf("build stateraft (or give --binary): %w", err)
		}
	}
	if c.binary, err = filepath.Abs(c.binary); err != nil {
		return "", err
	}
	if info, err := os.Stat(c.binary); err != nil || info.IsDir() {
		return "", errors.Join(fmt.Errorf("--binary %s is no program", c.binary), err)
	}
	if c.build, err = hash(c.binary); err != nil {
		return "", err
	}
	if c.tester, err = ownHash(); err != nil {
		return "", err
	}
	return data, os.MkdirAll(data, 0o700)
}

// removeOld removes what an earlier run has left in the report's directory.
func (c *config) removeOld() error {
	for _, pattern := range []string{"data", "*.html", "*.log", "history*.jsonl", "summary.txt", report.ResultFile} {
		paths, err := filepath.Glob(filepath.Join(c.report, pattern))
		if err != nil {
			return err
		}
		for _, path := range paths {
			if err := os.RemoveAll(path); err != nil {
				return err
			}
		}
	}
	return nil
}
