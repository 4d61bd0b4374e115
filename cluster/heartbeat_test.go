package cluster

import (
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/stateraft/stateraft/cluster/logstore"
)

// Ensure only heartbeats of the term on the disk are handled aside, and that the
// term does not change meanwhile.
func TestHeartbeatGuard(t *testing.T) {
	var g heartbeatGuard
	disk := raft.NewInmemStore()
	term := guardedTerm{disk, &g}
	beat := func(term uint64) raft.RPC {
		return raft.RPC{Command: &raft.AppendEntriesRequest{Term: term}}
	}
	set := func(n uint64) {
		t.Helper()
		if err := term.SetUint64([]byte(logstore.KeyTerm), n); err != nil {
			t.Fatal(err)
		}
	}
	set(5)
	for n, want := range map[uint64]bool{4: false, 5: true, 6: false} {
		handled := false
		if aside := g.aside(beat(n), func(raft.RPC) { handled = true }); aside != want || handled != want {
			t.Errorf("a heartbeat of term %d in term 5: aside %v, handled %v, want %v", n, aside, handled, want)
		}
	}

	changed := make(chan struct{})
	g.aside(beat(5), func(raft.RPC) {
		set(5) // raft sets the term anew when it falls back to follower
		go func() {
			defer close(changed)
			term.SetUint64([]byte(logstore.KeyTerm), 6)
		}()
		select {
		case <-changed:
			t.Error("the term changed while a heartbeat was handled")
		case <-time.After(20 * time.Millisecond): // for it to get to the lock
		}
	})
	<-changed
	if n, err := disk.GetUint64([]byte(logstore.KeyTerm)); n != 6 || err != nil {
		t.Errorf("the term on the disk is %d, %v, want 6", n, err)
	}
	if err := term.SetUint64([]byte(logstore.KeyTerm), 5); err == nil {
		t.Error("the term went back")
	}
}

// Ensure a leader that a heartbeat deposes writes nothing more: an entry of the
// new term that its leader never sent would stay, for raft tells entries apart by
// index and term. torture --faults P2 --seed 1 found that nodes diverged so.
func TestDeposedLeaderWritesNothing(t *testing.T) {
	leader := startRaft(t, 1, false, func(c *raft.Config) { // no timer wakes its main goroutine
		c.HeartbeatTimeout, c.ElectionTimeout, c.LeaderLeaseTimeout = time.Hour, time.Hour, time.Hour
	})[0]
	leader.transport.raft.campaign(t.Context())
	propose(t, []*raftMember{leader}, "before")
	term, last := leader.raft.CurrentTerm(), leader.raft.LastIndex()

	other := testTransport(t, "n9", "c", nil).raftTransport()
	beat := &raft.AppendEntriesRequest{Term: term + 1, RPCHeader: raft.RPCHeader{
		ProtocolVersion: raft.ProtocolVersionMax, ID: []byte("n9"), Addr: other.EncodePeer("n9", other.LocalAddr()),
	}}
	resp := new(raft.AppendEntriesResponse)
	if err := other.AppendEntries("n0", leader.transport.raft.LocalAddr(), beat, resp); err != nil || !resp.Success {
		t.Fatalf("heartbeat: %+v, %v", resp, err)
	}
	if err := leader.raft.Apply([]byte("after"), 0).Error(); err == nil {
		t.Error("a deposed leader accepted a command")
	}
	if n := leader.raft.LastIndex(); n != last {
		t.Errorf("its log ends with entry %d, want %d", n, last)
	}
	leader.await(t, func(commands []string) bool { return strings.Join(commands, " ") == "before" })
}
