package cluster

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"
)

// A simBug is one change to one file that breaks a promise; a bug that takes
// several is several in a row, of one name.
type simBug struct {
	name string
	file string // in the module
	good string // occurs once
	bad  string
}

// simBugs are planted together, in one build; a variable of the environment
// says which of them bites.
var simBugs = []simBug{
	{"a batch that comes again is executed again", "fsm/session.go",
		`if a, ok := s.answers[b.Sequence]; ok {`, `if a, ok := s.answers[b.Sequence]; ok && !BUG {`},
	{"a settled sequence is executed again", "fsm/session.go",
		`if b.Sequence < s.low {`, `if BUG {
			s.low = min(s.low, b.Sequence)
		}
		if b.Sequence < s.low {`},
	{"an unknown outcome counts as certain", "cluster/propose.go",
		`errors.Is(err, errNotLeader) ||`, `BUG || errors.Is(err, errNotLeader) ||`},
	{"a leadership that is lost counts as no proposal", "cluster/commit.go",
		`case errors.Is(err, raft.ErrNotLeader),`, `case BUG && err != nil, errors.Is(err, raft.ErrNotLeader),`},
	{"an idempotency key is forgotten", "fsm/idempotency.go",
		`r.byKey.Get(rec); ok {`, `r.byKey.Get(rec); ok && !BUG {`},
	{"idempotency records are not in snapshots", "fsm/image.go",
		`range im.records.len() {`, `range im.records.len() {
			if BUG {
				break
			}`},
	{"answers of sessions are not in snapshots", "fsm/image.go",
		`slices.Sorted(maps.Keys(s.answers)) {`, `slices.Sorted(maps.Keys(s.answers)) {
			if BUG {
				break
			}`},
	{"low of sessions is not restored", "fsm/image.go",
		`node: p.Node, low: p.Low,`, `node: p.Node, low: map[bool]uint64{false: p.Low}[BUG],`},
	{"a key ends early", "fsm/command.go",
		`k.deadline = d.clock + op.Ttl`, `if k.deadline = d.clock + op.Ttl; BUG { k.deadline -= op.Ttl / 100 }`},
	{"a new leader believes the greatest wall clock", "cluster/timeagreement.go",
		`return cmp.Compare(b.Estimate, a.Estimate)`, `if BUG { return cmp.Compare(a.Estimate, b.Estimate) }
		return cmp.Compare(b.Estimate, a.Estimate)`},
	{"a new leader does not look at its log for the time", "cluster/timeagreement.go",
		`index > applied; index-- {`, `index > applied && !BUG; index-- {`},
	{"the clock goes on from the estimate of an earlier term", "cluster/clock.go",
		`case term > c.term, term`, `case BUG && live && !c.live, !BUG && term > c.term, term`},
	{"after a boot a wall clock counts as if it had never been wrong", "cluster/clock.go",
		`return c.wall().UnixMicro() + c.tie`, `return c.wall().UnixMicro() + map[bool]int64{false: c.tie}[BUG]`},
	{"a key that is due is still shown", "fsm/state.go",
		`k.deadline > d.clock }`, `k.deadline > d.clock || BUG }`},
	{"nobody ends keys", "cluster/expiry.go",
		`return max(n.clock.until(deadline), 0)`, `return max(n.clock.until(deadline), map[bool]time.Duration{true: idleWait}[BUG])`},
	{"a leader's clock may be behind the state's", "cluster/clock.go",
		`if ahead || !own`, `if ahead && !(BUG && own) || !own`},
	{"a key made anew begins at version 1", "fsm/command.go",
		`d.intern(ns), d.floorOf(ns)+1, d.clock`, `d.intern(ns), d.floorOf(ns)*map[bool]uint64{false: 1}[BUG]+1, d.clock`},
	{"the history forgets one change too many", "fsm/history.go",
		`if after < h.base {`, `if BUG && after+1 == h.base {
			after++
		}
		if after < h.base {`},
	{"a follower of the history misses a change", "fsm/history.go",
		`h.queue.at(int(from) + i)`, `h.queue.at(min(int(from)+i+map[bool]int{true: 1}[BUG && i == 3], h.queue.len()-1))`},
	{"a read does not wait until its index is applied", "cluster/read.go",
		`r.applied.wait(ctx, index) == nil {`, `(BUG || r.applied.wait(ctx, index) == nil) {`},
	{"a read joins a round that has begun", "cluster/read.go",
		`		r.next = nil
`, `		if !BUG {
			r.next = nil
		}
`},
	{"a read joins a round that has begun", "cluster/read.go",
		`		close(now.known)
`, `		if BUG {
			r.mu.Lock()
			r.next = nil
			r.mu.Unlock()
		}
		close(now.known)
`},
	{"the state machine reads the clock", "fsm/command.go",
		`updated:   d.clock,`, `updated:   d.clock + map[bool]int64{true: plantedNow()}[BUG],`},
}

// simRare are bugs that only a rare schedule shows.
var simRare = map[string]bool{
	"a settled sequence is executed again":                           true,
	"after a boot a wall clock counts as if it had never been wrong": true,
	"a leader's clock may be behind the state's":                     true,
}

const simBugEnv = "STATERAFT_SIM_BUG"

// plantedSource is what the changes use, in each package.
const plantedSource = `

import (
	"os"
	"time"
)

var planted = os.Getenv("` + simBugEnv + `")

func plantedNow() int64 { return time.Now().UnixMicro() }
`

// Ensure the simulation finds each planted bug, and nothing without one.
func TestSimulationFinds(t *testing.T) {
	if testing.Short() {
		t.Skip("builds this package's tests")
	}
	binary := buildWithBugs(t)
	if out, err := simulateWith(binary, "none", "20"); err != nil {
		t.Fatalf("without a bug: %v\n%s", err, out)
	}
	found := regexp.MustCompile(`seed (\d+), after \d+ steps: (.*)`)
	processors := make(chan struct{}, runtime.GOMAXPROCS(0)) // a search keeps one busy, and has a minute
	for i, bug := range simBugs {
		if i > 0 && simBugs[i-1].name == bug.name {
			continue // another part of it
		}
		t.Run(bug.name, func(t *testing.T) {
			if simRare[bug.name] && os.Getenv("STATERAFT_TEST_FULL") == "" {
				t.Skip("takes hundreds of schedules: set STATERAFT_TEST_FULL")
			}
			t.Parallel()
			processors <- struct{}{}
			defer func() { <-processors }()
			begun := time.Now()
			out, err := simulateWith(binary, bug.name, "5000")
			m := found.FindSubmatch(out)
			if err == nil || m == nil {
				t.Fatalf("not found: %v\n%s", err, out)
			}
			t.Logf("seeds %s, %.1f s: %s", m[1], time.Since(begun).Seconds(), m[2])
		})
	}
}

// simulateWith simulates up to so many schedules, for a minute at most, on one
// processor: there is one for each bug that is looked for.
func simulateWith(binary, bug, seeds string) ([]byte, error) {
	cmd := exec.Command(binary, "-test.run", "^TestSimulation$", "-test.timeout", "1m", "-sim.seeds", seeds)
	cmd.Env = append(os.Environ(), simBugEnv+"="+bug, "GOMAXPROCS=1")
	return cmd.CombinedOutput()
}

// buildWithBugs builds this package's tests over sources with all bugs.
func buildWithBugs(t *testing.T) string {
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	sources := map[string]string{}
	for _, bug := range simBugs {
		path := filepath.Join(root, bug.file)
		if _, ok := sources[path]; !ok {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			sources[path] = string(text)
		}
		if n := strings.Count(sources[path], bug.good); n != 1 {
			t.Fatalf("%q: %s holds %d times %q, want once", bug.name, bug.file, n, bug.good)
		}
		bites := `(planted == "` + bug.name + `")`
		sources[path] = strings.Replace(sources[path], bug.good, strings.ReplaceAll(bug.bad, "BUG", bites), 1)
	}
	for _, pkg := range []string{"fsm", "cluster"} {
		sources[filepath.Join(root, pkg, "planted.go")] = "package " + pkg + plantedSource
	}
	binary := filepath.Join(dir, "cluster.test")
	cmd := exec.Command("go", "test", "-c", "-overlay", writeOverlay(t, dir, sources), "-o", binary, ".")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return binary
}

// writeOverlay writes sources, by path, into dir and returns the file for
// go build -overlay that names them.
func writeOverlay(t *testing.T, dir string, sources map[string]string) string {
	replace := map[string]string{}
	for path, text := range sources {
		copied := filepath.Join(dir, filepath.Base(filepath.Dir(path))+"_"+filepath.Base(path))
		replace[path] = copied
		if err := os.WriteFile(copied, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	list, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	overlay := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(overlay, list, 0o600); err != nil {
		t.Fatal(err)
	}
	return overlay
}
