package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/stateraft/stateraft/internal/leaktest"
)

// raftMember is a raft server over a transport, with a state machine that
// keeps the commands it was given.
type raftMember struct {
	id        string
	transport *transport
	raft      *raft.Raft
	links     *cutLinks
	notify    bool // notes commits

	mu       sync.Mutex
	commands []string
	applied  chan struct{} // closed when commands next changes
}

func (m *raftMember) Apply(l *raft.Log) any {
	m.mu.Lock()
	m.commands = append(m.commands, string(l.Data))
	close(m.applied)
	m.applied = make(chan struct{})
	m.mu.Unlock()
	if m.notify {
		m.transport.noteCommit(l.Index, l.Term)
	}
	return nil
}

func (m *raftMember) Snapshot() (raft.FSMSnapshot, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return commandsSnapshot(slices.Clone(m.commands)), nil
}

type commandsSnapshot []string

func (s commandsSnapshot) Persist(sink raft.SnapshotSink) error {
	if _, err := io.WriteString(sink, strings.Join(s, "\n")); err != nil {
		return errors.Join(err, sink.Cancel())
	}
	return sink.Close()
}

func (commandsSnapshot) Release() {}

func (m *raftMember) Restore(r io.ReadCloser) error {
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.commands = nil
	for _, c := range bytes.Fields(data) {
		m.commands = append(m.commands, string(c))
	}
	close(m.applied)
	m.applied = make(chan struct{})
	return nil
}

// await waits until the commands applied are as wanted, and returns them.
func (m *raftMember) await(t *testing.T, wanted func(commands []string) bool) []string {
	t.Helper()
	timeout := time.After(2 * patience) // a raft whose leader changed can take its time to tell of a commit
	for {
		m.mu.Lock()
		have, applied := slices.Clone(m.commands), m.applied
		m.mu.Unlock()
		if wanted(have) {
			return have
		}
		select {
		case <-applied:
		case <-timeout:
			t.Fatalf("%s has applied %d commands, and not those awaited", m.id, len(have))
		}
	}
}

func has(command string) func([]string) bool {
	return func(commands []string) bool { return slices.Contains(commands, command) }
}

// upToLast returns the commands ahead of "last". That may be there twice, if its
// first leader was deposed: later ones do not count.
func (m *raftMember) upToLast(t *testing.T) []string {
	t.Helper()
	commands := m.await(t, has("last"))
	return commands[:slices.Index(commands, "last")]
}

// cutLinks says which nodes cannot reach each other. All members share one.
type cutLinks struct {
	mu      sync.Mutex
	cut     map[[2]string]bool
	members map[string]string // id by address
}

func (c *cutLinks) isCut(a, b string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cut[[2]string{min(a, b), max(a, b)}]
}

func (c *cutLinks) dialFrom(id string) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		c.mu.Lock()
		to := c.members[addr]
		c.mu.Unlock()
		if c.isCut(id, to) {
			return nil, errors.New("cut")
		}
		return new(net.Dialer).DialContext(ctx, network, addr)
	}
}

// startRaft starts n voters that elect a leader.
func startRaft(t *testing.T, n int, notify bool, adjust func(*raft.Config)) []*raftMember {
	t.Helper()
	links := &cutLinks{cut: make(map[[2]string]bool), members: make(map[string]string)}
	var configuration raft.Configuration
	members := make([]*raftMember, n)
	for i := range members {
		m := &raftMember{id: "n" + strconv.Itoa(i), links: links, notify: notify, applied: make(chan struct{})}
		m.transport = testTransport(t, m.id, "c", func(c *transportConfig) {
			c.dial = links.dialFrom(m.id)
			c.accept = func(peer string) bool { return !links.isCut(m.id, peer) }
		})
		links.members[m.transport.addr()] = m.id
		configuration.Servers = append(configuration.Servers, raft.Server{
			ID: raft.ServerID(m.id), Address: m.transport.raftTransport().LocalAddr(),
		})
		members[i] = m
	}
	for _, m := range members {
		m.start(t, configuration, adjust)
	}
	return members
}

func (m *raftMember) start(t *testing.T, configuration raft.Configuration, adjust func(*raft.Config)) {
	t.Helper()
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(m.id)
	c.HeartbeatTimeout, c.ElectionTimeout, c.LeaderLeaseTimeout = 300*time.Millisecond, 300*time.Millisecond, 150*time.Millisecond
	c.CommitTimeout = time.Second
	c.Logger = newRaftLogger(discard)
	if adjust != nil {
		adjust(c)
	}
	store := raft.NewInmemStore()
	snapshots, err := raft.NewFileSnapshotStoreWithLogger(t.TempDir(), 2, c.Logger) // the one in memory has a data race
	if err != nil {
		t.Fatal(err)
	}
	trans := m.transport.raftTransport()
	if err := raft.BootstrapCluster(c, store, store, snapshots, trans, configuration); err != nil {
		t.Fatal(err)
	}
	r, err := raft.NewRaft(c, m, store, trans.guardTerm(store), snapshots, trans)
	if err != nil {
		t.Fatal(err)
	}
	m.raft = r
	trans.serve(r, store)
	t.Cleanup(func() {
		if err := r.Shutdown().Error(); err != nil {
			t.Errorf("shut down: %v", err)
		}
	})
}

// propose has data committed by whoever leads, and returns the leader.
func propose(t *testing.T, members []*raftMember, data string) *raftMember {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		for _, m := range members {
			if m.raft.State() == raft.Leader && m.raft.Apply([]byte(data), time.Second).Error() == nil {
				return m
			}
		}
	}
	t.Fatal("no leader")
	return nil
}

// A follower applies a write within moments of the leader, though nothing
// follows it and raft's own word would take 10 s.
func TestFollowersLearnOfACommitAtOnce(t *testing.T) {
	leaktest.Check(t)
	members := startRaft(t, 3, true, func(c *raft.Config) {
		c.HeartbeatTimeout, c.ElectionTimeout, c.LeaderLeaseTimeout = time.Second, time.Second, 500*time.Millisecond
		c.CommitTimeout = 10 * time.Second
	})
	for i := range 30 {
		// A new leader must commit a command of its own term first, so a write
		// that saw an election proves nothing.
		command := strconv.Itoa(i)
		leader := propose(t, members, command)
		term := leader.raft.CurrentTerm()
		start := time.Now()
		for _, m := range members {
			m.await(t, has(command))
		}
		took := time.Since(start)
		led := leader.raft.State() == raft.Leader && leader.raft.CurrentTerm() == term
		if took > 5*time.Second && led {
			t.Errorf("commit %d reached the followers %v after the leader", i, took)
		}
	}
}

// Beside entries the transport carries votes, pre-votes and snapshots.
func TestRaftOverTransport(t *testing.T) {
	leaktest.Check(t)
	var _ raft.WithPreVote = (*raftTransport)(nil)
	var _ raft.WithClose = (*raftTransport)(nil)
	members := startRaft(t, 3, true, func(c *raft.Config) {
		c.TrailingLogs, c.SnapshotThreshold, c.SnapshotInterval = 5, 20, 20*time.Millisecond
	})
	leader := propose(t, members, "first")
	behind := members[(slices.Index(members, leader)+1)%3]
	isolate(members, behind)
	for i := range 100 {
		leader = propose(t, without(members, behind), strconv.Itoa(i))
	}
	if err := leader.raft.Snapshot().Error(); err != nil && !errors.Is(err, raft.ErrNothingNewToSnapshot) {
		t.Fatal(err)
	}
	heal(members)
	propose(t, members, "last")
	want := members[0].upToLast(t)
	for _, m := range members[1:] {
		if got := m.upToLast(t); !slices.Equal(got, want) {
			t.Errorf("%s has applied %v, want %v", m.id, got, want)
		}
	}
}

func without(members []*raftMember, out *raftMember) []*raftMember {
	return slices.DeleteFunc(slices.Clone(members), func(m *raftMember) bool { return m == out })
}

func isolate(members []*raftMember, alone *raftMember) {
	alone.links.mu.Lock()
	for _, m := range members {
		alone.links.cut[[2]string{min(m.id, alone.id), max(m.id, alone.id)}] = true
	}
	alone.links.mu.Unlock()
	for _, m := range members {
		alone.transport.sever(m.id)
	}
}

func heal(members []*raftMember) {
	links := members[0].links
	links.mu.Lock()
	defer links.mu.Unlock()
	clear(links.cut)
}

// However leaders come and go, every node applies the same commands in the
// same order: a notice never commits what its term did not.
func TestNoticesKeepLogsEqual(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 3 s")
	}
	leaktest.Check(t)
	members := startRaft(t, 3, true, func(c *raft.Config) {
		c.HeartbeatTimeout, c.ElectionTimeout, c.LeaderLeaseTimeout = 60*time.Millisecond, 60*time.Millisecond, 30*time.Millisecond
	})
	propose(t, members, "first")
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for w := range 4 { // writers, some of whose leaders are deposed
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				for _, m := range members {
					if m.raft.State() == raft.Leader {
						m.raft.Apply(fmt.Appendf(nil, "%s.%d.%d", m.id, w, i), 100*time.Millisecond)
					}
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
	wg.Go(func() {
		for ctx.Err() == nil {
			isolate(members, members[rand.IntN(len(members))])
			time.Sleep(time.Duration(20+rand.IntN(150)) * time.Millisecond)
			heal(members)
			time.Sleep(time.Duration(20+rand.IntN(150)) * time.Millisecond)
		}
	})
	wg.Wait()
	heal(members)
	leader := propose(t, members, "last")
	want := leader.upToLast(t)
	for _, m := range members {
		if got := m.upToLast(t); !slices.Equal(got, want) {
			t.Errorf("%s and %s have applied different commands", m.id, leader.id)
		}
	}
	t.Logf("%d commands, term %d", len(want), leader.raft.CurrentTerm())
}

// A node that belongs to no cluster can neither vote nor be sent entries.
func TestRaftStreamsNeedACluster(t *testing.T) {
	leaktest.Check(t)
	l := testTransport(t, "l", "", nil)
	d := testTransport(t, "d", "c", nil)
	err := d.raftTransport().RequestVote("l", l.raft.LocalAddr(), &raft.RequestVoteRequest{Term: 1}, new(raft.RequestVoteResponse))
	wantError(t, err, "this node belongs to no cluster yet")
}
