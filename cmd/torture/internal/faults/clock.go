package faults

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/node"
)

var clockFaults = slices.Concat(
	wrongClock("clock-jump", "wall clock 10 s or 1 h off, either way", 0, jumping),
	wrongClock("clock-fast", "clocks 1 % fast", 0.01, always(node.Clock{Rate: 1.01})),
	wrongClock("clock-slow", "clocks 1 % slow", 0, always(node.Clock{Rate: 0.99})),
	wrongClock("clock-freeze", "clocks standing still", 0, always(node.Clock{Rate: 0})),
)

// wrongClock returns the fault for each node that can have the clock.
func wrongClock(name, about string, gain float64, draw func(*Scene) node.Clock) []Fault {
	fault := func(of, whose string, pick pick, leads bool) Fault {
		return Fault{
			Name: name + of, Row: "C1", About: whose + " " + about, Kind: Clocks, Least: 2, Most: 5 * time.Second, Gain: gain,
			needs: func(c *node.Config) { c.Clocks = true },
			begin: settingClock(pick, draw, leads),
		}
	}
	return []Fault{
		fault("-leader", "the leader's", theLeader, false),
		fault("-follower", "a follower's", aFollower, false),
		fault("-next", "a follower's, which leads next:", aFollower, true),
	}
}

func always(c node.Clock) func(*Scene) node.Clock { return func(*Scene) node.Clock { return c } }

func jumping(s *Scene) node.Clock {
	jumps := []time.Duration{10 * time.Second, -10 * time.Second, time.Hour, -time.Hour}
	return node.Clock{Wall: jumps[s.Rand.IntN(len(jumps))], Rate: 1}
}

// settingClock makes a node's clocks wrong, and then, if leads, makes it lead.
func settingClock(pick pick, draw func(*Scene) node.Clock, leads bool) func(context.Context, *Scene) (Hurt, error) {
	return func(ctx context.Context, s *Scene) (Hurt, error) {
		n := pick(ctx, s)[0]
		clock := draw(s)
		h := Hurt{
			What: fmt.Sprintf("set the wall clock of %s off by %v, and its clocks to run at %v", n.Name, clock.Wall, clock.Rate),
			End:  func(context.Context) error { return n.SetClock(node.RightClock) },
		}
		err := n.SetClock(clock)
		if err == nil && leads {
			err = s.handOver(ctx, n) // which nobody promises of such a node
		}
		return h, err
	}
}
