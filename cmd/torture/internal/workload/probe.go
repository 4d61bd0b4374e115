package workload

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
	"github.com/stateraft/stateraft/cmd/torture/internal/wire"
)

// Probe is the name under which the prober's operations are recorded.
const Probe = "probe"

const (
	probeEvery = 50 * time.Millisecond
	// probesOpen bounds the questions to one node that wait for an answer.
	probesOpen = 2 * int(wire.Patience/probeEvery)
)

// RunProbe asks every node at fixed times, whether or not it has answered
// before: a write and a linearizable read in turn, and neighbours not the same, so
// that of several nodes one is asked for either within every probeEvery. It
// returns when ctx has ended and all is answered.
func RunProbe(ctx context.Context, e Env) {
	e.Name = Probe
	var wg sync.WaitGroup
	for i, n := range e.Nodes {
		wg.Go(func() { probe(ctx, e, n, i) })
	}
	wg.Wait()
}

// probe asks one node. Odd turns begin with a write.
func probe(ctx context.Context, e Env, n *wire.Node, turn int) {
	var wg sync.WaitGroup
	defer wg.Wait()
	open := make(chan struct{}, probesOpen)
	sleep(ctx, probeEvery*time.Duration(turn)/time.Duration(len(e.Nodes)))
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	client := e.Record.NewClient()
	for ; ; turn++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		r := wire.Request{Kind: history.Get, Workflow: Probe, Key: n.Name()}
		if turn%2 == 1 {
			r.Kind, r.Value = history.Set, fmt.Sprint(turn)
		}
		select {
		case open <- struct{}{}:
		default:
			continue // it has not answered for longer than anybody waits
		}
		wg.Go(func() {
			(&actor{env: e, id: client}).do(ctx, n, r)
			<-open
		})
	}
}
