package cluster

import (
	"flag"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/stateraft/stateraft/cluster/logstore"
)

var (
	simSeeds = flag.Uint64("sim.seeds", 0, "schedules to simulate; default: what takes some seconds, times STATERAFT_TEST_ROUNDS")
	simFirst = flag.Uint64("sim.seed", 1, "seed of the first of them")
)

// simStepsEach is how much happens in one schedule before it is calm.
const simStepsEach = 800

// TestSimulation runs the real proposer, committer, read index, leadership,
// clock, expiry and state machine of every node of a cluster, in virtual time
// and over a simulated Raft, network and disk. Each seed is a schedule, always
// the same. What is checked stands at simCheck.
func TestSimulation(t *testing.T) {
	seeds := *simSeeds
	if seeds == 0 {
		seeds = 150 * simRounds()
	}
	shards := min(uint64(runtime.GOMAXPROCS(0)), seeds) // a schedule keeps one processor busy
	begun := time.Now()
	var steps atomic.Int64
	var found atomic.Bool
	t.Cleanup(func() {
		took := time.Since(begun)
		t.Logf("%d schedules, %d steps in %v: %.0f schedules a minute", seeds, steps.Load(), took.Round(time.Millisecond), float64(seeds)/took.Minutes())
	})
	for shard := range shards {
		t.Run(fmt.Sprint("shard ", shard), func(t *testing.T) {
			t.Parallel()
			s := newSimulator(t)
			for seed := *simFirst + shard; seed < *simFirst+seeds && !found.Load(); seed += shards {
				run := s.run(t, seed)
				if steps.Add(int64(run.steps)); run.violation != "" {
					found.Store(true)
					t.Fatalf("seed %d, after %d steps: %s\nreplay: go test ./cluster -run 'TestSimulation$' -sim.seed %d -sim.seeds 1", seed, run.steps, run.violation, seed)
				}
			}
		})
	}
}

func simRounds() uint64 {
	if n, err := strconv.ParseUint(os.Getenv("STATERAFT_TEST_ROUNDS"), 10, 32); err == nil {
		return n
	}
	return 1
}

// Ensure a seed repeats its schedule, step by step.
func TestSimulationRepeats(t *testing.T) {
	s := newSimulator(t)
	for seed := uint64(1000); seed < 1020; seed++ {
		if first, second := s.run(t, seed), s.run(t, seed); first != second {
			t.Errorf("seed %d: got %+v, then %+v", seed, first, second)
		}
	}
}

// A simulator is what schedules share: parts that take no part in them.
type simulator struct {
	store   *logstore.Store // for its free space alone
	metrics *metrics
}

func newSimulator(t *testing.T) *simulator {
	store, err := logstore.Open(logstore.Config{
		Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler), ScrubRate: -1, LowWater: 1, HighWater: 2,
		Fatal: func(err error) { t.Error(err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return &simulator{store, newMetrics(prometheus.NewRegistry(), &Node{})}
}

// A simRun is how a schedule went.
type simRun struct {
	steps     int
	trace     uint64 // of what happened, in order
	violation string // empty: there was none
}

func (s *simulator) run(t *testing.T, seed uint64) (run simRun) {
	synctest.Test(t, func(*testing.T) {
		w := newSimWorld(seed, s.store, s.metrics)
		run.violation = simViolationOf(w.live)
		run.steps, run.trace = w.steps, w.trace.Sum64()
		if v := simViolationOf(w.end); run.violation == "" {
			run.violation = v
		}
	})
	return run
}

// simViolationOf runs f and returns the violation that ended it.
func simViolationOf(f func()) (violation string) {
	defer func() {
		switch v := recover().(type) {
		case nil:
		case simViolation:
			violation = string(v)
		default:
			panic(v)
		}
	}()
	f()
	return ""
}

// live is a whole schedule.
func (w *simWorld) live() {
	for _, s := range w.nodes {
		s.start()
		w.settle()
	}
	for w.steps < simStepsEach {
		w.step()
	}
	w.calm()
	w.check.ended(w.ops)
	w.check.same(w.nodes)
}

func (w *simWorld) end() {
	for _, s := range w.nodes {
		if s.real != nil {
			s.stop(false)
		}
	}
}
