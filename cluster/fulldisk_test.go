package cluster

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/stateraft/stateraft/fsm/fsmpb"
)

// withFullLeader returns a proposer in a test of virtual time, whose leader
// executes deletes and answers batches with sets as set says. stop ends it.
func withFullLeader(full func() bool, set func(context.Context) error) (p *proposer, stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	p = &proposer{
		deliver: func(ctx context.Context, b *fsmpb.Batch, _ time.Duration) (*fsmpb.BatchAnswer, error) {
			sleep(ctx, time.Millisecond)
			if slices.ContainsFunc(b.Commands, grows) {
				return nil, set(ctx)
			}
			return &fsmpb.BatchAnswer{Answers: make([]*fsmpb.Answer, len(b.Commands))}, nil
		},
		pause: sleep, full: full, stats: &metrics{batchCommands: prometheus.NewHistogram(prometheus.HistogramOpts{})},
		ctx: ctx, inFlight: map[uint64]*flight{}, session: 1,
	}
	return p, func() {
		cancel()
		p.close()
	}
}

func deleteWithin(p *proposer, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(p.ctx, limit)
	defer cancel()
	_, err := p.propose(ctx, &fsmpb.Command{Namespace: "w", Ops: []*fsmpb.Op{{Kind: fsmpb.Op_DELETE, Key: "k"}}})
	return err
}

// Ensure batches with sets that may be in the log already, and that the next
// leader has no room for, do not keep deletes from leaving, which make room.
func TestDeletesLeaveBesideBatchesOfUnknownOutcome(t *testing.T) {
	for stuck := 1; stuck <= maxBatchesAtOnce; stuck++ {
		t.Run(fmt.Sprint(stuck), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var full atomic.Bool
				p, stop := withFullLeader(full.Load, func(ctx context.Context) error {
					if full.Load() {
						return ErrDiskFull
					}
					sleep(ctx, time.Second)
					return ErrOutcomeUnknown
				})
				defer stop()
				for range stuck {
					if err := queue(p, fsmpb.Op_SET, 10); err != nil {
						t.Fatal(err)
					}
					time.Sleep(10 * time.Millisecond) // it is under way
				}
				full.Store(true)
				time.Sleep(2 * time.Second)
				for i := range 40 {
					if err := deleteWithin(p, 5*time.Second); err != nil {
						t.Fatalf("delete %d: %v", i, err)
					}
				}
			})
		})
	}
}

// Ensure a node whose own disk has room lets deletes leave though clients go on
// with sets that the leader refuses.
func TestDeletesLeaveBesideSetsThatAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, stop := withFullLeader(func() bool { return false }, func(context.Context) error { return ErrDiskFull })
		defer stop()
		go func() {
			for p.ctx.Err() == nil {
				_ = queue(p, fsmpb.Op_SET, 10) // refused or not
				sleep(p.ctx, 200*time.Microsecond)
			}
		}()
		time.Sleep(100 * time.Millisecond)
		for i := range 10 {
			if err := deleteWithin(p, 100*time.Millisecond); err != nil {
				t.Fatalf("delete %d: %v", i, err)
			}
		}
	})
}
