package faults

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/node"
)

// The binaries of upgrades are the cluster's Old and New; where they are the
// same, these are restarts one by one. A cluster that cannot go back any more
// goes from New to New.
var upgradeFaults = []Fault{
	{Name: "upgrade-part", Row: "U1", About: "some nodes upgraded, one by one by SIGTERM, and back again", Kind: Process, Least: 3, Most: 3 * time.Second, begin: upgradingPart},
	{Name: "upgrade-mixed", Row: "U1", About: "some nodes upgraded, a leader of either build killed, and back again", Kind: Process, Least: 3, Most: 2 * time.Second, begin: upgradingMixed},
	{Name: "upgrade-all", Row: "U2", About: "all nodes upgraded, the leader last; back again, or the old build refused", Kind: Process, Least: 3, Most: time.Second, begin: upgradingAll},
}

// Upgrades reports whether the fault replaces nodes by those of another binary.
func (f Fault) Upgrades() bool { return f.Row == "U1" || f.Row == "U2" }

// turn is when the fault's turn comes in a bag: those of turn 1, which may leave
// the cluster changed for good, come behind all of turn 0.
func (f Fault) turn() int {
	if f.Row == "U2" {
		return 1
	}
	return 0
}

const (
	// settle is how long what was sent while a node was replaced may take until
	// a kill, which may cost answers, comes.
	settle = 300 * time.Millisecond
	// raiseTimeout is how long after the last node's upgrade the cluster's
	// version may take to rise.
	raiseTimeout = 10 * time.Second
	// refuseTimeout is how long a build may take to see that it is too old.
	refuseTimeout = 10 * time.Second
	// refusal is part of what it then says.
	refusal = "needs protocol version"
	// wholeTimeout is how long the cluster may take to be whole in between.
	wholeTimeout = 10 * time.Second
	// leadTimeout is how long a node of a whole cluster may take to lead.
	leadTimeout = 10 * time.Second
)

// upgradingPart holds a cluster of both builds, under a leader of either.
func upgradingPart(ctx context.Context, s *Scene) (Hurt, error) {
	u, err := s.upgrade(ctx)
	if err != nil {
		return u.hurt(nil), err
	}
	h, err := u.forward(ctx, u.any())
	if err != nil || s.Rand.IntN(2) == 0 {
		return h, err
	}
	return h, u.lead(ctx, u.moved[s.Rand.IntN(len(u.moved))])
}

// upgradingMixed kills, in a cluster of both builds, a leader of each.
func upgradingMixed(ctx context.Context, s *Scene) (Hurt, error) {
	u, err := s.upgrade(ctx)
	if err != nil {
		return u.hurt(nil), err
	}
	some := u.any()
	h, err := u.forward(ctx, some)
	if err != nil {
		return h, err
	}
	others := slices.DeleteFunc(slices.Clone(s.Cluster.Nodes), func(n *node.Node) bool { return slices.Contains(some, n) })
	for _, side := range [][]*node.Node{some, others} {
		n := side[s.Rand.IntN(len(side))]
		if err := u.lead(ctx, n); err != nil {
			return h, err
		}
		time.Sleep(settle)
		n.Kill()
		if err := errors.Join(n.Start(), u.whole(ctx)); err != nil {
			return h, err
		}
	}
	return h, nil
}

// upgradingAll upgrades all. If that raises the cluster's version, the old
// build must refuse to run; if not, all go back.
func upgradingAll(ctx context.Context, s *Scene) (Hurt, error) {
	u, err := s.upgrade(ctx)
	if err != nil {
		return u.hurt(nil), err
	}
	leader := s.leader(ctx)
	order := append(u.others(leader), leader)
	h, err := u.forward(ctx, order)
	if err != nil || u.newest.Protocol.Max == u.oldest.Protocol.Max {
		return h, err
	}
	h.End = func(context.Context) error { return nil } // there is no way back
	if err := u.raised(ctx); err != nil {
		return h, err
	}
	said, err := u.refused(ctx, s.any())
	h.What += ", " + said
	return h, err
}

// upgrade is one that goes on.
type upgrade struct {
	*Scene
	oldest, newest node.Build   // of Old and New
	back           string       // binary to go back to
	moved          []*node.Node // to New, and not back yet
}

func (s *Scene) upgrade(ctx context.Context) (*upgrade, error) {
	u := &upgrade{Scene: s, back: s.Cluster.Old}
	var errs [3]error
	var version uint32
	u.oldest, errs[0] = node.Describe(s.Cluster.Old)
	u.newest, errs[1] = node.Describe(s.Cluster.New)
	version, errs[2] = u.version(ctx)
	if version > u.oldest.Protocol.Max {
		u.back = s.Cluster.New
	}
	return u, errors.Join(errs[:]...)
}

// version is the cluster's protocol version, as far as any node has heard.
func (u *upgrade) version(ctx context.Context) (version uint32, err error) {
	for _, n := range u.Cluster.Nodes {
		st, failed := n.Status(ctx)
		version, err = max(version, st.Version.Cluster), errors.Join(err, failed)
	}
	if version > 0 {
		err = nil
	}
	return version, err
}

// any returns some of the nodes, and not all.
func (u *upgrade) any() []*node.Node {
	return u.some(1 + u.Rand.IntN(len(u.Cluster.Nodes)-1))
}

// forward moves nodes to New, one by one.
func (u *upgrade) forward(ctx context.Context, nodes []*node.Node) (Hurt, error) {
	for _, n := range nodes {
		u.moved = append(u.moved, n) // also if that fails half way
		if err := u.replace(ctx, n, u.Cluster.New, nothing); err != nil {
			return u.hurt(nodes), err
		}
	}
	return u.hurt(nodes), nil
}

func (u *upgrade) hurt(nodes []*node.Node) Hurt {
	return Hurt{What: fmt.Sprintf("upgraded %s from %s to %s", names(nodes), u.oldest.Version, u.newest.Version), End: u.end}
}

// end takes the nodes that were moved back, in the order in which they went.
func (u *upgrade) end(ctx context.Context) error {
	var errs []error
	for _, n := range u.moved {
		errs = append(errs, u.replace(ctx, n, u.back, nothing))
	}
	return errors.Join(errs...)
}

// replace replaces a node's process, which must be ready in time.
func (u *upgrade) replace(ctx context.Context, n *node.Node, binary string, between func() error) error {
	err := u.Cluster.Replace(ctx, n, binary, between)
	if errors.Is(err, node.ErrNotReady) {
		return u.broken(err)
	}
	return err
}

// lead makes a node of a whole cluster lead.
func (u *upgrade) lead(ctx context.Context, n *node.Node) error {
	if err := u.whole(ctx); err != nil {
		return err
	}
	return u.broken(u.handOver(ctx, n))
}

// handOver asks until a node leads: a leader may refuse for the moment.
func (s *Scene) handOver(ctx context.Context, n *node.Node) error {
	return s.waitFor(ctx, leadTimeout, func(ctx context.Context) error {
		leader, err := s.Cluster.Leader(ctx)
		if err == nil && leader == n {
			return nil
		}
		err = n.TransferLeadership(ctx, n.Name)
		return errors.Join(fmt.Errorf("%s does not lead", n.Name), err)
	})
}

func (u *upgrade) whole(ctx context.Context) error {
	ctx, cancel := u.within(ctx, wholeTimeout)
	defer cancel()
	return u.broken(u.Cluster.WaitWhole(ctx))
}

// raised waits until the cluster speaks the newest version.
func (u *upgrade) raised(ctx context.Context) error {
	err := u.waitFor(ctx, raiseTimeout, func(ctx context.Context) error {
		version, err := u.version(ctx)
		if err == nil && version != u.newest.Protocol.Max {
			err = fmt.Errorf("all were upgraded, and the cluster speaks version %d and not %d", version, u.newest.Protocol.Max)
		}
		return err
	})
	return u.broken(err)
}

// refused tries Old on a node, and then starts New there again.
func (u *upgrade) refused(ctx context.Context, n *node.Node) (told string, err error) {
	err = u.replace(ctx, n, u.Cluster.New, func() error {
		ctx, cancel := u.within(ctx, refuseTimeout)
		defer cancel()
		code, said, err := n.Try(ctx, u.Cluster.Old)
		told = fmt.Sprintf("%s ended on %s with code %d: %s", u.oldest.Version, n.Name, code, said)
		if err != nil || code != 1 || !strings.Contains(said, refusal) {
			return errors.Join(fmt.Errorf("%w: %s", node.ErrNotRefused, told), err)
		}
		return nil
	})
	return told, err
}
