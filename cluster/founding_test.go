package cluster_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/stateraft/stateraft/cluster"
	"github.com/stateraft/stateraft/cluster/clustertest"
)

// However many founders were quicker than the others, the others found the
// cluster that they promised: a single founder cannot admit them.
func TestQuickFounders(t *testing.T) {
	t.Parallel()
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

// A listener is a node's log, and receives once for every line with a text.
type listener struct {
	text  string
	heard chan struct{}
}

func listen(text string) listener { return listener{text, make(chan struct{}, 100)} }

func (l listener) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func (l listener) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte(l.text)) {
		select {
		case l.heard <- struct{}{}:
		default:
		}
	}
	return len(line), nil
}

// await waits until the text was logged n times.
func (l listener) await(t *testing.T, n int) {
	t.Helper()
	timeout := time.After(clustertest.Patience)
	for i := range n {
		select {
		case <-l.heard:
		case <-timeout:
			t.Fatalf("%q was logged %d times, want %d", l.text, i, n)
		}
	}
}

// Ensure a node that stops between the two writes with which Raft founds a
// cluster founds it at its next start.
func TestFoundingIsCutShort(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 0, nil)
	var left atomic.Int64
	left.Store(2) // the beginning of the log, and the term
	n := c.Add(func(cfg *cluster.Config) {
		cfg.BootstrapExpect = 1
		cfg.Tuning.BeforeWrite = func() error {
			if left.Add(-1) < 0 {
				return errBroken
			}
			return nil
		}
	})
	<-n.Fatal
	n.Kill()
	n.Config.Tuning.BeforeWrite = nil
	n.Start(t)
	c.WaitReady(n)
	n.Set(t, "ns", "k", "1")
}

// Ensure founders bind themselves to none that they do not reach: one that is
// emptied before they do is another founder when it is back.
func TestFounderIsEmptied(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 0, nil)
	var open atomic.Bool
	tried := listen("not yet")
	for range 3 {
		c.Add(func(cfg *cluster.Config) {
			cfg.BootstrapExpect, cfg.Logger = 3, tried.logger()
			cfg.Tuning.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
				if !open.Load() {
					return nil, errors.New("not yet")
				}
				return new(net.Dialer).DialContext(ctx, network, addr)
			}
		})
	}
	tried.await(t, 3)
	emptied := c.Nodes[2]
	emptied.Stop(t)
	emptied.Wipe(t)
	emptied.Start(t)
	open.Store(true)
	c.WaitReady(c.Nodes...)
}

// Ensure a node that founded its cluster alone, and is emptied after that has
// grown, looks for it before it founds another.
func TestFounderOfOneIsEmptied(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 1, nil)
	for range 2 {
		n := c.Add(nil)
		c.WaitReady(n)
		waitRole(t, c, n, "voter")
	}
	emptied, others := c.Nodes[0], c.Nodes[1:]
	old := emptied.ID()
	emptied.Stop(t)
	emptied.Wipe(t)
	slow, err := net.Listen("tcp", "127.0.0.1:0") // the first to be asked; it lets the node wait
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	waits := listen("have not all been tried")
	emptied.Config.Join, emptied.Config.Logger = []string{slow.Addr().String(), others[0].GossipAddr()}, waits.logger()
	emptied.Start(t)
	waits.await(t, 1)
	slow.Close()
	remove(t, c, c.LeaderAmong(others...), old)
	c.WaitReady(emptied)
	if got, want := emptied.ClusterID(), others[0].ClusterID(); !bytes.Equal(got, want) {
		t.Errorf("it is of cluster %x, want %x", got, want)
	}
}

// Ensure a node that the configuration shows is admitted only when that is
// committed: another leader may not know it.
func TestAdmittedWhenCommitted(t *testing.T) {
	t.Parallel()
	inOneTerm(t, admitWhenCommitted)
}

func admitWhenCommitted(t *testing.T) (led bool) {
	var cut atomic.Bool
	c := clustertest.New(t, 3, func(cfg *cluster.Config) {
		clustertest.Steady(cfg) // an attempt of 3 s fails, and the leader must stay
		cfg.Tuning.WatchTick = time.Hour
		cfg.Tuning.BeforeReplicate = func(string) error {
			if cut.Load() {
				return errors.New("cut")
			}
			return nil
		}
	})
	leader := c.Leader()
	l := tenureOf(leader, nil)
	cut.Store(true)
	first := make(chan error, 1)
	admit := func() error { return leader.Admit(within(t, clustertest.Patience), "joiner", "127.0.0.1:1") }
	go func() { first <- admit() }()
	if !l.awaits(t, "in the configuration", func() error {
		if servers := leader.Raft().GetConfiguration().Configuration().Servers; len(servers) != 4 {
			return fmt.Errorf("%d servers", len(servers))
		}
		return nil
	}) {
		return false
	}
	if err := admit(); err == nil { // whoever leads: nothing can be committed
		t.Error("a node was admitted that no other member knows")
	}
	cut.Store(false)
	once, again := <-first, admit()
	if l.over() {
		return false
	}
	if once != nil {
		t.Errorf("the first attempt, once it is committed: %v", once)
	}
	if again != nil {
		t.Errorf("an attempt of one that is a member: %v", again)
	}
	return true
}

// Ensure a member that cannot be moved, as it tells another's address for its
// own, holds up no other, and is reached where it was.
func TestMemberCannotMove(t *testing.T) {
	t.Parallel()
	moves := listen("msg=membership err=\"move node")
	c := clustertest.New(t, 3, func(cfg *cluster.Config) { cfg.Logger = moves.logger() })
	n := c.Follower()
	n.Stop(t)
	n.Config.Join = nil
	for _, other := range c.Running() {
		n.Config.Join = append(n.Config.Join, other.GossipAddr())
		if !other.Leading() {
			n.Config.AdvertiseRaft = other.RaftAddr()
		}
	}
	n.Start(t)
	moves.await(t, 1)
	c.WaitReady(n)
	joiner := c.Add(nil)
	clustertest.Eventually(t, "promoted", func() error {
		for _, s := range c.Leader().Raft().GetConfiguration().Configuration().Servers {
			if string(s.ID) == joiner.ID() && s.Suffrage == raft.Voter {
				return nil
			}
		}
		return errors.New("not yet")
	})
}
