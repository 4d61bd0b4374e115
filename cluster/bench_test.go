package cluster_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stateraft/stateraft/cluster/clustertest"
)

const benchClients = 256

func BenchmarkPropose(b *testing.B) {
	c := clustertest.New(b, 3, nil)
	value := `"` + strings.Repeat("x", 254) + `"`
	var client atomic.Int64
	b.SetParallelism(benchClients / 2)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		me := client.Add(1)
		n, ns := c.Nodes[me%3], fmt.Sprint("ns", me)
		for i := 0; pb.Next(); i++ {
			if _, err := n.Propose(context.Background(), clustertest.Set(ns, fmt.Sprint(i%100), value)); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkReadIndex(b *testing.B) {
	c := clustertest.New(b, 3, nil)
	c.Nodes[0].Set(b, "ns", "k", "1")
	var client atomic.Int64
	b.SetParallelism(benchClients / 2)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		n := c.Nodes[client.Add(1)%3]
		for pb.Next() {
			if err := n.ReadIndex(context.Background()); err != nil {
				b.Error(err)
			}
		}
	})
}
