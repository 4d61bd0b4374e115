package main

import (
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"
)

// Ensure a cluster whose members have all come back at other Raft addresses,
// on machines that have booted since, elects a leader; and that the
// configuration follows. Plain builds: Raft reads the address of a member that
// moves without its lock.
func TestMoved(t *testing.T) {
	t.Parallel()
	plain := plainBuild(t)
	for _, test := range []struct {
		name    string
		move    func(was []string) []string
		back    int // nodes that start again
		follows bool
	}{
		{"all", func([]string) []string { return freeAddrs(t, 3) }, 3, true},
		{"two of three", func([]string) []string { return freeAddrs(t, 3) }, 2, true},
		// Raft admits no address twice, not even for a moment.
		{"addresses exchanged", func(was []string) []string { return []string{was[1], was[2], was[0]} }, 3, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := startClusterOf(t, plain)
			ctx := t.Context()
			if _, err := c.nodes[0].client(t).State.Set(ctx, "wf", "k", "old"); err != nil {
				t.Fatal(err)
			}
			var was []string
			for _, n := range c.nodes {
				n.stop(t, syscall.SIGKILL)
				was = append(was, n.flag("--raft-addr"))
				if err := os.Remove(filepath.Join(n.flag("--data-dir"), "clock.json")); err != nil {
					t.Fatal(err)
				}
			}
			moved := test.move(was)[:test.back]
			for i, addr := range moved {
				n := c.nodes[i]
				n.flags[slices.Index(n.flags, "--raft-addr")+1] = addr
				n.start(t)
			}
			for _, n := range c.nodes[:test.back] {
				n.waitReady(t)
				if e, err := n.client(t).State.Get(ctx, "wf", "k"); err != nil || string(e.Value) != `"old"` {
					t.Errorf("%s has %s, %v; want what was written before", n.flag("--node-id"), e.Value, err)
				}
			}
			if test.follows {
				c.nodes[0].awaitConfigured(t, moved)
			}
		})
	}
}

// awaitConfigured waits until the configuration has the members with these
// addresses but one, the leader, who cannot move itself.
func (n *processNode) awaitConfigured(t *testing.T, addrs []string) {
	t.Helper()
	for deadline := time.Now().Add(testTimeout); ; time.Sleep(20 * time.Millisecond) {
		have := 0
		for _, m := range n.view(t).Nodes {
			if slices.Contains(addrs, m.Raft) {
				have++
			}
		}
		if have >= len(addrs)-1 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of the addresses %v are configured", have, addrs)
		}
	}
}
