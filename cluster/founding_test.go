package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"testing"

	"github.com/stateraft/stateraft/cluster"
	"github.com/stateraft/stateraft/cluster/clustertest"
)

// However many founders were quicker than the others, the others found the
// cluster that they promised: a single founder cannot admit them.
func TestQuickFounders(t *testing.T) {
	for quick := 1; quick < 3; quick++ {
		t.Run(fmt.Sprint(quick), func(t *testing.T) {
			c := clustertest.New(t, 0, nil)
			var open atomic.Bool
			for i := range 3 {
				c.Add(func(cfg *cluster.Config) {
					cfg.BootstrapExpect = 3
					cfg.Tuning.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
						if i >= quick && !open.Load() {
							return nil, errors.New("not yet")
						}
						return new(net.Dialer).DialContext(ctx, network, addr)
					}
				})
			}
			for _, n := range c.Nodes[:quick] {
				clustertest.Eventually(t, "founded", func() error {
					if n.ClusterID() == nil {
						return errors.New("it has not")
					}
					return nil
				})
			}
			open.Store(true)
			c.WaitReady(c.Nodes...)
			c.Nodes[2].Set(t, "wf", "k", "1")
		})
	}
}
