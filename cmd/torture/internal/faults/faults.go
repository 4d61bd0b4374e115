// Package faults hurts a cluster, and heals it again, on a schedule that a seed
// determines.
package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/node"
)

// Kind says what a fault works on: of each kind one fault at a time.
type Kind string

const (
	Process Kind = "process"
	Network Kind = "network" // needs a network namespace for each node
	Clocks  Kind = "clock"
	Disk    Kind = "disk"
	Load    Kind = "load" // of clients
)

// Fault is one way to hurt a cluster.
type Fault struct {
	Name  string
	Row   string // of the fault matrix
	About string
	Kind  Kind
	Least int           // nodes that it takes
	Most  time.Duration // for which it is held

	begin func(context.Context, *Scene) (Hurt, error)
	needs func(*node.Config) // what it needs from the cluster's start; nil: nothing

	// lasts is how long it is held at least, or half of Most if that is less. Zero:
	// a tenth of a second.
	lasts time.Duration

	// Unsupported says that the server does not promise to bear it: it is only
	// there for those who name it.
	Unsupported bool

	// ends says that a fault of another kind ends processes and starts them, as
	// those of processes and of disks do.
	ends bool

	// Gain is how much faster than the others' a node's clock runs meanwhile:
	// 0.01 is 10 ms a second.
	Gain float64
}

// Needs adds what the fault needs to the cluster that it is to hurt.
func (f Fault) Needs(c *node.Config) {
	if f.needs != nil {
		f.needs(c)
	}
}

// Scene is what a fault finds.
type Scene struct {
	Cluster *node.Cluster
	Rand    *rand.Rand
	Slack   int      // how many times longer than is promised things may take
	Alone   bool     // no other fault is of the same round
	Parting *Parting // by faults of the same round
}

// Hurt is a fault that has begun.
type Hurt struct {
	What string // was done, to whom
	// End undoes it. It does not wait until the cluster is whole.
	End func(context.Context) error
	// Did says, after the end, how much was done. Nil: What says all.
	Did func() string
}

// unhurt is a fault that has changed nothing.
var unhurt = Hurt{End: func(context.Context) error { return nil }}

// ErrBroken says that a promise was broken that only the fault itself can see.
var ErrBroken = errors.New("a promise is broken")

// broken makes an error one of a promise. Beside another fault it says no more
// than that this one could not be carried out: the other may be the reason.
func (s *Scene) broken(err error) error {
	if err == nil || !s.Alone {
		return err
	}
	return fmt.Errorf("%w: %w", ErrBroken, err)
}

// All are the faults.
var All = slices.Concat(processFaults, networkFaults, upgradeFaults, relayFaults, clockFaults, snapshotFaults, limitFaults, memberFaults, diskFaults, fileFaults, crowdFaults)

// Possible returns nil if the fault can be had on such a cluster, else why not.
func (f Fault) Possible(nodes int, isolated bool) error {
	switch {
	case f.Kind == Network && !isolated:
		return fmt.Errorf("%s needs network namespaces", f.Name)
	case nodes < f.Least:
		return fmt.Errorf("%s takes %d nodes", f.Name, f.Least)
	}
	var c node.Config
	if f.Needs(&c); c.Disks {
		if err := node.CanHurtDisks(); err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	return nil
}

// Select returns the faults that a list names, by name or by row of the fault
// matrix. Empty: all that are possible and supported. One that is named and not
// possible is an error.
func Select(list string, nodes int, isolated bool) ([]Fault, error) {
	var selected []Fault
	if list == "" {
		for _, f := range All {
			if !f.Unsupported && f.Possible(nodes, isolated) == nil {
				selected = append(selected, f)
			}
		}
		return selected, nil
	}
	for _, name := range strings.Split(list, ",") {
		if name == "none" {
			continue
		}
		found := false
		for _, f := range All {
			if !strings.EqualFold(f.Name, name) && !strings.EqualFold(f.Row, name) {
				continue
			}
			if err := f.Possible(nodes, isolated); err != nil {
				return nil, err
			}
			selected, found = append(selected, f), true
		}
		if !found {
			return nil, fmt.Errorf("no fault and no row is named %q", name)
		}
	}
	return selected, nil
}

// any returns a node.
func (s *Scene) any() *node.Node { return s.Cluster.Nodes[s.Rand.IntN(len(s.Cluster.Nodes))] }

// some returns n different nodes.
func (s *Scene) some(n int) []*node.Node {
	var nodes []*node.Node
	for _, i := range s.Rand.Perm(len(s.Cluster.Nodes))[:n] {
		nodes = append(nodes, s.Cluster.Nodes[i])
	}
	return nodes
}

// others returns all nodes but some.
func (s *Scene) others(but ...*node.Node) []*node.Node {
	return slices.DeleteFunc(slices.Clone(s.Cluster.Nodes), func(n *node.Node) bool { return slices.Contains(but, n) })
}

// leader returns the node that leads; where none does, any.
func (s *Scene) leader(ctx context.Context) *node.Node {
	if n, err := s.Cluster.Leader(ctx); err == nil {
		return n
	}
	return s.any()
}

// follower returns a node that does not lead.
func (s *Scene) follower(ctx context.Context) *node.Node {
	leader := s.leader(ctx)
	for {
		if n := s.any(); n != leader {
			return n
		}
	}
}

// names lists nodes for people.
func names(nodes []*node.Node) string {
	var all []string
	for _, n := range nodes {
		all = append(all, n.Name)
	}
	return strings.Join(all, ", ")
}
