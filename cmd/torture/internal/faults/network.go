package faults

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/node"
)

var networkFaults = []Fault{
	{Name: "cut-leader", Row: "N1", About: "the leader cut off the other nodes", Kind: Network, Least: 2, Most: 4 * time.Second, begin: cutting(theLeader)},
	{Name: "cut-but-clients", Row: "N2", About: "the leader cut off everything but its clients", Kind: Network, Least: 2, Most: 6 * time.Second, begin: cuttingButClients},
	{Name: "cut-follower", Row: "N1", About: "a follower cut off the other nodes", Kind: Network, Least: 2, Most: 4 * time.Second, begin: cutting(aFollower)},
	{Name: "cut-halves", Row: "N1", About: "the nodes cut in two halves, at random", Kind: Network, Least: 3, Most: 4 * time.Second, begin: cutting(minority)},
	{Name: "cut-all", Row: "N1", About: "every node cut off every other", Kind: Network, Least: 2, Most: 3 * time.Second, begin: cuttingAll},
	{Name: "mute-leader", Row: "N3", About: "nothing that the leader sends arrives", Kind: Network, Least: 2, Most: 4 * time.Second, begin: oneWay(theLeader, node.Out)},
	{Name: "deaf-leader", Row: "N3", About: "nothing arrives at the leader", Kind: Network, Least: 2, Most: 4 * time.Second, begin: oneWay(theLeader, node.In)},
	{Name: "mute-follower", Row: "N3", About: "nothing that a follower sends arrives", Kind: Network, Least: 2, Most: 4 * time.Second, begin: oneWay(aFollower, node.Out)},
	{Name: "deaf-follower", Row: "N3", About: "nothing arrives at a follower", Kind: Network, Least: 2, Most: 4 * time.Second, begin: oneWay(aFollower, node.In)},
	{Name: "bridge", Row: "N4", About: "two sides that see each other only through one node", Kind: Network, Least: 3, Most: 4 * time.Second, begin: bridging},
	{Name: "ring", Row: "N4", About: "each node sees its two neighbours only", Kind: Network, Least: 5, Most: 4 * time.Second, begin: ringing},
	{Name: "flap", Row: "N1", About: "a node cut off and joined again every 50 to 400 ms", Kind: Network, Least: 2, Most: 4 * time.Second, begin: flapping},
	{Name: "loss", Row: "N5", About: "5, 20 or 50 % of all packets between nodes lost", Kind: Network, Least: 2, Most: 5 * time.Second, begin: losing},
	{Name: "reset", Row: "N6", About: "TCP connections of one node refused and reset, again and again", Kind: Network, Least: 2, Most: 3 * time.Second, begin: resetting},
	{Name: "cut-raft", Row: "N8", About: "the leader's Raft port cut off, gossip goes on", Kind: Network, Least: 2, Most: 4 * time.Second, begin: cuttingPort(node.RaftPort)},
	{Name: "cut-gossip", Row: "N8", About: "the leader's gossip port cut off, Raft goes on", Kind: Network, Least: 2, Most: 4 * time.Second, begin: cuttingPort(node.GossipPort)},
}

func aFollower(ctx context.Context, s *Scene) []*node.Node { return []*node.Node{s.follower(ctx)} }

func minority(_ context.Context, s *Scene) []*node.Node {
	return s.some((len(s.Cluster.Nodes) - 1) / 2)
}

// apply makes rules those of the network, until the hurt ends.
func (s *Scene) apply(what string, rules []node.Rule) (Hurt, error) {
	network := s.Cluster.Network
	return Hurt{What: what, End: func(context.Context) error { return network.Heal() }}, network.Apply(rules)
}

// pairs returns a rule for each ordered pair of nodes that are apart.
func (s *Scene) pairs(apart func(a, b int) bool) []node.Rule {
	var rules []node.Rule
	for a := range s.Cluster.Nodes {
		for b := range s.Cluster.Nodes {
			if a != b && apart(a, b) {
				rules = append(rules, node.Rule{Node: a, Peer: b, Direction: node.In})
			}
		}
	}
	return rules
}

// cutting parts the nodes that are picked from the others.
func cutting(pick pick) func(context.Context, *Scene) (Hurt, error) {
	return func(ctx context.Context, s *Scene) (Hurt, error) {
		nodes := pick(ctx, s)
		h, err := s.apply("cut off "+names(nodes), s.around(nodes))
		return s.outlived(ctx, h, s.others(nodes...)), err
	}
}

// around returns rules that part nodes from the others, both ways.
func (s *Scene) around(nodes []*node.Node) []node.Rule {
	within := func(i int) bool { return slices.Contains(nodes, s.Cluster.Nodes[i]) }
	return s.pairs(func(a, b int) bool { return within(a) != within(b) })
}

func cuttingAll(_ context.Context, s *Scene) (Hurt, error) {
	return s.apply("cut all off each other", s.pairs(func(int, int) bool { return true }))
}

// oneWay drops what a node sends to the others, or what they send to it.
func oneWay(pick pick, d node.Direction) func(context.Context, *Scene) (Hurt, error) {
	return func(ctx context.Context, s *Scene) (Hurt, error) {
		n := pick(ctx, s)[0]
		rules := s.pairs(func(a, _ int) bool { return a == n.Index })
		for i := range rules {
			rules[i].Direction = d
		}
		h, err := s.apply(fmt.Sprintf("dropped the %s of %s", d, n.Name), rules)
		return s.outlived(ctx, h, s.others(n)), err
	}
}

// bridging leaves one node that all see, between two sides that do not see each
// other: it and the larger side are a majority.
func bridging(ctx context.Context, s *Scene) (Hurt, error) {
	order := s.Rand.Perm(len(s.Cluster.Nodes))
	side := make([]int, len(order))
	for place, i := range order[1:] {
		side[i] = 1 + place%2
	}
	rules := s.pairs(func(a, b int) bool { return side[a]+side[b] == 3 })
	h, err := s.apply("bridge is "+s.Cluster.Nodes[order[0]].Name, rules)
	return s.outlived(ctx, h, s.Cluster.Nodes), err
}

// ringing leaves a node and its neighbours a majority only where five are all.
func ringing(ctx context.Context, s *Scene) (Hurt, error) {
	size := len(s.Cluster.Nodes)
	order := s.Rand.Perm(size)
	rules := s.pairs(func(a, b int) bool {
		gap := (order[a] - order[b] + size) % size
		return gap != 1 && gap != size-1
	})
	h, err := s.apply(fmt.Sprint("ring in the order ", order), rules)
	if size > 5 {
		return h, err
	}
	return s.outlived(ctx, h, s.Cluster.Nodes), err
}

// flapping cuts one node off and joins it again, at times that it draws.
func flapping(_ context.Context, s *Scene) (Hurt, error) {
	n := s.any()
	rules := s.around([]*node.Node{n})
	draw := func() time.Duration {
		return 50*time.Millisecond + time.Duration(s.Rand.Int64N(int64(350*time.Millisecond)))
	}
	return s.again("flapped the network of "+n.Name, draw(), rules, draw), nil
}

// again makes rules those of the network again and again, with a pause in
// between, each time for as long as the function says.
func (s *Scene) again(what string, pause time.Duration, rules []node.Rule, hold func() time.Duration) Hurt {
	network := s.Cluster.Network
	times := repeat(pause, func() error {
		applied := network.Apply(rules)
		time.Sleep(hold())
		return errors.Join(applied, network.Heal())
	})
	return Hurt{What: what, End: func(ctx context.Context) error {
		return errors.Join(times.end(ctx), network.Heal())
	}, Did: times.String}
}

func losing(_ context.Context, s *Scene) (Hurt, error) {
	loss := []int{5, 20, 50}[s.Rand.IntN(3)]
	rules := s.pairs(func(int, int) bool { return true })
	for i := range rules {
		rules[i].Loss = loss
	}
	return s.apply(fmt.Sprintf("lost %d %% of the packets", loss), rules)
}

// resetting refuses what arrives at one node for 100 ms out of every 600: every
// connection that says something meanwhile ends, at both of its sides.
func resetting(_ context.Context, s *Scene) (Hurt, error) {
	n := s.any()
	rules := s.pairs(func(a, b int) bool { return a == n.Index || b == n.Index })
	for i := range rules {
		rules[i].Reset = true
	}
	for100ms := func() time.Duration { return 100 * time.Millisecond }
	return s.again("reset the connections of "+n.Name, 500*time.Millisecond, rules, for100ms), nil
}

// cuttingPort parts the leader from the others on one port, both ways.
func cuttingPort(port int) func(context.Context, *Scene) (Hurt, error) {
	return func(ctx context.Context, s *Scene) (Hurt, error) {
		n := s.leader(ctx)
		rules := s.around([]*node.Node{n})
		for i := range rules {
			rules[i].Port = port
		}
		h, err := s.apply(fmt.Sprintf("cut port %d of %s off", port, n.Name), rules)
		return s.outlived(ctx, h, s.others(n)), err
	}
}
