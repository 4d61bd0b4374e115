package faults

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/node"
)

var snapshotFaults = []Fault{
	{Name: "lag", Row: "S1", About: "a follower cut off until only a snapshot helps it", Kind: Network, ends: true, Least: 3, Most: time.Second, begin: lagging(aFollower), needs: smallSnapshots},
	{Name: "lag-leader", Row: "S1", About: "the leader cut off, with writes under way, until only a snapshot helps it", Kind: Network, ends: true, Least: 3, Most: time.Second, begin: lagging(theLeader), needs: smallSnapshots},
	{Name: "kill-sender", Row: "S2", About: "the leader killed while it sends a snapshot", Kind: Network, ends: true, Least: 3, Most: time.Second, begin: interrupting(atSending, killSender), needs: slowSnapshots},
	{Name: "kill-receiver", Row: "S2", About: "a follower killed while it receives a snapshot", Kind: Network, ends: true, Least: 3, Most: time.Second, begin: interrupting(atSending, killReceiver), needs: slowSnapshots},
	{Name: "kill-restorer", Row: "S2", About: "a follower killed while it restores a snapshot that it has received", Kind: Network, ends: true, Least: 3, Most: time.Second, begin: interrupting(atRestore, killReceiver), needs: slowSnapshots},
}

// smallSnapshots makes nodes take snapshots every few seconds, and keep hardly
// any log behind them.
func smallSnapshots(c *node.Config) {
	c.Tuning = []string{"snapshot-threshold 50", "snapshot-interval 1s", "trailing-logs 10"}
}

func slowSnapshots(c *node.Config) {
	smallSnapshots(c)
	relays(c)
}

const (
	// lagTimeout is how long the others may take to cut their logs: two
	// intervals of snapshots, or fifty entries.
	lagTimeout = 20 * time.Second
	// installTimeout is how long a snapshot may take to get there.
	installTimeout = 10 * time.Second
)

// What the library logs.
const (
	installing = "installing snapshot on" // by the sender, at its begin
	received   = "copied to local snapshot"
	installed  = "Installed remote snapshot"
)

// lagging cuts a node off until the others' logs begin behind the end of its
// own. When it is back it must take a snapshot. It may end and start again
// meanwhile: so it gets rid of entries that nobody else has.
func lagging(pick pick) func(context.Context, *Scene) (Hurt, error) {
	return func(ctx context.Context, s *Scene) (Hurt, error) {
		n := pick(ctx, s)[0]
		untend := tend(n)
		begin := time.Now()
		err := s.leaveBehind(ctx, n)
		took := time.Since(begin).Round(time.Millisecond)
		return Hurt{What: fmt.Sprintf("cut %s off, which the others' logs left behind in %v", n.Name, took), End: func(ctx context.Context) error {
			mark := n.LogMark()
			failed := s.Cluster.Network.Heal()
			if failed == nil && err == nil { // else it need not take a snapshot
				failed = s.awaitSnapshot(ctx, n, mark)
			}
			return errors.Join(failed, untend())
		}}, err
	}
}

// awaitSnapshot waits until a node has taken a snapshot of another.
func (s *Scene) awaitSnapshot(ctx context.Context, n *node.Node, mark int64) error {
	ctx, cancel := s.within(ctx, installTimeout)
	defer cancel()
	return s.broken(n.WaitLog(ctx, mark, installed))
}

// leaveBehind cuts a node off, and waits: the others must go on without it.
func (s *Scene) leaveBehind(ctx context.Context, n *node.Node) error {
	if err := s.Cluster.Network.Apply(s.around([]*node.Node{n})); err != nil {
		return err
	}
	return s.broken(s.waitFor(ctx, lagTimeout, func(ctx context.Context) error {
		_, last, err := n.Log(ctx)
		if err != nil {
			return err
		}
		for _, other := range s.Cluster.Nodes {
			first, _, err := other.Log(ctx)
			if err != nil {
				return err
			}
			if other != n && first <= last+1 {
				return fmt.Errorf("the log of %s begins at %d, that of %s ends at %d", other.Name, first, n.Name, last)
			}
		}
		return nil
	}))
}

// interrupting lets a follower take a snapshot, over a slow way, and kills
// somebody at a moment of that.
func interrupting(at moment, victim func(*transfer) *node.Node) func(context.Context, *Scene) (Hurt, error) {
	return func(ctx context.Context, s *Scene) (Hurt, error) {
		nothing := Hurt{End: func(context.Context) error { return s.Cluster.Network.Heal() }}
		to := s.follower(ctx)
		if err := errors.Join(s.load(ctx), s.leaveBehind(ctx, to)); err != nil {
			return nothing, err
		}
		t := &transfer{to: to, marks: map[*node.Node]int64{}, pause: time.Duration(s.Rand.Int64N(int64(mostPause)))}
		for _, n := range s.Cluster.Nodes {
			t.marks[n] = n.LogMark()
			s.Cluster.Relay.Delay(n.Index, to.Index, node.Delay{Least: transferDelay})
		}
		defer s.Cluster.Relay.Heal()
		if err := s.Cluster.Network.Heal(); err != nil {
			return nothing, err
		}
		watched, cancel := s.within(ctx, installTimeout)
		defer cancel()
		if err := errors.Join(t.begun(watched, s), at.come(watched, t)); err != nil {
			return nothing, err
		}
		n := victim(t)
		n.Kill()
		what := fmt.Sprintf("killed %s in the midst of a snapshot from %s to %s", n.Name, t.from.Name, t.to.Name)
		return Hurt{What: what, End: starting([]*node.Node{n})}, at.missed(t)
	}
}

// transfer is that of a snapshot.
type transfer struct {
	from, to *node.Node // from: nil before it has begun
	marks    map[*node.Node]int64
	pause    time.Duration
}

const (
	// transferDelay makes 16 MiB take a second and more: a relay holds back
	// 4 MiB at a time.
	transferDelay = 300 * time.Millisecond
	mostPause     = time.Second
)

// begun waits until some node, whoever leads by then, sends the snapshot.
func (t *transfer) begun(ctx context.Context, s *Scene) error {
	return s.waitFor(ctx, installTimeout, func(ctx context.Context) error {
		for n, mark := range t.marks {
			if n != t.to && n.HasLogged(mark, installing) {
				t.from = n
				return nil
			}
		}
		return fmt.Errorf("nobody sends %s a snapshot", t.to.Name)
	})
}

// moment is one of a transfer.
type moment struct {
	come func(context.Context, *transfer) error // waits for it
	over string                                 // what the receiver logs when it is over
}

var (
	// atSending is some time after the begin of the transfer, and before its end.
	atSending = moment{func(_ context.Context, t *transfer) error {
		time.Sleep(t.pause)
		return nil
	}, received}

	// atRestore is when the follower has all and takes it for its state.
	atRestore = moment{func(ctx context.Context, t *transfer) error {
		return t.to.WaitLog(ctx, t.marks[t.to], received)
	}, installed}
)

// missed returns an error if the moment was over when somebody was killed.
func (m moment) missed(t *transfer) error {
	if t.to.HasLogged(t.marks[t.to], m.over) {
		return fmt.Errorf("the kill came late: %s had logged %q", t.to.Name, m.over)
	}
	return nil
}

func killSender(t *transfer) *node.Node   { return t.from }
func killReceiver(t *transfer) *node.Node { return t.to }

const (
	loadKeys  = 64
	loadBytes = 128 << 10 // of each; the history holds as much once more
)

// load makes the state so large that a snapshot takes time. It stays.
func (s *Scene) load(ctx context.Context) error {
	value := strings.Repeat("x", loadBytes)
	for i := range loadKeys {
		key := fmt.Sprint("load-", i)
		err := s.waitFor(ctx, lagTimeout, func(ctx context.Context) error {
			return s.any().SetOnce(ctx, "load", key, value)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
