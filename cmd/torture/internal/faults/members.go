package faults

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/node"
)

var memberFaults = []Fault{
	{Name: "add-voter", Row: "M1", About: "a node added, which becomes a voter, and removed again", Kind: Process, Least: 3, Most: 2 * time.Second, begin: adding(0, "voter"), needs: spares},
	{Name: "add-replica", Row: "M1", About: "a replica added, and removed again", Kind: Process, Least: 3, Most: 2 * time.Second, begin: adding(1, "replica"), needs: spares},
	{Name: "remove-leader", Row: "M1", About: "the leader removed while it goes on running, and taken in again", Kind: Process, Least: 3, Most: 4 * time.Second, lasts: 2 * time.Second, begin: removing(theLeader)},
	{Name: "remove-follower", Row: "M1", About: "a follower removed while it goes on running, and taken in again", Kind: Process, Least: 3, Most: 4 * time.Second, lasts: 2 * time.Second, begin: removing(aFollower)},
}

func spares(c *node.Config) { c.Spares = []string{"voter", "replica"} }

// addTimeout is how long a node may take to become a member of its role.
const addTimeout = 15 * time.Second

// adding starts a spare node, and waits until all count it in its role.
func adding(spare int, role string) func(context.Context, *Scene) (Hurt, error) {
	return func(ctx context.Context, s *Scene) (Hurt, error) {
		n, other := s.Cluster.Spares[spare], s.any()
		h := Hurt{What: "added " + n.Name + " as a " + role, End: func(ctx context.Context) error {
			err := s.remove(ctx, other, n)
			n.Kill()
			return errors.Join(err, n.Wipe())
		}}
		if err := n.Start(); err != nil {
			return unhurt, err
		}
		err := s.waitJoined(ctx, addTimeout, func(ctx context.Context) error {
			st, err := other.Status(ctx)
			if err != nil {
				return err
			}
			for _, m := range st.Nodes {
				if m.Name == n.Name && m.Role == role && m.Healthy {
					return nil
				}
			}
			return fmt.Errorf("%s has not become a %s", n.Name, role)
		})
		return h, s.broken(err)
	}
}

// mostTerms is how many elections a cluster may have while a removed node
// runs: one that disturbs causes an election for every one of its timeouts.
const mostTerms = 4

// removing takes a node out while it is well, and lets it run: it must not
// disturb the others, whose term stays what it is. Then it is taken in again, with
// an empty disk.
func removing(pick pick) func(context.Context, *Scene) (Hurt, error) {
	return func(ctx context.Context, s *Scene) (Hurt, error) {
		n := pick(ctx, s)[0]
		other := s.any()
		for other == n {
			other = s.any()
		}
		if err := s.remove(ctx, other, n); err != nil {
			return unhurt, err
		}
		elections := s.elections(ctx, []*node.Node{other})
		return Hurt{What: fmt.Sprintf("removed %s at %s, and let it run", n.Name, other.Name), End: func(ctx context.Context) error {
			var err error
			if held := elections(ctx); held > mostTerms*uint64(s.Slack) {
				err = fmt.Errorf("%w: %d elections while %s ran, which was removed", ErrBroken, held, n.Name)
			}
			n.Kill()
			return errors.Join(err, n.Wipe(), n.Start())
		}}, nil
	}
}

// within bounds what is promised to take no longer than the limit.
func (s *Scene) within(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, limit*time.Duration(s.Slack))
}

// waitFor repeats a look until it finds nothing wrong, or the time is over.
func (s *Scene) waitFor(ctx context.Context, limit time.Duration, look func(context.Context) error) error {
	end := time.Now().Add(limit * time.Duration(s.Slack))
	return waitUntil(ctx, func() time.Time { return end }, look)
}

// waitJoined is waitFor what takes all nodes: where a fault of the network keeps
// them from each other, they have time to work together again. Such a fault
// itself must not wait so, for it would have time without end.
func (s *Scene) waitJoined(ctx context.Context, limit time.Duration, look func(context.Context) error) error {
	begin, slack := time.Now(), time.Duration(s.Slack)
	return waitUntil(ctx, func() time.Time { return s.Parting.deadline(begin, limit*slack, rejoinTimeout*slack) }, look)
}

// waitUntil repeats a look until it finds nothing wrong, or a deadline has
// passed, which may move. The error is that of the last look but one, if there
// was one: that of the last may be the deadline itself.
func waitUntil(ctx context.Context, deadline func() time.Time, look func(context.Context) error) error {
	begin := time.Now()
	for last := error(nil); ; {
		err := lookUntil(ctx, deadline(), look)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil || !time.Now().Before(deadline()) {
			return fmt.Errorf("after %v: %w", time.Since(begin).Round(time.Millisecond), cmp.Or(last, err))
		}
		last = err
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func lookUntil(ctx context.Context, deadline time.Time, look func(context.Context) error) error {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	return look(ctx)
}
