package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/matrix"
	"github.com/stateraft/stateraft/cmd/torture/internal/node"
)

// runSlack is how much longer than its duration a run of the matrix may take to
// start, to check and to report.
const runSlack = 10 * time.Minute

// matrixConfig is what the command line of "torture matrix" says.
type matrixConfig struct {
	duration time.Duration
	seeds    []uint64
	rows     []matrix.Row
	results  string
	write    string
	binary   string
	old      string
	loopback bool
	force    bool
	tell     bool
}

func parseMatrix(args []string, stderr io.Writer) (*matrixConfig, error) {
	c := &matrixConfig{}
	var seeds, rows string
	fs := flag.NewFlagSet("torture matrix", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = usage(fs, `Usage: torture matrix [flags]

Runs every row of the fault matrix with all workloads and several seeds. The
result of each run is kept, and what is done is not done again for the same
server by the same tester: a pass that was interrupted goes on where it was. A broken promise does
not stop it. At the end it prints a table.
`)
	fs.DurationVar(&c.duration, "duration", time.Minute, "of each run")
	fs.StringVar(&seeds, "seeds", "1,2,3", "one run of each row with each, comma-separated")
	fs.StringVar(&rows, "rows", "", "rows, comma-separated (default all)")
	fs.StringVar(&c.results, "results", "torture-results", "directory for results, and for the reports of runs that broke a promise")
	fs.StringVar(&c.write, "write", "", "document to put the table into, between the lines that mark its place")
	fs.StringVar(&c.binary, "binary", "", "stateraft to test (default: built from ./cmd/stateraft)")
	fs.StringVar(&c.old, "old", "", "what the nodes of rows U1 and U2 begin with: an older stateraft, or a commit of this repository")
	fs.BoolVar(&c.loopback, "loopback", false, "no network namespaces, even where they can be had")
	fs.BoolVar(&c.force, "force", false, "do again what is done")
	fs.BoolVar(&c.tell, "tell", false, "run nothing, tell what is done")
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	var err error
	if c.rows, err = matrix.Select(rows); err != nil {
		return nil, err
	}
	if c.seeds, err = parseSeeds(seeds); err != nil {
		return nil, err
	}
	switch {
	case fs.NArg() > 0:
		return nil, fmt.Errorf("torture matrix takes no argument such as %q", fs.Arg(0))
	case c.duration <= 0 || c.duration > mostDuration:
		return nil, fmt.Errorf("--duration must be above 0 and at most %v", mostDuration)
	}
	return c, nil
}

func parseSeeds(list string) ([]uint64, error) {
	var seeds []uint64
	for _, text := range strings.Split(list, ",") {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("--seeds %q must be numbers from 0, separated by commas", list)
		}
		seeds = append(seeds, n)
	}
	return seeds, nil
}

// runMatrix does what the arguments of "torture matrix" say.
func runMatrix(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	c, err := parseMatrix(args, stderr)
	if err != nil {
		return refused(err, stderr)
	}
	p, err := c.pass(stdout, stderr)
	if err == nil && !c.tell {
		err = p.Run(ctx)
	}
	if ctx.Err() != nil {
		err = fmt.Errorf("interrupted: what is done is kept in %s, and the same command goes on", c.results)
	}
	if err != nil {
		return refused(err, stderr)
	}
	ok, err := p.OK()
	if err == nil {
		err = c.tellTable(p, stdout)
	}
	switch {
	case err != nil:
		return refused(err, stderr)
	case !ok:
		return exitViolation
	}
	return exitOK
}

func (c *matrixConfig) tellTable(p *matrix.Pass, stdout io.Writer) error {
	table, err := p.Table()
	if err != nil {
		return err
	}
	fmt.Fprint(stdout, table)
	if c.write == "" {
		return nil
	}
	return matrix.Write(c.write, table)
}

// pass builds what all runs share.
func (c *matrixConfig) pass(stdout, stderr io.Writer) (*matrix.Pass, error) {
	p := &matrix.Pass{
		Rows: c.rows, Seeds: c.seeds, Duration: c.duration, Dir: c.results, Force: c.force,
		Isolated: !c.loopback && node.CanIsolate() == nil, Out: stdout, Torture: c.torture, Old: c.old,
	}
	if c.tell {
		return p, nil
	}
	if err := os.MkdirAll(c.results, 0o755); err != nil {
		return nil, err
	}
	if c.binary == "" {
		c.binary = filepath.Join(c.results, "stateraft")
		if err := build(c.binary, stderr); err != nil {
			return nil, fmt.Errorf("build stateraft (or give --binary): %w", err)
		}
	}
	var err error
	if p.Build, err = hash(c.binary); err != nil {
		return nil, err
	}
	p.Tester, err = ownHash()
	return p, err
}

// torture runs this program once more for one run. What it prints is kept beside
// the report.
func (c *matrixConfig) torture(ctx context.Context, dir string, args []string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	out, err := os.Create(filepath.Join(dir, "output.txt"))
	if err != nil {
		return err
	}
	defer out.Close()
	args = append(args, "--binary", c.binary)
	if c.loopback {
		args = append(args, "--loopback")
	}
	ctx, cancel := context.WithTimeout(ctx, c.duration+runSlack)
	defer cancel()
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = runSlack
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == exitViolation {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w: %s", err, lastLine(out.Name()))
	}
	return nil
}

// lastLine is what a program said last.
func lastLine(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return lines[len(lines)-1]
}
