package faults

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/node"
)

var processFaults = []Fault{
	{"kill", "P1", "SIGKILL of one node", Process, 1, 2 * time.Second, killing(one)},
	{"kill-leader", "P1", "SIGKILL of the leader", Process, 1, 2 * time.Second, killing(theLeader)},
	{"kill-majority", "P1", "SIGKILL of a majority at once", Process, 3, 2 * time.Second, killing(majority)},
	{"kill-all", "P1", "SIGKILL of all nodes at once", Process, 1, 2 * time.Second, killing(all)},
	{"term", "P3", "SIGTERM of one node, which must end well", Process, 1, time.Second, terminating(one)},
	{"term-leader", "P3", "SIGTERM of the leader, which must end well", Process, 1, time.Second, terminating(theLeader)},
	{"pause", "P2", "SIGSTOP of one node for 0.1 to 3 s", Process, 1, 3 * time.Second, pausing(one)},
	{"pause-leader", "P2", "SIGSTOP of the leader for 0.1 to 3 s", Process, 1, 3 * time.Second, pausing(theLeader)},
	{"pause-all", "P2", "SIGSTOP of all nodes for 0.1 to 3 s", Process, 1, 3 * time.Second, pausing(all)},
	{"starve", "P5", "one node stopped for 50 of every 60 ms, as without CPU", Process, 1, 4 * time.Second, starving(one)},
	{"starve-leader", "P5", "the leader stopped for 50 of every 60 ms", Process, 1, 4 * time.Second, starving(theLeader)},
	{"transfer", "M2", "leadership asked to move every 300 ms", Process, 2, 3 * time.Second, transferring},
	{"replace", "M1", "a node removed, its disk emptied, and taken in again", Process, 3, 2 * time.Second, replacing},
	{"wipe", "D9", "a node's disk emptied; the old member removed while it waits", Process, 3, 3 * time.Second, wiping},
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
		var wg sync.WaitGroup
		for _, n := range nodes {
			wg.Go(n.Kill)
		}
		wg.Wait()
		return Hurt{"killed " + names(nodes), starting(nodes)}, nil
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
		return Hurt{fmt.Sprintf("terminated %s, which took %v", names(nodes), time.Since(begin).Round(time.Millisecond)), starting(nodes)}, nil
	}
}

func pausing(pick pick) func(context.Context, *Scene) (Hurt, error) {
	return func(ctx context.Context, s *Scene) (Hurt, error) {
		nodes := pick(ctx, s)
		err := signal(nodes, syscall.SIGSTOP)
		return Hurt{"paused " + names(nodes), func(context.Context) error { return signal(nodes, syscall.SIGCONT) }}, err
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
	return func(ctx context.Context, s *Scene) (Hurt, error) {
		nodes := pick(ctx, s)
		stop := repeat(10*time.Millisecond, func() {
			signal(nodes, syscall.SIGSTOP)
			time.Sleep(50 * time.Millisecond)
			signal(nodes, syscall.SIGCONT)
		})
		return Hurt{"starved " + names(nodes), stop}, nil
	}
}

// repeat does something again and again, with a pause in between, until the
// function that it returns is called, which waits for the last time.
func repeat(pause time.Duration, do func()) func(context.Context) error {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			do()
			select {
			case <-quit:
				return
			case <-time.After(pause):
			}
		}
	}()
	return func(context.Context) error {
		close(quit)
		<-done
		return nil
	}
}

// transferring asks for another leader again and again. A refusal is no
// failure: the last transfer may not be over yet.
func transferring(ctx context.Context, s *Scene) (Hurt, error) {
	stop := repeat(300*time.Millisecond, func() {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		s.any().TransferLeadership(ctx, "")
	})
	return Hurt{"leadership moved every 300 ms", stop}, nil
}

// replacing removes a node while it is well.
func replacing(ctx context.Context, s *Scene) (Hurt, error) {
	nodes := s.some(2)
	old, other := nodes[0], nodes[1]
	end := starting([]*node.Node{old})
	if err := remove(ctx, other, old); err != nil {
		return Hurt{End: func(context.Context) error { return nil }}, err
	}
	old.Kill()
	if err := old.Wipe(); err != nil {
		return Hurt{End: end}, err
	}
	return Hurt{fmt.Sprintf("removed %s at %s, and emptied its disk", old.Name, other.Name), end}, nil
}

// wiping lets a node with an empty disk wait for its old self to be removed.
func wiping(ctx context.Context, s *Scene) (Hurt, error) {
	nodes := s.some(2)
	old, other := nodes[0], nodes[1]
	old.Kill()
	if err := errors.Join(old.Wipe(), old.Start()); err != nil {
		return Hurt{End: starting([]*node.Node{old})}, err
	}
	end := func(ctx context.Context) error { return remove(ctx, other, old) }
	return Hurt{fmt.Sprintf("killed %s, emptied its disk and started it", old.Name), end}, nil
}

// removeTimeout is how long a healthy majority may take to remove a member.
const removeTimeout = 10 * time.Second

// remove asks until the member is gone: there may be no leader at first.
func remove(ctx context.Context, at, member *node.Node) error {
	ctx, cancel := context.WithTimeout(ctx, removeTimeout)
	defer cancel()
	for {
		err := at.RemoveMember(ctx, member.Name)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s cannot be removed at %s: %w", member.Name, at.Name, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
