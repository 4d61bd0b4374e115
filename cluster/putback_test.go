package cluster

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/stateraft/stateraft/fsm/fsmpb"
)

// Ensure no batch calls settled what is still under way: the state machine would
// refuse it, and its writes would be of unknown outcome. The schedule is one of
// a leader that hands over: it refuses a batch, and while its sender pauses, the
// batch before is answered and the next ones leave.
func TestPutBackKeepsOthersUnsettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		var mu sync.Mutex
		open := map[*fsmpb.Batch]chan error{} // batches under way, and what becomes of them
		p := &proposer{
			deliver: func(ctx context.Context, b *fsmpb.Batch, _ time.Duration) (*fsmpb.BatchAnswer, error) {
				become := make(chan error, 1)
				mu.Lock()
				for other := range open {
					if other.Sequence == b.Sequence {
						t.Errorf("two batches of sequence %d are under way", b.Sequence)
					}
					if b.Low > other.Sequence {
						t.Errorf("batch %d says that all below %d is settled, and %d is under way", b.Sequence, b.Low, other.Sequence)
					}
				}
				open[b] = become
				mu.Unlock()
				select {
				case err := <-become:
					return &fsmpb.BatchAnswer{Answers: make([]*fsmpb.Answer, len(b.Commands))}, err
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			},
			pause:    sleep,
			full:     func() bool { return false },
			stats:    &metrics{batchCommands: prometheus.NewHistogram(prometheus.HistogramOpts{})},
			ctx:      ctx,
			inFlight: map[uint64]*flight{},
			session:  1,
		}
		defer p.close()
		defer cancel()
		// end ends the batch of that sequence.
		end := func(sequence uint64, err error) {
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			for b, become := range open {
				if b.Sequence == sequence {
					delete(open, b)
					become <- err
					return
				}
			}
			var sequences []uint64
			for b := range open {
				sequences = append(sequences, b.Sequence)
			}
			slices.Sort(sequences)
			t.Fatalf("no batch %d is under way, but %v", sequence, sequences)
		}
		write := func() {
			if err := queue(p, fsmpb.Op_SET, 10); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		write()              // 1
		write()              // 2
		end(2, errNotLeader) // its sender pauses
		end(1, nil)          // what was put back leaves
		time.Sleep(time.Second)
		synctest.Wait()
		write() // must not settle what left
		write()
	})
}
