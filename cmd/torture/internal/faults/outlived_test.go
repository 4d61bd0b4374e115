package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/node"
)

// Ensure a majority that serves nobody while the others are cut off breaks a
// promise, before they are back; that it is given time; and that nothing is
// expected of less than a majority, or beside another fault.
func TestOutlived(t *testing.T) {
	five := make([]*node.Node, 5)
	for i := range five {
		five[i] = &node.Node{Name: fmt.Sprint("n", i+1)}
	}
	for _, tt := range []struct {
		name   string
		left   int           // nodes that are not hurt
		alone  bool          // the fault is
		serves time.Duration // after the begin
		held   time.Duration
		ends   time.Duration // after the begin
		broken bool
	}{
		{"another leader soon", 4, true, time.Second, 3 * time.Second, 3 * time.Second, false},
		{"healed too soon for it", 4, true, time.Second, 100 * time.Millisecond, time.Second, false},
		{"never", 4, true, time.Hour, time.Second, electTimeout, true},
		{"too late", 3, true, 8 * time.Second, 10 * time.Second, 10 * time.Second, true},
		{"no majority", 2, true, time.Hour, time.Second, time.Second, false},
		{"beside another fault", 4, false, time.Hour, time.Second, time.Second, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &Scene{Cluster: &node.Cluster{Nodes: five}, Alone: tt.alone, Slack: 1, Rand: rand.New(rand.NewPCG(1, 1))}
				begin, healed := time.Now(), time.Duration(0)
				h := Hurt{End: func(context.Context) error {
					healed = time.Since(begin)
					return nil
				}}
				h = s.outlive(t.Context(), h, five[:tt.left], func(context.Context, []*node.Node, int) error {
					if time.Since(begin) < tt.serves {
						return errors.New("nobody leads")
					}
					return nil
				})
				time.Sleep(tt.held)
				err := h.End(t.Context())
				if errors.Is(err, ErrBroken) != tt.broken || healed.Round(time.Second/2) != tt.ends.Round(time.Second/2) {
					t.Errorf("%v, healed after %v, want after %v", err, healed, tt.ends)
				}
			})
		})
	}
}
