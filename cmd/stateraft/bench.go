package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/stateraft/stateraft/client"
)

// Modes of the load.
const (
	benchModeWrite = "write"
	benchModeRead  = "read"
	benchModeStale = "stale"
	benchModeMixed = "mixed"
	benchModeAll   = "all" // the first three, in turn
	benchModeWatch = "watch"
	benchModeIdle  = "idle"
)

// benchConfig is everything that "stateraft bench" can be told.
type benchConfig struct {
	remote
	mode        string
	clients     uint64
	duration    time.Duration
	valueBytes  uint64
	keys        uint64
	workflows   uint64
	readPercent uint64
	keep        bool
	streams     benchStreamsConfig
}

func newBenchCommand() *cobra.Command {
	var c benchConfig
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Put load on a running cluster and measure it",
		Long: `Put load on a running cluster and measure throughput and latency.

Clients are spread evenly over the endpoints, each with a connection of its own,
and each sends its next request when it has the answer to the one before. So
throughput times mean latency is the number of clients, and latencies are those
of a cluster as loaded as this many clients can make it. The load is made cheap,
but on the machine of a node it takes from that node's CPU.

It first writes all keys once, unmeasured, into workflows named bench-…, and
deletes them in the end, for 30 s at most, unless --keep is given. Modes: write, read (linearizable),
stale (reads without the leader), mixed (writes and linearizable reads), and all:
write, read and stale in turn. Requests that fail are counted by their code, have
no latency, and are followed by a pause of 20 ms.

Two more modes measure streams of one key, spread over the endpoints: watch has
one client write at a steady rate through the first endpoint, and measures each
event from when its write was sent, on the leader and on followers apart; idle
has all streams wait for --duration, and then measures a single event. Idle runs
at the same time share their key, so that each event goes to the streams of all:
where a process may not have that many connections, run one for each endpoint.`,
		Example: `  stateraft bench --endpoints http://127.0.0.1:7474,http://127.0.0.1:7475,http://127.0.0.1:7476
  stateraft bench --mode write --clients 64 --value-bytes 1KiB --duration 30s
  stateraft bench --mode mixed --read-percent 95 --output json
  stateraft bench --mode watch --subscribers 1000 --writes-per-second 50
  stateraft bench --mode idle --subscribers 18000 --duration 1m`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.check(); err != nil {
				return err
			}
			out := newOutput(cmd.OutOrStdout(), c.form)
			run := runBench
			if c.mode == benchModeWatch || c.mode == benchModeIdle {
				run = runStreams
			}
			return explain(run(cmd.Context(), c, out, progress(cmd.ErrOrStderr())))
		},
	}
	c.bindLoad(cmd.Flags())
	c.bind(cmd)
	return cmd
}

func (c *benchConfig) bindLoad(fs *pflag.FlagSet) {
	c.mode, c.clients, c.duration = benchModeAll, 256, 10*time.Second
	c.valueBytes, c.keys, c.workflows, c.readPercent = 256, 10_000, 100, 90
	fs.Var(choiceValue(&c.mode, benchModeWrite, benchModeRead, benchModeStale, benchModeMixed, benchModeAll, benchModeWatch, benchModeIdle), "mode", "what the clients do")
	fs.Var(countValue(&c.clients, 1, 20_000), "clients", "clients, each with one request on its way")
	fs.Var(durationValue(&c.duration, 100*time.Millisecond, 24*time.Hour), "duration", "how long each mode is measured")
	fs.Var(sizeValue(&c.valueBytes, 2, 8<<20), "value-bytes", "size of a value")
	fs.Var(countValue(&c.keys, 1, 100_000_000), "keys", "keys that are written and read")
	fs.Var(countValue(&c.workflows, 1, 1_000_000), "workflows", "workflows that the keys are spread over")
	fs.Var(countValue(&c.readPercent, 0, 100), "read-percent", "share of reads in mixed")
	fs.BoolVar(&c.keep, "keep", false, "leave the keys in the store")
	c.streams.bind(fs)
}

// check completes the configuration and finds mistakes in it as any client
// command does.
func (c *benchConfig) check() error {
	checked, err := c.open()
	if err != nil {
		return err
	}
	checked.Close()
	if len(c.endpoints) == 0 {
		c.endpoints = []string{client.DefaultEndpoint}
	}
	return nil
}

func (c benchConfig) modes() []string {
	if c.mode == benchModeAll {
		return []string{benchModeWrite, benchModeRead, benchModeStale}
	}
	return []string{c.mode}
}

// targets makes the endpoints' requests. The workflows are new to the cluster,
// so that no key is touched that was there.
func (c benchConfig) targets() ([]*benchTarget, error) {
	workflow := fmt.Sprintf("bench-%08x", rand.Uint32())
	value := `"` + strings.Repeat("x", int(c.valueBytes)-2) + `"`
	var targets []*benchTarget
	for _, endpoint := range c.endpoints {
		t, err := newBenchTarget(c, endpoint, workflow, value)
		if err != nil {
			return nil, err
		}
		targets = append(targets, t)
	}
	return targets, nil
}

// runBench measures each mode and shows what it found. If ctx ends it shows
// what it has, and still removes its keys.
func runBench(ctx context.Context, c benchConfig, out *output, say func(string, ...any)) error {
	targets, err := c.targets()
	if err != nil {
		return err
	}
	workers, err := newBenchWorkers(ctx, int(c.clients), targets)
	if err != nil {
		return err
	}
	defer workers.close()
	if !c.keep {
		defer removeBench(ctx, c, workers, say)
	}
	say("writing %d keys of %s", c.keys, formatSize(c.valueBytes))
	if err := fillBench(ctx, c, workers); err != nil {
		return err
	}
	var runs []benchRun
	for _, mode := range c.modes() {
		say("%s, %d clients, %s", mode, c.clients, formatDuration(c.duration))
		start := time.Now()
		workers.run(ctx, c.duration, c.load(mode))
		runs = append(runs, newBenchRun(c, mode, min(time.Since(start), c.duration), workers, targets))
		if ctx.Err() != nil {
			break
		}
	}
	if err := showBench(out, runs); err != nil {
		return err
	}
	for _, run := range runs {
		if run.Total.Ops == 0 {
			return fmt.Errorf("no %s succeeded", run.Mode)
		}
	}
	return nil
}

const (
	benchFillTimeout   = 10 * time.Minute
	benchRemoveTimeout = 30 * time.Second
)

func fillBench(ctx context.Context, c benchConfig, workers benchWorkers) error {
	workers.run(ctx, benchFillTimeout, eachKey(benchWrite, int(c.keys)))
	if ctx.Err() != nil {
		return errors.New("interrupted before anything was measured")
	}
	stats := workers.stats(nil)
	if written := stats.latency.total; written < c.keys {
		return fmt.Errorf("only %d of %d keys could be written: %s", written, c.keys, formatErrors(stats.errors))
	}
	return nil
}

func removeBench(ctx context.Context, c benchConfig, workers benchWorkers, say func(string, ...any)) {
	say("deleting the keys")
	workers.run(context.WithoutCancel(ctx), benchRemoveTimeout, eachKey(benchDelete, int(c.keys)))
}

// eachKey has the workers together ask once for each key, again where that
// failed. One that keeps failing for about 2 s gives up.
func eachKey(kind benchKind, keys int) func(int) benchNext {
	const tries = 100
	var taken atomic.Int64
	return func(int) benchNext {
		var r benchRequest
		failures := 0
		return func(failed bool) (benchRequest, bool) {
			if failed {
				failures++
				return r, failures < tries
			}
			failures, r = 0, benchRequest{kind, int(taken.Add(1)) - 1}
			return r, r.key < keys
		}
	}
}

// load has each worker ask for keys at random.
func (c benchConfig) load(mode string) func(int) benchNext {
	return func(worker int) benchNext {
		random := rand.New(rand.NewPCG(rand.Uint64(), uint64(worker)))
		return func(bool) (benchRequest, bool) {
			return benchRequest{c.kind(mode, random), random.IntN(int(c.keys))}, true
		}
	}
}

func (c benchConfig) kind(mode string, random *rand.Rand) benchKind {
	switch {
	case mode == benchModeStale:
		return benchStale
	case mode == benchModeRead, mode == benchModeMixed && random.Uint64N(100) < c.readPercent:
		return benchRead
	default:
		return benchWrite
	}
}

// progress says on a terminal what goes on; elsewhere nobody waits for it.
func progress(w io.Writer) func(string, ...any) {
	if !isTerminal(w) {
		return func(string, ...any) {}
	}
	return func(format string, args ...any) { fmt.Fprintf(w, format+" …\n", args...) }
}
