package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/stateraft/stateraft/cluster/clusterpb"
	"github.com/stateraft/stateraft/fsm"
)

// newTestClock returns a clock and the hands that move its sources.
func newTestClock() (c *clusterClock, wall *time.Time, monotonic *time.Duration) {
	wall, monotonic = new(time.Time), new(time.Duration)
	*wall = time.UnixMicro(1_000_000_000)
	return newClock(func() time.Time { return *wall }, func() time.Duration { return *monotonic }), wall, monotonic
}

// observeNow has the clock observe an entry that has its stamp just now.
func observeNow(c *clusterClock, stamp int64, term uint64, live bool) {
	c.observe(stamp, c.monotonic(), term, live)
}

func TestClusterClock(t *testing.T) {
	const second = int64(time.Second / time.Microsecond)
	pass := func(d *time.Duration, seconds int) { *d += time.Duration(seconds) * time.Second }
	for _, tt := range []struct {
		name string
		do   func(c *clusterClock, mono *time.Duration)
		want int64 // seconds
		live bool
	}{
		{"an entry, and the time since", func(c *clusterClock, mono *time.Duration) {
			observeNow(c, 10*second, 1, true)
			pass(mono, 5)
		}, 15, true},
		{"the last entry counts, though it sets the clock back: the leader's may be slow", func(c *clusterClock, mono *time.Duration) {
			observeNow(c, 10*second, 1, true)
			pass(mono, 5)
			observeNow(c, 12*second, 1, true)
		}, 12, true},
		{"a later term's entry counts, though it sets the clock back", func(c *clusterClock, mono *time.Duration) {
			observeNow(c, 10*second, 1, true)
			pass(mono, 5)
			observeNow(c, 12*second, 2, true)
		}, 12, true},
		{"an earlier term's does not", func(c *clusterClock, mono *time.Duration) {
			observeNow(c, 12*second, 2, true)
			observeNow(c, 10*second, 1, true)
		}, 12, true},
		{"the process before is believed over what is replayed", func(c *clusterClock, _ *time.Duration) {
			c.recall(20*second, 3, 7)
			observeNow(c, 10*second, 3, false)
		}, 20, true},
		{"but not where it did not know of a term", func(c *clusterClock, _ *time.Duration) {
			c.recall(20*second, 3, 7)
			observeNow(c, 10*second, 4, false)
		}, 10, false},
		{"what is replayed is not live", func(c *clusterClock, _ *time.Duration) {
			observeNow(c, 10*second, 1, false)
			observeNow(c, 11*second, 1, false)
		}, 11, false},
		{"a leader goes by its own clock", func(c *clusterClock, mono *time.Duration) {
			c.lead(30*second, 0, 2)
			pass(mono, 5)
			observeNow(c, 30*second, 2, true)
		}, 35, true},
		{"but not behind the state", func(c *clusterClock, _ *time.Duration) {
			c.lead(30*second, 0, 2)
			observeNow(c, 40*second, 2, true)
		}, 40, true},
		{"a later leader's entry ends that", func(c *clusterClock, mono *time.Duration) {
			c.lead(30*second, 0, 2)
			pass(mono, 5)
			observeNow(c, 33*second, 3, true)
		}, 33, true},
		{"it is live once an entry of its own is applied", func(c *clusterClock, _ *time.Duration) {
			c.lead(30*second, 0, 2)
		}, 30, false},
		{"what it stamped as the leader does not set it back when found again after an outage", func(c *clusterClock, mono *time.Duration) {
			observeNow(c, 10*second, 4, true)
			c.lead(10*second, 0, 5)
			observeNow(c, 10*second, 5, true)
			c.follow()
			pass(mono, 3600)
			observeNow(c, 10*second, 5, true)
		}, 3610, true},
		{"nor if none of that was applied", func(c *clusterClock, mono *time.Duration) {
			observeNow(c, 10*second, 4, true)
			c.lead(10*second, 0, 5)
			c.follow()
			pass(mono, 3600)
			observeNow(c, 10*second, 5, true)
		}, 3610, true},
		{"but what a later leader stamped does", func(c *clusterClock, mono *time.Duration) {
			observeNow(c, 10*second, 4, true)
			c.lead(10*second, 0, 5)
			c.follow()
			pass(mono, 3600)
			observeNow(c, 11*second, 6, true)
			observeNow(c, 10*second, 5, true)
		}, 11, true},
		{"and what it stamped itself while time was not known", func(c *clusterClock, mono *time.Duration) {
			c.lead(30*second, 0, 5)
			c.follow()
			pass(mono, 5)
			observeNow(c, 30*second, 5, true)
		}, 30, true},
		{"what is agreed on does not count past an entry that came meanwhile", func(c *clusterClock, _ *time.Duration) {
			observeNow(c, 10*second, 6, true)
			c.lead(30*second, 0, 5)
		}, 10, true},
		{"a snapshot counts over what was counted, though it sets the clock back: its leader may have been late", func(c *clusterClock, mono *time.Duration) {
			observeNow(c, 10*second, 2, true)
			pass(mono, 9)
			c.restored(15*second, 7, true)
		}, 15, true},
		{"what is agreed on counts over a snapshot", func(c *clusterClock, _ *time.Duration) {
			c.restored(15*second, 7, true)
			c.lead(30*second, 7, 2)
		}, 30, true},
		{"but not over one that came meanwhile", func(c *clusterClock, _ *time.Duration) {
			c.restored(14*second, 7, true)
			c.restored(15*second, 9, true)
			c.lead(30*second, 7, 2)
		}, 15, true},
		{"nor is a node the leader any more that takes one", func(c *clusterClock, mono *time.Duration) {
			observeNow(c, 10*second, 4, true)
			c.lead(10*second, 0, 5)
			pass(mono, 20)
			c.restored(15*second, 9, true)
			c.follow()
		}, 15, true},
		{"the process before is not believed if it had not noted the term that its last snapshot is of", func(c *clusterClock, _ *time.Duration) {
			c.recall(20*second, 3, 7)
			c.startsFrom(9, 4)
			c.restored(15*second, 9, false)
		}, 15, false},
		{"nor if it had noted an earlier snapshot", func(c *clusterClock, _ *time.Duration) {
			c.recall(20*second, 0, 7)
			c.startsFrom(9, 4)
			c.restored(15*second, 9, false)
		}, 15, false},
		{"but if it had noted that one, or its term", func(c *clusterClock, _ *time.Duration) {
			c.recall(19*second, 0, 9)
			c.startsFrom(9, 4)
			c.recall(20*second, 4, 7)
			c.startsFrom(9, 4)
			c.restored(15*second, 9, false)
		}, 20, true},
		{"what follows a snapshot counts", func(c *clusterClock, _ *time.Duration) {
			c.restored(15*second, 7, true)
			observeNow(c, 16*second, 2, true)
		}, 16, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, _, mono := newTestClock()
			tt.do(c, mono)
			if now, live := c.now(); now != tt.want*second || live != tt.live {
				t.Errorf("%d s, live %v; want %d s, %v", now/second, live, tt.want, tt.live)
			}
		})
	}
}

// Ensure a node that has nothing newer than a snapshot goes on from what others
// have counted since, and only those who have seen all that is in it.
func TestTimeAfterSnapshot(t *testing.T) {
	const second = int64(time.Second / time.Microsecond)
	alive := func(seconds int64, term, index uint64) *clusterpb.Response {
		return &clusterpb.Response{Live: true, Estimate: seconds * second, Term: term, Index: index}
	}
	for _, tt := range []struct {
		name   string
		others [2]*clusterpb.Response // nil: does not answer
		do     func(c *clusterClock)  // after the snapshot of entry 100, of second 15
		want   int64                  // seconds
	}{
		{"the greatest of those who have seen it", [2]*clusterpb.Response{alive(40, 6, 100), alive(41, 6, 120)}, nil, 41},
		{"not of one that has not, whose leader may have been ahead of the snapshot's", [2]*clusterpb.Response{nil, alive(50, 5, 99)}, nil, 15},
		{"nor of one that does not tell", [2]*clusterpb.Response{alive(50, 6, 0), nil}, nil, 15},
		{"nor of wall clocks", [2]*clusterpb.Response{{Estimate: 50 * second, Index: 100}, {Estimate: 50 * second, Index: 100}}, nil, 15},
		{"it is not behind what is in the snapshot", [2]*clusterpb.Response{alive(14, 6, 100), nil}, nil, 15},
		{"nobody answers", [2]*clusterpb.Response{}, nil, 15},
		{"of those who have seen it, after a boot", [2]*clusterpb.Response{alive(50, 5, 99), alive(40, 6, 100)}, func(c *clusterClock) {
			c.live = false
		}, 40},
		{"one who has not is no better than a wall clock, after a boot", [2]*clusterpb.Response{alive(50, 5, 99), {Estimate: 30 * second}}, func(c *clusterClock) {
			c.wall = func() time.Time { return time.UnixMicro(40 * second) }
			c.live = false
		}, 30},
		{"nor one who rests on an earlier term than the log's last, after a boot", [2]*clusterpb.Response{alive(50, 5, 120), {Estimate: 30 * second}}, func(c *clusterClock) {
			c.wall = func() time.Time { return time.UnixMicro(40 * second) }
			observeNow(c, 16*second, 6, false)
			c.live = false
		}, 30},
		{"an entry followed", [2]*clusterpb.Response{alive(50, 6, 120), nil}, func(c *clusterClock) { observeNow(c, 16*second, 6, true) }, 16},
		{"the process starts again", [2]*clusterpb.Response{alive(40, 6, 100), alive(50, 6, 99)}, func(c *clusterClock) {
			term, index := c.restsOn()
			c.recall(17*second, term, index)
			c.restored(15*second, 100, false)
		}, 40},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := &Node{
				id: &identity{record: identityRecord{NodeID: simName(0)}}, gossip: &gossip{own: simName(0)},
				raft: &threeVoters{},
				call: func(_ context.Context, addr string, _ *clusterpb.Request) (*clusterpb.Response, error) {
					if resp := tt.others[simID(addr)-1]; resp != nil {
						return resp, nil
					}
					return nil, errNotSent
				},
			}
			n.clock, _, _ = newTestClock()
			observeNow(n.clock, 10*second, 5, true)
			n.clock.accountsFor(50, 5)
			n.clock.restored(15*second, 100, true)
			if tt.do != nil {
				tt.do(n.clock)
			}
			if got, err := n.agreeOnTime(t.Context()); got != tt.want*second || err != nil {
				t.Errorf("%d s, %v; want %d s", got/second, err, tt.want)
			}
		})
	}
}

// Ensure a node tells, and notes, up to which entry its estimate accounts for all.
func TestClockAccountsFor(t *testing.T) {
	n := &Node{cfg: Config{DataDir: t.TempDir()}, state: fsm.New(), noteDue: make(signal, 1), logEnd: 5}
	n.clock, _, _ = newTestClock()
	apply := func(index, term uint64) { l := &raft.Log{Index: index, Term: term}; n.onApply(l, l) }
	for _, step := range []struct {
		do   func()
		want uint64
	}{
		{func() { apply(5, 1) }, 5},
		{func() { apply(6, 1) }, 6},
		{func() { n.onApply(&raft.Log{Index: 7, Term: 1}, nil) }, 7}, // has no stamp that could be missed
		{func() { n.onApply(&raft.Log{Index: 8, Term: 2}, nil) }, 7}, // of a leader whose time is not known
		{func() { observeNow(n.clock, 0, 3, true); apply(8, 2) }, 7}, // another leader may have taken the place of term 3's
		{func() { n.onRestore(9) }, 9},
		{func() {
			if _, _, ok := bootTime(); ok {
				n.writeClockNote()
				n.clock, _, _ = newTestClock()
				n.recallClock()
			}
		}, 9},
	} {
		if step.do(); n.answerClock().Index != step.want {
			t.Errorf("got %d, want %d", n.answerClock().Index, step.want)
		}
	}
}

// Ensure no older note stays behind where one cannot be written.
func TestClockNoteThatCannotBeWritten(t *testing.T) {
	if _, _, ok := bootTime(); !ok {
		t.Skip("no clock is known here that goes on without the process")
	}
	n := &Node{cfg: Config{DataDir: t.TempDir()}}
	n.clock, _, _ = newTestClock()
	n.writeClockNote()
	if _, err := os.Stat(n.clockNotePath()); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(n.clockNotePath()+".tmp", 0o700); err != nil { // fails for root too
		t.Fatal(err)
	}
	n.writeClockNote()
	if _, err := os.Stat(n.clockNotePath()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("there is still a note: %v", err)
	}
}

// Ensure a note tells cluster time, and that of a build that counts what the machine
// slept never more than has passed.
func TestClockNoteOfEitherBuild(t *testing.T) {
	boot, since, ok := bootTime()
	if !ok {
		t.Skip("no clock is known here that goes on without the process")
	}
	const noted = 7_000_000
	for _, tt := range []struct {
		name  string
		note  clockNote
		known bool
	}{
		{"of this build", clockNote{Boot: boot + awakeOnly, Since: since, Cluster: noted}, true},
		{"of the one before", clockNote{Boot: boot, Since: since, Cluster: noted}, true},
		{"of the one before, on a machine that slept", clockNote{Boot: boot, Since: since + time.Hour, Cluster: noted}, false},
		{"of another boot", clockNote{Boot: "another" + awakeOnly, Since: since, Cluster: noted}, false},
	} {
		n := &Node{cfg: Config{DataDir: t.TempDir()}}
		n.clock, _, _ = newTestClock()
		data, err := json.Marshal(tt.note)
		if err == nil {
			err = os.WriteFile(n.clockNotePath(), data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		n.recallClock()
		now, live := n.clock.now()
		if live != tt.known {
			t.Errorf("%s: it is known: %v, want %v", tt.name, live, tt.known)
		}
		if _, later, _ := bootTime(); live && (now < noted || now > noted+(later-since).Microseconds()) {
			t.Errorf("%s: cluster time is %d, %v after %d", tt.name, now, later-since, noted)
		}
	}
}

// Ensure a build that counts what the machine slept does not take up a note of this one.
func TestClockNoteIsNotForOtherClocks(t *testing.T) {
	boot, _, ok := bootTime()
	if !ok {
		t.Skip("no clock is known here that goes on without the process")
	}
	n := &Node{cfg: Config{DataDir: t.TempDir()}}
	n.clock, _, _ = newTestClock()
	n.writeClockNote()
	var note clockNote
	data, err := os.ReadFile(n.clockNotePath())
	if err == nil {
		err = json.Unmarshal(data, &note)
	}
	if err != nil || note.Boot == boot {
		t.Errorf("the note is %s, %v", data, err)
	}
}

// threeVoters is a Raft of that configuration, and nothing else.
type threeVoters struct{ consensus }

func (threeVoters) GetConfiguration() raft.ConfigurationFuture {
	f := &simFuture{done: simClosed}
	for id := range 3 {
		f.servers.Servers = append(f.servers.Servers, raft.Server{ID: raft.ServerID(simName(id)), Address: raft.ServerAddress(simName(id))})
	}
	return f
}

// Ensure a wall clock that is as wrong as it was tells cluster time after a boot.
func TestWallNote(t *testing.T) {
	n := &Node{cfg: Config{DataDir: t.TempDir()}}
	var wall *time.Time
	n.clock, wall, _ = newTestClock()
	n.writeWallNote(wall.UnixMicro() - 7_000_000) // it is 7 s ahead of cluster time
	*wall = wall.Add(time.Minute)

	again := &Node{cfg: n.cfg}
	again.clock, wall, _ = newTestClock()
	*wall = wall.Add(2 * time.Minute)
	again.recallWall()
	if got, want := again.clock.byWall(), wall.UnixMicro()-7_000_000-wallNoteGrain.Microseconds(); got != want {
		t.Errorf("cluster time by the wall clock is %d, want %d, which is not ahead for the note's grain", got, want)
	}
	info, err := os.Stat(n.wallNotePath())
	if err != nil {
		t.Fatal(err)
	}
	again.writeWallNote(wall.UnixMicro() - 7_050_000) // by less than the grain
	if same, err := os.Stat(n.wallNotePath()); err != nil || !os.SameFile(info, same) {
		t.Errorf("a note of what is hardly new was written: %v", err)
	}
	if err := os.WriteFile(n.wallNotePath(), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	torn := &Node{cfg: n.cfg}
	torn.clock, wall, _ = newTestClock()
	torn.recallWall()
	if got := torn.clock.wallTime(); got != wall.UnixMicro() {
		t.Errorf("a torn note counts: %d", got)
	}
}

// Ensure an outage counts that lies between the coming of an entry and its being
// looked at or applied, and that an entry without a stamp sets nothing back.
func TestOutageBehindAnEntry(t *testing.T) {
	const second = int64(time.Second / time.Microsecond)
	stamped := &raft.Log{Index: 7, Term: 5, Data: []byte{1}} // at time 0
	for _, tt := range []struct {
		name string
		do   func(n *Node, pass func(seconds int))
		want int64 // seconds
	}{
		{"it is applied", func(n *Node, pass func(int)) {
			n.clock.arrived(7, 5)
			pass(3600)
			n.onApply(stamped, stamped)
		}, 3600},
		{"it is sent again after a while, and what came before it", func(n *Node, pass func(int)) {
			n.clock.arrived(7, 5)
			pass(3600)
			n.clock.arrived(6, 5)
			n.clock.arrived(7, 5)
			n.onApply(stamped, stamped)
		}, 3600},
		{"another one came in its place", func(n *Node, pass func(int)) {
			n.clock.arrived(7, 4)
			pass(3600)
			n.clock.arrived(7, 5)
			pass(1)
			n.onApply(stamped, stamped)
		}, 1},
		{"a change of the configuration follows", func(n *Node, pass func(int)) {
			n.onApply(stamped, stamped)
			pass(3600)
			n.onApply(&raft.Log{Index: 8, Term: 5, Type: raft.LogConfiguration}, nil)
		}, 3600},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := &Node{state: fsm.New(), noteDue: make(signal, 1)}
			clock, _, mono := newTestClock()
			n.clock = clock
			tt.do(n, func(seconds int) { *mono += time.Duration(seconds) * time.Second })
			if got, live := clock.now(); got != tt.want*second || !live {
				t.Errorf("%d s, live %v; want %d s, live", got/second, live, tt.want)
			}
		})
	}
}

// Ensure a deadline that is further away than a duration can say is not due.
func TestFarDeadline(t *testing.T) {
	c, _, _ := newTestClock()
	observeNow(c, time.Second.Microseconds(), 1, true)
	for _, seconds := range []int64{9_223_372_036, 9_223_372_038, 30_000_000_000, 100_000_000_000} {
		if d := c.until(seconds * 1_000_000); d < 9_223_372_034*time.Second {
			t.Errorf("a deadline after %d s is %v away", seconds, d)
		}
	}
}
