package faults

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/node"
)

var processFaults = []Fault{
	{Name: "kill", Row: "P1", About: "SIGKILL of one node", Kind: Process, Least: 1, Most: 2 * time.Second, begin: killing(one)},
	{Name: "kill-leader", Row: "P1", About: "SIGKILL of the leader", Kind: Process, Least: 1, Most: 2 * time.Second, begin: killing(theLeader)},
	{Name: "kill-majority", Row: "P1", About: "SIGKILL of a majority at once", Kind: Process, Least: 3, Most: 2 * time.Second, begin: killing(majority)},
	{Name: "kill-all", Row: "P1", About: "SIGKILL of all nodes at once", Kind: Process, Least: 1, Most: 2 * time.Second, begin: killing(all)},
	{Name: "term", Row: "P3", About: "SIGTERM of one node, which must end well", Kind: Process, Least: 1, Most: time.Second, begin: terminating(one)},
	{Name: "term-leader", Row: "P3", About: "SIGTERM of the leader, which must end well", Kind: Process, Least: 1, Most: time.Second, begin: terminating(theLeader)},
	{Name: "pause", Row: "P2", About: "SIGSTOP of one node for 0.1 to 3 s", Kind: Process, Least: 1, Most: 3 * time.Second, begin: pausing(one)},
	{Name: "pause-leader", Row: "P2", About: "SIGSTOP of the leader for 0.1 to 3 s", Kind: Process, Least: 1, Most: 3 * time.Second, begin: pausing(theLeader)},
	{Name: "pause-all", Row: "P2", About: "SIGSTOP of all nodes for 0.1 to 3 s", Kind: Process, Least: 1, Most: 3 * time.Second, begin: pausing(all)},
	{Name: "starve", Row: "P5", About: "one node stopped for 50 of every 60 ms, as without CPU", Kind: Process, Least: 1, Most: 4 * time.Second, begin: starving(one)},
	{Name: "starve-leader", Row: "P5", About: "the leader stopped for 50 of every 60 ms", Kind: Process, Least: 1, Most: 4 * time.Second, begin: starving(theLeader)},
	{Name: "throttle-leader", Row: "P5", About: "the leader stopped for 95 of every 100 ms", Kind: Process, Least: 1, Most: 4 * time.Second, begin: throttling(theLeader, 5*time.Millisecond, 95*time.Millisecond)},
	{Name: "transfer", Row: "M2", About: "leadership asked to move every 300 ms", Kind: Process, Least: 2, Most: 3 * time.Second, begin: transferring},
	{Name: "replace", Row: "M1", About: "a node removed, its disk emptied, and taken in again", Kind: Process, Least: 3, Most: 2 * time.Second, begin: replacing},
	{Name: "wipe", Row: "D9", About: "a node's disk emptied; the old member removed while it waits", Kind: Process, Least: 3, Most: 3 * time.Second, begin: wiping},
}

// pick chooses the nodes that a fault hits.
type pick func(context.Context, *Scene) []*node.Node

func one(_ context.Context, s *Scene) []*node.Node         { return s.some(1) }
func theLeader(ctx context.Context, s *Scene) []*node.Node { return []*node.Node{s.leader(ctx)} }
func majority(_ context.Context, s *Scene) []*node.Node {
	return s.some(len(s.Cluster.Nodes)/2 + 1)
}
func all(_ context.Context, s *Scene) []*node.Node { return s.Cluster.Nodes }

// killing ends nodes at the same moment, and starts them again.
func killing(pick pick) func(context.Context, *Scene) (Hurt, error) {
	return func(ctx context.Context, s *Scene) (Hurt, error) {
		nodes := pick(ctx, s)
		node.KillAll(nodes)
		return Hurt{What: "killed " + names(nodes), End: starting(nodes)}, nil
	}
}

func starting(nodes []*node.Node) func(context.Context) error {
	return func(context.Context) error {
		var errs []error
		for _, n := range nodes {
			errs = append(errs, n.Start())
		}
		return errors.Join(errs...)
	}
}

func terminating(pick pick) func(context.Context, *Scene) (Hurt, error) {
	return func(ctx context.Context, s *Scene) (Hurt, error) {
		nodes := pick(ctx, s)
		begin := time.Now()
		for _, n := range nodes {
			if err := n.Terminate(); err != nil {
				return Hurt{End: starting(nodes)}, err
			}
		}
		return Hurt{What: fmt.Sprintf("terminated %s, which took %v", names(nodes), time.Since(begin).Round(time.Millisecond)), End: starting(nodes)}, nil
	}
}

func pausing(pick pick) func(context.Context, *Scene) (Hurt, error) {
	return func(ctx context.Context, s *Scene) (Hurt, error) {
		nodes := pick(ctx, s)
		err := signal(nodes, syscall.SIGSTOP)
		h := Hurt{What: "paused " + names(nodes), End: func(context.Context) error { return signal(nodes, syscall.SIGCONT) }}
		return s.outlived(ctx, h, s.others(nodes...)), err
	}
}

func signal(nodes []*node.Node, sig syscall.Signal) error {
	var errs []error
	for _, n := range nodes {
		errs = append(errs, n.Signal(sig))
	}
	return errors.Join(errs...)
}

// starving lets nodes run for 10 ms out of every 60.
func starving(pick pick) func(context.Context, *Scene) (Hurt, error) {
	return throttling(pick, 10*time.Millisecond, 50*time.Millisecond)
}

// throttling stops nodes again and again, as a quota of CPU time does.
func throttling(pick pick, run, stop time.Duration) func(context.Context, *Scene) (Hurt, error) {
	return func(ctx context.Context, s *Scene) (Hurt, error) {
		nodes := pick(ctx, s)
		stops := repeat(run, func() error {
			stopped := signal(nodes, syscall.SIGSTOP)
			time.Sleep(stop)
			return errors.Join(stopped, signal(nodes, syscall.SIGCONT))
		})
		return Hurt{What: fmt.Sprintf("let %s run for %v of every %v", names(nodes), run, run+stop), End: stops.end, Did: stops.String}, nil
	}
}

// transferring asks for another leader again and again. A refusal is no
// failure: the last transfer may not be over yet.
func transferring(ctx context.Context, s *Scene) (Hurt, error) {
	moves := repeat(300*time.Millisecond, func() error {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		return s.any().TransferLeadership(ctx, "")
	})
	return Hurt{What: "had leadership move every 300 ms", End: moves.end, Did: moves.String}, nil
}

// replacing removes a node while it is well.
func replacing(ctx context.Context, s *Scene) (Hurt, error) {
	nodes := s.some(2)
	old, other := nodes[0], nodes[1]
	end := starting([]*node.Node{old})
	if err := s.remove(ctx, other, old); err != nil {
		return unhurt, err
	}
	old.Kill()
	if err := old.Wipe(); err != nil {
		return Hurt{End: end}, err
	}
	return Hurt{What: fmt.Sprintf("removed %s at %s, and emptied its disk", old.Name, other.Name), End: end}, nil
}

// wiping lets a node with an empty disk wait for its old self to be removed.
func wiping(ctx context.Context, s *Scene) (Hurt, error) {
	nodes := s.some(2)
	old, other := nodes[0], nodes[1]
	old.Kill()
	if err := errors.Join(old.Wipe(), old.Start()); err != nil {
		return Hurt{End: starting([]*node.Node{old})}, err
	}
	end := func(ctx context.Context) error {
		var early error
		if old.Ready(ctx) == nil {
			early = fmt.Errorf("%w: %s, whose disk was emptied, is ready before its old self is removed", ErrBroken, old.Name)
		}
		return errors.Join(early, s.remove(ctx, other, old))
	}
	return Hurt{What: fmt.Sprintf("killed %s, emptied its disk and started it", old.Name), End: end}, nil
}

// removeTimeout is how long a healthy majority may take to remove a member.
const removeTimeout = 10 * time.Second

// remove asks until the member is gone: there may be no leader at first.
func (s *Scene) remove(ctx context.Context, at, member *node.Node) error {
	err := s.waitJoined(ctx, removeTimeout, at.Removal(member.Name))
	if err != nil {
		return s.broken(fmt.Errorf("%s cannot be removed at %s: %w", member.Name, at.Name, err))
	}
	return nil
}
