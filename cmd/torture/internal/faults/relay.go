package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/node"
)

var relayFaults = []Fault{
	{Name: "slow", Row: "N7", About: "what the leader sends and gets 25 to 125 ms, 500 ms or 2 s late", Kind: Network, Least: 2, Most: 5 * time.Second, begin: slowing, needs: relays},
	{Name: "slow-all", Row: "N7", About: "all that nodes send each other 5 to 25 ms late", Kind: Network, Least: 2, Most: 5 * time.Second, begin: slowingAll, needs: relays},
	{Name: "late-replies", Row: "N7", About: "only what the leader gets late, by 100 ms to 2 s", Kind: Network, Least: 2, Most: 5 * time.Second, begin: lateAt(true), needs: relays},
	{Name: "late-leader", Row: "N7", About: "only what the leader sends late, by 100 ms to 2 s", Kind: Network, Least: 2, Most: 5 * time.Second, begin: lateAt(false), needs: relays},
	{Name: "clog", Row: "N9", About: "some of the ways between nodes clogged, one by one, and unclogged in another order", Kind: Network, Least: 2, Most: 5 * time.Second, begin: clogging, needs: relays},
}

func relays(c *node.Config) { c.Relays = true }

// delay makes ways slow until the hurt ends.
func (s *Scene) delay(what string, d node.Delay, ways func(from, to int) bool) (Hurt, error) {
	relay := s.Cluster.Relay
	for _, w := range s.ways(ways) {
		relay.Delay(w.from, w.to, d)
	}
	return Hurt{What: fmt.Sprintf("made %s late by %v", what, d), End: func(context.Context) error {
		relay.Heal()
		return nil
	}}, nil
}

// way is that of bytes from one node to another.
type way struct{ from, to int }

func (s *Scene) ways(chosen func(from, to int) bool) []way {
	var ways []way
	for from := range s.Cluster.Nodes {
		for to := range s.Cluster.Nodes {
			if from != to && chosen(from, to) {
				ways = append(ways, way{from, to})
			}
		}
	}
	return ways
}

func slowing(ctx context.Context, s *Scene) (Hurt, error) {
	delays := []node.Delay{{Least: 25 * time.Millisecond, Most: 125 * time.Millisecond}, {Least: 500 * time.Millisecond}, {Least: 2 * time.Second}}
	d := delays[s.Rand.IntN(len(delays))]
	n := s.leader(ctx)
	return s.delay("all to and from "+n.Name, d, func(from, to int) bool { return from == n.Index || to == n.Index })
}

func slowingAll(_ context.Context, s *Scene) (Hurt, error) {
	d := node.Delay{Least: 5 * time.Millisecond, Most: 25 * time.Millisecond}
	return s.delay("all", d, func(int, int) bool { return true })
}

// lateAt delays one of the leader's two directions: a leader that counts late
// acknowledgements as fresh ones goes on although others have elected another.
func lateAt(incoming bool) func(context.Context, *Scene) (Hurt, error) {
	return func(ctx context.Context, s *Scene) (Hurt, error) {
		late := 100*time.Millisecond + time.Duration(s.Rand.Int64N(int64(1900*time.Millisecond)))
		d := node.Delay{Least: late.Truncate(time.Millisecond)}
		n := s.leader(ctx)
		if incoming {
			return s.delay("all to "+n.Name, d, func(_, to int) bool { return to == n.Index })
		}
		return s.delay("all from "+n.Name, d, func(from, _ int) bool { return from == n.Index })
	}
}

// clogging stops some ways one after the other, and at the end lets them flow
// one after the other, in an order of its own.
func clogging(_ context.Context, s *Scene) (Hurt, error) {
	ways := s.ways(func(int, int) bool { return true })
	s.Rand.Shuffle(len(ways), func(i, j int) { ways[i], ways[j] = ways[j], ways[i] })
	ways = ways[:1+s.Rand.IntN(len(ways))]
	relay, pause := s.Cluster.Relay, 50*time.Millisecond+time.Duration(s.Rand.Int64N(int64(250*time.Millisecond)))
	back := rand.New(rand.NewPCG(s.Rand.Uint64(), 0)).Perm(len(ways))
	next := 0
	clogs := repeat(pause, func() error {
		if next < len(ways) {
			relay.Clog(ways[next].from, ways[next].to)
			next++
		}
		return nil
	})
	end := func(ctx context.Context) error {
		err := clogs.end(ctx)
		for _, i := range back {
			if i < next {
				relay.Unclog(ways[i].from, ways[i].to)
				time.Sleep(pause / 2)
			}
		}
		return err
	}
	did := func() string { return fmt.Sprintf("%d of %d", next, len(ways)) }
	return Hurt{What: fmt.Sprintf("clogged ways, one every %v", pause.Truncate(time.Millisecond)), End: end, Did: did}, nil
}
