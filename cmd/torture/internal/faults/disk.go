package faults

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/faultfs"
	"github.com/stateraft/stateraft/cmd/torture/internal/node"
)

var diskFaults = []Fault{
	{Name: "power", Row: "D1", About: "one node loses power, and what it had not fsynced", Kind: Disk, Least: 1, Most: 2 * time.Second, begin: losingPower(one), needs: disks},
	{Name: "power-leader", Row: "D1", About: "the leader loses power, and what it had not fsynced", Kind: Disk, Least: 1, Most: 2 * time.Second, begin: losingPower(theLeader), needs: disks},
	{Name: "power-majority", Row: "D1", About: "a majority loses power at once, and what it had not fsynced", Kind: Disk, Least: 3, Most: 2 * time.Second, begin: losingPower(majority), needs: disks},
	{Name: "power-all", Row: "D1", About: "all lose power at once, and what they had not fsynced", Kind: Disk, Least: 1, Most: 2 * time.Second, begin: losingPower(all), needs: disks},
	{Name: "torn", Row: "D2", About: "power lost in the middle of a commit of one node's log, and writes torn", Kind: Disk, Least: 1, Most: 2 * time.Second, begin: tearing(one), needs: disks},
	{Name: "torn-all", Row: "D2", About: "the same, and all others lose power at that moment", Kind: Disk, Least: 1, Most: 2 * time.Second, begin: tearing(all), needs: disks},
	{Name: "fsync-error", Row: "D3", About: "one fsync of the log fails at a follower", Kind: Disk, Least: 3, Most: 2 * time.Second, begin: failing(aFollower, faultfs.Sync, 1), needs: disks},
	{Name: "fsync-error-leader", Row: "D3", About: "one fsync of the log fails at the leader", Kind: Disk, Least: 3, Most: 2 * time.Second, begin: failing(theLeader, faultfs.Sync, 1), needs: disks},
	{Name: "write-error", Row: "D3", About: "one write of the log fails at a follower", Kind: Disk, Least: 3, Most: 2 * time.Second, begin: failing(aFollower, faultfs.Write, 1), needs: disks},
	{Name: "write-error-leader", Row: "D3", About: "one write of the log fails at the leader", Kind: Disk, Least: 3, Most: 2 * time.Second, begin: failing(theLeader, faultfs.Write, 1), needs: disks},
	{Name: "broken-disk", Row: "D3", About: "every fsync fails at a follower", Kind: Disk, Least: 3, Most: 3 * time.Second, begin: failing(aFollower, faultfs.Sync, 0), needs: disks},
	{Name: "broken-disk-leader", Row: "D3", About: "every fsync fails at the leader", Kind: Disk, Least: 3, Most: 3 * time.Second, begin: failing(theLeader, faultfs.Sync, 0), needs: disks},
	{Name: "full", Row: "D4", About: "a follower's disk nearly full", Kind: Disk, Least: 3, Most: 4 * time.Second, begin: filling(aFollower), needs: disks},
	{Name: "full-leader", Row: "D4", About: "the leader's disk nearly full", Kind: Disk, Least: 1, Most: 4 * time.Second, begin: filling(theLeader), needs: disks},
	{Name: "full-all", Row: "D4", About: "all disks nearly full", Kind: Disk, Least: 1, Most: 4 * time.Second, begin: filling(all), needs: disks},
	{Name: "stall", Row: "D5", About: "one node's disk hangs for up to 1 s", Kind: Disk, Least: 1, Most: time.Second, begin: stalling(one), needs: disks},
	{Name: "stall-leader", Row: "D5", About: "the leader's disk hangs for 7 to 11 s", Kind: Disk, Least: 3, Most: 4 * time.Second, begin: stallingLong(theLeader), needs: disks},
	{Name: "stall-follower", Row: "D5", About: "a follower's disk hangs for 7 to 11 s", Kind: Disk, Least: 3, Most: 4 * time.Second, begin: stallingLong(aFollower), needs: disks},
	{Name: "slow-disk", Row: "D6", About: "every fsync of the leader takes 50, 200 or 500 ms", Kind: Disk, Least: 1, Most: 5 * time.Second, begin: slowingDisks(theLeader), needs: disks},
	{Name: "slow-disks", Row: "D6", About: "every fsync of all nodes takes 50, 200 or 500 ms", Kind: Disk, Least: 1, Most: 5 * time.Second, begin: slowingDisks(all), needs: disks},
	{Name: "crash-log", Row: "P4", About: "one node loses power before or after a write or an fsync of its log", Kind: Disk, Least: 1, Most: 2 * time.Second, begin: crashingAtLog, needs: disks},
	{Name: "crash-snapshot", Row: "P4", About: "one node loses power before or after a snapshot gets its name", Kind: Disk, Least: 1, Most: time.Second, begin: crashingAtSnapshot, needs: disksAndSnapshots},
	{Name: "crash-restore", Row: "P4", About: "one node loses power while it reads its snapshot at its start", Kind: Disk, Least: 1, Most: time.Second, begin: crashingAtRestore, needs: disksAndSnapshots},
}

func disks(c *node.Config) { c.Disks = true }

func disksAndSnapshots(c *node.Config) {
	disks(c)
	smallSnapshots(c)
}

// Files of a node, as the disk's rules name them.
const (
	logFile   = "raft.db"
	snapshots = "snapshots/*"
	state     = "snapshots/*/state.bin"
)

// stopping is what a node logs that is to end for its log's sake.
const stopping = "the log has failed"

const (
	// crashTimeout is how long a node that is worked on may take to come to the
	// operation at which it is to crash.
	crashTimeout = 5 * time.Second
	// stopTimeout is how long a node may take to find that its disk fails or hangs.
	stopTimeout = 10 * time.Second
	// replaceTimeout is how long a leader whose disk hangs may lead.
	replaceTimeout = 10 * time.Second
	// fullTimeout is how long nodes may take to find a disk full, or not any
	// more.
	fullTimeout = 5 * time.Second
)

func losingPower(pick pick) func(context.Context, *Scene) (Hurt, error) {
	return func(ctx context.Context, s *Scene) (Hurt, error) {
		nodes := pick(ctx, s)
		lost, err := node.LosePower(nodes, faultfs.All, s.Rand)
		return Hurt{What: fmt.Sprintf("cut the power of %s: %s", names(nodes), lost), End: starting(nodes)}, err
	}
}

// tearing has one node crash with writes under way, and the others of those
// picked at the same moment. The others may be nearly as far.
func tearing(pick pick) func(context.Context, *Scene) (Hurt, error) {
	return func(ctx context.Context, s *Scene) (Hurt, error) {
		nodes := pick(ctx, s)
		first := nodes[s.Rand.IntN(len(nodes))]
		rule := faultfs.Rule{Op: faultfs.Sync, Path: logFile, Skip: s.Rand.IntN(20), Crash: faultfs.Before}
		missed := s.awaitCrash(ctx, first, rule, nothing)
		loss := []faultfs.Loss{faultfs.Tear, faultfs.Scatter}[s.Rand.IntN(2)]
		lost, err := node.LosePower(nodes, loss, s.Rand)
		what := fmt.Sprintf("cut the power of %s before an fsync: %s", names(nodes), lost)
		return Hurt{What: what, End: starting(nodes)}, errors.Join(missed, err)
	}
}

// awaitCrash does something, and waits until the node has come to the operation
// at which the rule lets it crash. It is an error if that takes too long; the
// node runs, or not, then.
func (s *Scene) awaitCrash(ctx context.Context, n *node.Node, rule faultfs.Rule, do func() error) error {
	crashed := make(chan struct{})
	rule.Times = 1
	rule.Crashed = func() {
		n.KillSoon()
		close(crashed)
	}
	defer n.Disk.Add(rule)()
	if err := do(); err != nil {
		return err
	}
	ctx, cancel := s.within(ctx, crashTimeout)
	defer cancel()
	select {
	case <-crashed:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s did not come to a %s of %s", n.Name, rule.Op, rule.Path)
	}
}

func nothing() error { return nil }

func crashingAtLog(ctx context.Context, s *Scene) (Hurt, error) {
	return s.crashAt(ctx, s.any(), faultfs.Rule{
		Op: []faultfs.Op{faultfs.Write, faultfs.Sync}[s.Rand.IntN(2)], Path: logFile, Skip: s.Rand.IntN(20), Crash: s.moment(),
	}, nothing)
}

func crashingAtSnapshot(ctx context.Context, s *Scene) (Hurt, error) {
	return s.crashAt(ctx, s.any(), faultfs.Rule{Op: faultfs.Rename, Path: snapshots, Crash: s.moment()}, nothing)
}

// crashingAtRestore lets a node crash once more, while it starts again.
func crashingAtRestore(ctx context.Context, s *Scene) (Hurt, error) {
	n := s.any()
	n.Kill()
	return s.crashAt(ctx, n, faultfs.Rule{Op: faultfs.Read, Path: state, Crash: faultfs.After}, n.Start)
}

func (s *Scene) moment() faultfs.Moment {
	return []faultfs.Moment{faultfs.Before, faultfs.After}[s.Rand.IntN(2)]
}

// crashAt does something, and has a node lose power at an operation, and all
// that is not durable then.
func (s *Scene) crashAt(ctx context.Context, n *node.Node, rule faultfs.Rule, do func() error) (Hurt, error) {
	missed := s.awaitCrash(ctx, n, rule, do)
	lost, err := node.LosePower([]*node.Node{n}, faultfs.All, s.Rand)
	when := map[faultfs.Moment]string{faultfs.Before: "before", faultfs.After: "after"}[rule.Crash]
	what := fmt.Sprintf("cut the power of %s %s a %s of %s: %s", n.Name, when, rule.Op, rule.Path, lost)
	return Hurt{What: what, End: starting([]*node.Node{n})}, errors.Join(missed, err)
}

// failing lets operations on the log fail; 0 times: all on the disk, until the
// end. The node must end by itself, and is started again, as often as it takes.
func failing(pick pick, op faultfs.Op, times int) func(context.Context, *Scene) (Hurt, error) {
	return func(ctx context.Context, s *Scene) (Hurt, error) {
		n := pick(ctx, s)[0]
		end := restart(n)
		rule := faultfs.Rule{Op: op, Path: logFile, Times: times, Skip: s.Rand.IntN(20), Errno: syscall.EIO}
		what := fmt.Sprintf("let a %s of %s fail", op, n.Name)
		if times == 0 {
			rule.Path, rule.Skip, what = "", 0, fmt.Sprintf("let every %s of %s fail", op, n.Name)
		}
		mark := n.LogMark()
		n.Disk.Add(rule)
		return Hurt{What: what, End: end}, s.awaitStop(ctx, n, mark)
	}
}

// awaitStop waits until the node has found that it must end. One that is cut
// off may have nothing to write.
func (s *Scene) awaitStop(ctx context.Context, n *node.Node, mark int64) error {
	err := s.waitJoined(ctx, stopTimeout, func(ctx context.Context) error { return n.WaitLog(ctx, mark, stopping) })
	if err != nil {
		return fmt.Errorf("%w: %s goes on with a disk that fails or hangs: %w", ErrBroken, n.Name, err)
	}
	return nil
}

// tend lets a node end by itself and starts it again, until the function that
// it returns is called, which tells of crashes, but for those that are borne.
func tend(n *node.Node, borne ...string) (untend func() error) {
	mark := n.LogMark()
	n.Tend(true)
	return func() error {
		n.Tend(false)
		return unharmed(n, mark, borne...)
	}
}

// restart tends a node until the function that it returns is called, which heals
// its disk and starts it anew: it may be about to end, or wait before it tries
// again.
func restart(n *node.Node) (end func(context.Context) error) {
	untend := tend(n)
	return func(context.Context) error {
		if n.Disk != nil {
			n.Disk.Heal()
		}
		n.Kill()
		return errors.Join(untend(), n.Start())
	}
}

// unharmed returns an error if a process has crashed, in a way that is not borne.
func unharmed(n *node.Node, mark int64, borne ...string) error {
	line, err := n.Crash(mark, borne...)
	if err != nil || line == "" {
		return err
	}
	return fmt.Errorf("%w: %s has crashed: %s", ErrBroken, n.Name, line)
}

// leastFree and mostFree are the bounds of what a disk has left when it is
// nearly full: less than what makes a node refuse sets, and enough for deletes.
const (
	leastFree = 16 << 20
	mostFree  = 64 << 20
)

// filling takes the room on disks. Nodes must refuse sets, take deletes, and go
// back to normal by themselves.
func filling(pick pick) func(context.Context, *Scene) (Hurt, error) {
	return func(ctx context.Context, s *Scene) (Hurt, error) {
		nodes := pick(ctx, s)
		free := leastFree + s.Rand.Int64N(mostFree-leastFree)
		for _, n := range nodes {
			n.Disk.Fill(free)
		}
		what := fmt.Sprintf("left %d MiB on the disk of %s", free>>20, names(nodes))
		return Hurt{What: what, End: func(ctx context.Context) error {
			for _, n := range nodes {
				n.Disk.Heal()
			}
			return s.awaitAll(ctx, "take sets again", (*node.Node).TakesSets)
		}}, s.awaitAll(ctx, "refuse sets and take deletes", (*node.Node).TakesDeletesOnly)
	}
}

// awaitAll waits until every node has done something.
func (s *Scene) awaitAll(ctx context.Context, what string, does func(*node.Node, context.Context) error) error {
	left := slices.Clone(s.Cluster.Nodes)
	err := s.waitJoined(ctx, fullTimeout, func(ctx context.Context) error {
		for len(left) > 0 {
			if err := does(left[0], ctx); err != nil {
				return err
			}
			left = left[1:]
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%w: %s do not %s: %w", ErrBroken, names(left), what, err)
	}
	return nil
}

// hang lets writes and fsyncs of a disk wait until Heal.
func hang(d *faultfs.Disk) {
	for _, op := range []faultfs.Op{faultfs.Write, faultfs.Sync} {
		d.Add(faultfs.Rule{Op: op, Delay: time.Hour})
	}
}

// stalling lets a disk hang for less than a node bears.
func stalling(pick pick) func(context.Context, *Scene) (Hurt, error) {
	return func(ctx context.Context, s *Scene) (Hurt, error) {
		n := pick(ctx, s)[0]
		hang(n.Disk)
		return Hurt{What: "let the disk of " + n.Name + " hang", End: func(context.Context) error {
			n.Disk.Heal()
			return nil
		}}, nil
	}
}

// stallingLong lets a disk hang until its node has given up, and then some. The
// process cannot end before the disk answers.
func stallingLong(pick pick) func(context.Context, *Scene) (Hurt, error) {
	return func(ctx context.Context, s *Scene) (Hurt, error) {
		n := pick(ctx, s)[0]
		end, mark, begin := restart(n), n.LogMark(), time.Now()
		hang(n.Disk)
		err := s.awaitOtherLeader(ctx, n)
		replaced := time.Since(begin).Round(time.Millisecond)
		err = errors.Join(err, s.awaitStop(ctx, n, mark))
		gaveUp := time.Since(begin).Round(time.Millisecond)
		what := fmt.Sprintf("let the disk of %s hang, which did not lead after %v and gave up after %v", n.Name, replaced, gaveUp)
		return Hurt{What: what, End: end}, err
	}
}

// awaitOtherLeader waits until the others follow one of them.
func (s *Scene) awaitOtherLeader(ctx context.Context, n *node.Node) error {
	err := s.waitJoined(ctx, replaceTimeout, func(ctx context.Context) error {
		for _, other := range s.Cluster.Nodes {
			if other == n {
				continue
			}
			if st, err := other.Status(ctx); err != nil || st.Leader == "" || st.Leader == n.Name {
				return errors.Join(err, fmt.Errorf("%s follows %q", other.Name, st.Leader))
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%w: %s, whose disk hangs, is not replaced: %w", ErrBroken, n.Name, err)
	}
	return nil
}

// slowTerms is how many leaders there may be in the few seconds that disks are
// slow: the one who hands over, and the one who got it.
const slowTerms = 2

func slowingDisks(pick pick) func(context.Context, *Scene) (Hurt, error) {
	return func(ctx context.Context, s *Scene) (Hurt, error) {
		nodes := pick(ctx, s)
		d := []time.Duration{50, 200, 500}[s.Rand.IntN(3)] * time.Millisecond
		elections := s.elections(ctx, s.Cluster.Nodes)
		for _, n := range nodes {
			n.Disk.Add(faultfs.Rule{Op: faultfs.Sync, Delay: d})
		}
		return Hurt{What: fmt.Sprintf("let every fsync of %s take %v", names(nodes), d), End: func(ctx context.Context) error {
			held := elections(ctx)
			for _, n := range nodes {
				n.Disk.Heal()
			}
			if held > slowTerms*uint64(s.Slack) {
				return fmt.Errorf("%w: with slow disks there were %d elections", ErrBroken, held)
			}
			return nil
		}}, nil
	}
}
