package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/stateraft/stateraft/cluster"
	"github.com/stateraft/stateraft/cluster/clustertest"
	"github.com/stateraft/stateraft/fsm"
	"github.com/stateraft/stateraft/fsm/fsmpb"
)

// allNodes stands for every other node.
const allNodes = "*"

// A fault is what is wrong with a node's way to one other node; each node of a
// test has its own.
type fault struct {
	mu        sync.Mutex
	addr      string                       // of the other node's raft
	replicate func() error                 // ahead of every AppendEntries to it
	conn      func(conn net.Conn) net.Conn // of connections to it
	id        string
}

func (f *fault) set(n *clustertest.Node, change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.addr, f.id = n.RaftAddr(), n.ID()
	change()
}

func (f *fault) beforeReplicate(nodeID string) error {
	f.mu.Lock()
	before := f.replicate
	if f.id != allNodes && nodeID != f.id || before == nil {
		before = func() error { return nil }
	}
	f.mu.Unlock()
	return before()
}

func (f *fault) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil && f.conn != nil && addr == f.addr {
		return f.conn(conn), nil
	}
	return conn, err
}

// The tests' timeouts keep a leader in office on a busy machine. In a tick it
// sends five heartbeats at least, and half of what wedges take is longer than
// raft's longest wait: see wedgedTicks.
const (
	testHeartbeat = 600 * time.Millisecond
	testTick      = 600 * time.Millisecond
)

// faulty starts three nodes with a fault each, has the first lead, and returns
// its fault.
func faulty(t *testing.T, tune func(*cluster.Config)) (*clustertest.Cluster, *fault) {
	t.Helper()
	faults := make([]fault, 3)
	next := 0
	c := clustertest.New(t, 3, func(cfg *cluster.Config) {
		f := &faults[next]
		next++
		cfg.Tuning.WatchTick, cfg.Tuning.BeforeReplicate, cfg.Tuning.Dial = testTick, f.beforeReplicate, f.dial
		cfg.Tuning.Heartbeat, cfg.Tuning.Election, cfg.Tuning.Lease = testHeartbeat, testHeartbeat, testHeartbeat/2
		if tune != nil {
			tune(cfg)
		}
	})
	moveTo(t, c, c.Nodes[0])
	return c, &faults[0]
}

// lines collects a node's log.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *lines) count(what string) int { return strings.Count(l.String(), what) }

func (l *lines) await(t *testing.T, what string, times int) {
	t.Helper()
	clustertest.Eventually(t, fmt.Sprintf("%q logged", what), func() error {
		if n := l.count(what); n < times {
			return fmt.Errorf("%d times, want %d", n, times)
		}
		return nil
	})
}

// logTo gives each node's log to the lines at its place.
func logTo(logs []lines) func(*cluster.Config) {
	next := 0
	return func(cfg *cluster.Config) {
		cfg.Logger = slog.New(slog.NewTextHandler(&logs[next], nil))
		next++
	}
}

// A tenure is one term of a leader, whose log is kept.
type tenure struct {
	leader *clustertest.Node
	log    *lines
	term   uint64
	others []*clustertest.Node
}

// tenureOf returns the leader's present tenure. It is over too when one of the
// others has come to a later term: for a moment the leader does not know that
// another leads.
func tenureOf(leader *clustertest.Node, log *lines, others ...*clustertest.Node) tenure {
	return tenure{leader, log, leader.Raft().CurrentTerm(), others}
}

func (l tenure) over() bool {
	for _, n := range l.others {
		if n.Node != nil && n.Raft().CurrentTerm() > l.term {
			return true
		}
	}
	r := l.leader.Raft()
	return r.State() != raft.Leader || r.CurrentTerm() != l.term
}

// tickPatience bounds the wait for what a leader does after some ticks: on a
// busy machine it counts anew whenever a tick passes without a heartbeat.
const tickPatience = 4 * time.Minute

// awaits waits until check returns nil, and reports false if the leader was
// deposed without.
func (l tenure) awaits(t *testing.T, what string, check func() error) bool {
	t.Helper()
	var err error
	for deadline := time.Now().Add(tickPatience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		over := l.over() // looked at first: the leader may leave for what is awaited
		if err = check(); err == nil || over {
			return err == nil
		}
	}
	t.Fatalf("%s: the leader leads on, and %v after %v", what, err, tickPatience)
	return false
}

// says is awaits for a line of the leader's log.
func (l tenure) says(t *testing.T, what string) bool {
	t.Helper()
	return l.awaits(t, fmt.Sprintf("%q logged", what), func() error {
		if l.log.count(what) == 0 {
			return errors.New("not once")
		}
		return nil
	})
}

// inOneTerm runs a test of one leader until it says that this leader led to the
// end, and in time: a busy machine can depose any at any time, and nothing is
// learnt then.
// Every try is a test of its own, with a cluster of its own.
func inOneTerm(t *testing.T, test func(t *testing.T) (led bool)) {
	t.Helper()
	for try := range 10 {
		led := false
		t.Run(fmt.Sprint("try ", try+1), func(t *testing.T) { led = test(t) })
		if led || t.Failed() {
			return
		}
	}
	t.Error("no try of ten led to an end")
}

// awaitFatal waits until the node stops by itself.
func awaitFatal(t *testing.T, n *clustertest.Node) error {
	t.Helper()
	select {
	case err := <-n.Fatal:
		return err
	case <-time.After(clustertest.Patience):
		t.Fatalf("%s runs on after %v", n.Config.Name, clustertest.Patience)
		return nil
	}
}

// awaitKey waits until the node's own state has the value.
func awaitKey(t *testing.T, n *clustertest.Node, key, value string) {
	t.Helper()
	clustertest.Eventually(t, key+" at "+n.Config.Name, func() error {
		if e, _, _ := n.State().Get("ns", key); string(e.Value) != value {
			return fmt.Errorf("got %q", e.Value)
		}
		return nil
	})
}

// Ensure a leader whose replication to one follower is wedged in its own memory
// gives leadership up, and the follower is served.
func TestWedgedReplication(t *testing.T) {
	t.Parallel()
	inOneTerm(t, wedgeReplication)
}

func wedgeReplication(t *testing.T) (led bool) {
	logs := make([]lines, 3)
	c, f := faulty(t, logTo(logs))
	leader, starved := c.Nodes[0], c.Nodes[1]
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	l := tenureOf(leader, &logs[0])
	f.set(starved, func() {
		f.replicate = func() error { <-release; return errors.New("released") }
	})
	leader.Set(t, "ns", "k", "1")
	if !l.says(t, "handing leadership over") {
		return false
	}
	awaitKey(t, starved, "k", "1")
	c.Nodes[2].Set(t, "ns", "k", "2")
	select {
	case err := <-leader.Fatal:
		t.Errorf("the leader ended: %v", err)
	default:
	}
	c.WaitEqual()
	return true
}

// Ensure a leader that can replicate to nobody ends: none can take over from
// it, and none would be elected while it sends heartbeats.
func TestWedgedReplicationToAll(t *testing.T) {
	t.Parallel()
	inOneTerm(t, wedgeReplicationToAll)
}

func wedgeReplicationToAll(t *testing.T) (led bool) {
	c, f := faulty(t, nil)
	leader := c.Nodes[0]
	release := make(chan struct{})
	defer close(release)
	f.set(c.Nodes[1], func() {
		f.replicate = func() error { <-release; return errors.New("released") }
	})
	f.mu.Lock()
	f.id = allNodes
	f.mu.Unlock()
	written := proposed(t, c.Nodes[1], tickPatience+clustertest.Patience, clustertest.Set("ns", "k", "1"))
	patience := time.After(tickPatience)
	for ended := false; !ended; {
		select {
		case <-patience:
			t.Fatalf("the leader leads on after %v", tickPatience)
		case err := <-leader.Fatal:
			if ended = true; err == nil {
				t.Error("the leader ends without an error")
			}
		case <-time.After(testTick):
			if c.Nodes[1].Leading() || c.Nodes[2].Leading() {
				return false
			}
		}
	}
	c.Partition(c.Nodes[:1], c.Nodes[1:]) // as if its process had ended
	if err := <-written; err != nil {
		t.Errorf("a write at a node that lives: %v", err)
	}
	return true
}

// Ensure such a leader also ends if not even the first entry of its term gets
// anywhere: it would keep the others from electing one.
func TestWedgedFromTheStart(t *testing.T) {
	t.Parallel()
	c, f := faulty(t, func(cfg *cluster.Config) {
		if cfg.Name != "n1" { // nobody else stands
			cfg.Tuning.Heartbeat, cfg.Tuning.Election, cfg.Tuning.Lease = time.Hour, time.Hour, time.Minute
		}
	})
	leader := c.Nodes[0]
	release := make(chan struct{})
	defer close(release)
	c.Partition(c.Nodes[:1], c.Nodes[1:])
	clustertest.Eventually(t, "deposed", func() error {
		if leader.Leading() {
			return errors.New("it leads")
		}
		return nil
	})
	f.set(c.Nodes[1], func() {
		f.replicate = func() error { <-release; return errors.New("released") }
	})
	f.mu.Lock()
	f.id = allNodes
	f.mu.Unlock()
	c.Heal()
	select {
	case err := <-leader.Fatal:
		t.Log(err)
	case <-time.After(tickPatience):
		t.Fatalf("the leader leads on after %v", tickPatience)
	}
}

// proposed proposes at a node meanwhile, and delivers what comes of it.
func proposed(t *testing.T, n *clustertest.Node, patience time.Duration, cmd *fsmpb.Command) <-chan error {
	ctx, at, result := within(t, patience), n.Node, make(chan error, 1)
	go func() {
		_, err := at.Propose(ctx, cmd)
		result <- err
	}()
	return result
}

// A swallowing connection takes one large message, and all that follows, and
// delivers nothing.
type swallowing struct {
	net.Conn
	armed *atomic.Bool
	dead  atomic.Bool
}

func (s *swallowing) Write(p []byte) (int, error) {
	if len(p) > 32<<10 && s.armed.CompareAndSwap(true, false) {
		s.dead.Store(true)
	}
	if s.dead.Load() {
		return len(p), nil
	}
	return s.Conn.Write(p)
}

// Ensure a follower to which one connection is wedged is served again long
// before raft gives that connection up, and that the leader stays.
func TestWedgedConnection(t *testing.T) {
	t.Parallel()
	inOneTerm(t, wedgeConnection)
}

func wedgeConnection(t *testing.T) (led bool) {
	var armed atomic.Bool
	c, f := faulty(t, nil)
	leader, starved := c.Nodes[0], c.Nodes[1]
	f.set(starved, func() {
		f.conn = func(conn net.Conn) net.Conn { return &swallowing{Conn: conn, armed: &armed} }
	})
	c.Partition(c.Nodes[:1], c.Nodes[1:2]) // so that all connections are new
	c.Heal()
	leader.Set(t, "ns", "k", "1")
	awaitKey(t, starved, "k", "1")
	moveTo(t, c, leader)

	armed.Store(true)
	begin, l := time.Now(), tenureOf(leader, nil)
	value := `"` + strings.Repeat("x", 60<<10) + `"`
	leader.Set(t, "ns", "k", value)
	awaitKey(t, starved, "k", value)
	took, cuts := time.Since(begin), leader.Metric(t, "followers_cut")
	if l.over() {
		return false
	}
	if armed.Load() {
		t.Error("the connection was not wedged")
	}
	if took > 4*time.Second {
		t.Logf("the follower was served after %v: raft itself may have given the connection up", took)
		return false
	}
	if cuts < 1 {
		t.Errorf("%v cuts, want 1 at least", cuts)
	}
	return true
}

// Ensure that a follower that fails every AppendEntries is told of, and that
// leadership stays where it is.
func TestFailingFollower(t *testing.T) {
	t.Parallel()
	inOneTerm(t, failFollower)
}

func failFollower(t *testing.T) (led bool) {
	logs := make([]lines, 3)
	c, f := faulty(t, logTo(logs))
	leader, failing := c.Nodes[0], c.Nodes[1]
	f.set(failing, func() {
		f.replicate = func() error { time.Sleep(200 * time.Millisecond); return errors.New("broken") }
	})
	l := tenureOf(leader, &logs[0])
	leader.Set(t, "ns", "k", "1")
	told, still := l.says(t, "is at fault"), leader.Metric(t, "followers_still")
	if !told || l.over() {
		return false
	}
	if still != 1 {
		t.Errorf("%v followers stand still, want 1", still)
	}
	f.set(failing, func() { f.replicate = nil })
	awaitKey(t, failing, "k", "1")
	clustertest.Eventually(t, "nobody stands still", func() error {
		if got := leader.Metric(t, "followers_still"); got != 0 {
			return fmt.Errorf("%v", got)
		}
		return nil
	})
	return !l.over()
}

// A throttled connection writes so many bytes a second.
type throttled struct {
	net.Conn
	rate int
}

func (c throttled) Write(p []byte) (n int, err error) {
	for len(p) > 0 && err == nil {
		part := p[:min(len(p), c.rate/100)]
		m := 0
		m, err = c.Conn.Write(part)
		n, p = n+m, p[m:]
		time.Sleep(time.Duration(m) * time.Second / time.Duration(c.rate))
	}
	return n, err
}

// Ensure that followers which are slow, busy or away keep no leader from
// leading.
func TestSlowFollowerKeepsLeader(t *testing.T) {
	t.Parallel()
	const wedged = 40 * testTick // when the leader would act, at the earliest
	for _, tt := range []struct {
		name  string
		until time.Duration // how long there are writes
		slow  func(t *testing.T, c *clustertest.Cluster, f *fault, disks []disk, n *clustertest.Node)
	}{
		{"disk takes 200 ms", wedged * 5 / 4, func(t *testing.T, c *clustertest.Cluster, f *fault, disks []disk, n *clustertest.Node) {
			d := 200 * time.Millisecond
			disks[1].slow.Store(&d)
		}},
		{"network takes 0.3 s an entry", wedged * 5 / 4, func(t *testing.T, c *clustertest.Cluster, f *fault, disks []disk, n *clustertest.Node) {
			f.set(n, func() { f.replicate = func() error { time.Sleep(300 * time.Millisecond); return nil } })
		}},
		{"cut off for a while", wedged, func(t *testing.T, c *clustertest.Cluster, f *fault, disks []disk, n *clustertest.Node) {
			c.Partition(c.Nodes[:1], c.Nodes[1:2])
			c.Partition(c.Nodes[2:], c.Nodes[1:2])
			time.AfterFunc(wedged/2, c.Heal)
		}},
		{"stopped for a while", wedged, func(t *testing.T, c *clustertest.Cluster, f *fault, disks []disk, n *clustertest.Node) {
			n.Stop(t)
			time.Sleep(wedged / 2)
			n.Start(t)
		}},
		{"takes a snapshot", wedged, func(t *testing.T, c *clustertest.Cluster, f *fault, disks []disk, n *clustertest.Node) {
			n.Stop(t)
			value := `"` + strings.Repeat("x", 100<<10) + `"`
			for i := range 30 {
				c.Nodes[0].Set(t, "ns", fmt.Sprint("big", i), value)
			}
			if err := c.Nodes[0].Raft().Snapshot().Error(); err != nil {
				t.Fatal(err)
			}
			f.mu.Lock()
			f.addr, f.conn = n.Config.RaftAddr, func(conn net.Conn) net.Conn { return throttled{conn, 700 << 10} }
			f.mu.Unlock()
			n.Start(t)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			disks, logs := make([]disk, 3), make([]lines, 3)
			log, next := logTo(logs), 0
			c, f := faulty(t, func(cfg *cluster.Config) {
				log(cfg)
				cfg.Tuning.BeforeWrite = disks[next].beforeWrite
				cfg.Tuning.TrailingLogs = 5
				next++
			})
			leader, slow := c.Nodes[0], c.Nodes[1]
			tt.slow(t, c, f, disks, slow)
			for begin := time.Now(); time.Since(begin) < tt.until; time.Sleep(5 * time.Millisecond) { // for other tests to have some of the machine
				leader.Set(t, "ns", "k", "1")
			}
			leader.Set(t, "ns", "k", "2")
			awaitKey(t, slow, "k", "2")
			for i := range logs {
				if logs[i].count("wedged")+logs[i].count("answers no write") > 0 {
					t.Errorf("a leader blames itself:\n%s", logs[i].String())
				}
			}
		})
	}
}

// Ensure a leadership that refuses or does not answer writes is ended, also one
// that could not even begin, and that no write is lost.
func TestRefusingLeadership(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		wedge wedge
	}{
		{"refuses", func(_ *testing.T, c *clustertest.Cluster, _ *atomic.Pointer[chan struct{}]) bool {
			c.Nodes[0].LeaveTransferFlag()
			return true
		}},
		{"refuses its first entry", func(t *testing.T, c *clustertest.Cluster, _ *atomic.Pointer[chan struct{}]) bool {
			moveTo(t, c, c.Nodes[1])
			c.Nodes[0].LeaveTransferFlag()
			return handedOver(t, c.Nodes[1], c.Nodes[0], c.Nodes[2])
		}},
		{"answers nothing", func(_ *testing.T, _ *clustertest.Cluster, hang *atomic.Pointer[chan struct{}]) bool {
			stop := make(chan struct{})
			hang.Store(&stop)
			return true
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			inOneTerm(t, func(t *testing.T) bool { return refuseWrites(t, tt.wedge) })
		})
	}
}

// A wedge has the first node lead and answer no write. It reports false if that
// node does not lead after all.
type wedge func(t *testing.T, c *clustertest.Cluster, hang *atomic.Pointer[chan struct{}]) (leads bool)

// handedOver has one node hand over to another, once, and reports whether that
// one was elected: a busy machine can let the third be quicker, or nobody.
func handedOver(t *testing.T, from, to, third *clustertest.Node) bool {
	t.Helper()
	before := tenureOf(from, nil)
	if from.TransferLeadership(within(t, clustertest.Patience), to.ID()) != nil {
		return false
	}
	elected := false
	clustertest.Eventually(t, "somebody elected", func() error {
		leads := func(n *clustertest.Node) bool { return n.Raft().State() == raft.Leader }
		elected = leads(to)
		if !elected && !leads(third) && !(leads(from) && before.over()) {
			return errors.New("nobody is")
		}
		return nil
	})
	return elected
}

func refuseWrites(t *testing.T, wedge wedge) (led bool) {
	logs := make([]lines, 3)
	var hangs [3]atomic.Pointer[chan struct{}]
	log, next := logTo(logs), 0
	c, _ := faulty(t, func(cfg *cluster.Config) {
		log(cfg)
		hang := &hangs[next]
		next++
		cfg.Tuning.BeforeApply = func() {
			if stop := hang.Load(); stop != nil {
				<-*stop
			}
		}
	})
	resume := func() {
		if stop := hangs[0].Swap(nil); stop != nil {
			close(*stop) // only so that the process that all nodes share can go on
		}
	}
	defer resume()
	old := c.Nodes[0]
	old.Set(t, "ns", "k", "1")
	if !wedge(t, c, &hangs[0]) {
		return false
	}
	l := tenureOf(old, &logs[0])
	written := proposed(t, c.Nodes[1], tickPatience, clustertest.Set("ns", "k", "2"))
	if !l.says(t, "this leadership answers no write") {
		return false
	}
	if err := awaitFatal(t, old); err == nil {
		t.Error("the node ends without an error")
	}
	resume()
	old.Kill()
	if err := <-written; err != nil {
		t.Errorf("a write at a node that lives: %v", err)
	}
	old.Start(t)
	c.WaitReady(old)
	if got := old.Get(t, "ns", "k"); got != "2" {
		t.Errorf("k = %q, want 2", got)
	}
	moveTo(t, c, old)
	old.Set(t, "ns", "k", "3")
	c.WaitEqual()
	return true
}

// Ensure a node whose log conflicts with a snapshot that it is sent ends and
// heals by starting again, and that the leader tells of it meanwhile.
func TestConflictingSnapshot(t *testing.T) {
	t.Parallel()
	inOneTerm(t, conflictWithSnapshot)
}

func conflictWithSnapshot(t *testing.T) (led bool) {
	logs := make([]lines, 3)
	log, next := logTo(logs), 0
	c, _ := faulty(t, func(cfg *cluster.Config) {
		log(cfg)
		clustertest.Steady(cfg) // the old leader's lease lasts while it writes
		if next++; next > 1 {
			cfg.Tuning.TrailingLogs = 1 // so that a leader has nothing but its snapshot
		}
	})
	old := c.Nodes[0]
	old.Set(t, "ns", "k", "1")
	entry, err := fsm.Encode(&fsmpb.Entry{})
	if err != nil {
		t.Fatal(err)
	}
	l := tenureOf(old, &logs[0])
	c.Partition(c.Nodes[:1], c.Nodes[1:])
	end := old.Raft().LastIndex() + 40
	for range 40 {
		old.Raft().Apply(entry, 0) // answered when the leadership is lost
	}
	if !l.awaits(t, "a log that nobody else has", func() error {
		if last := old.Raft().LastIndex(); last < end {
			return fmt.Errorf("it ends at %d, not at %d", last, end)
		}
		return nil
	}) {
		return false
	}
	leader := c.LeaderAmong(c.Nodes[1:]...)
	l = tenureOf(leader, &logs[slices.Index(c.Nodes, leader)]) // the only one to have a snapshot
	for i := range 10 {
		leader.Set(t, "ns", "k", fmt.Sprint(i))
	}
	if err := leader.Raft().Snapshot().Error(); err != nil {
		t.Fatal(err)
	}
	if last := leader.Raft().LastIndex(); last >= end {
		t.Fatalf("the leader's log ends at %d, want it below %d", last, end)
	}
	c.Heal()
	var ended error
	replaced := false
	if !l.awaits(t, "the node to end", func() error {
		select {
		case ended = <-old.Fatal:
			return nil
		default:
		}
		if replaced = old.Raft().LastIndex() < end; replaced {
			return nil
		}
		return errors.New("it runs on")
	}) {
		return false
	}
	if replaced {
		return false // by entries that the leader had taken in hand before it had the snapshot
	}
	if ended == nil || !strings.Contains(ended.Error(), "in a snapshot that was installed") {
		t.Errorf("the node ends with %v", ended)
	}
	if !l.awaits(t, "the loop in the metrics", func() error {
		if n := leader.Metric(t, "followers_looping"); n != 1 {
			return fmt.Errorf("%v followers loop", n)
		}
		return nil
	}) {
		return false
	}
	time.Sleep(3 * testTick) // the leader looks again, and is not to tell again
	id := old.ID()
	old.Kill()
	old.Start(t)
	c.WaitReady(old)
	if old.ID() != id {
		t.Error("the node has another identity")
	}
	leader.Set(t, "ns", "k", "2")
	awaitKey(t, old, "k", "2")
	c.WaitEqual()
	told := l.log.count("a follower takes snapshots")
	if l.over() {
		return false // it may have led twice, and told of the loop each time
	}
	if told != 1 {
		t.Errorf("the loop was told %d times, want once", told)
	}
	return true
}
