package cluster

import (
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// A standstillScript drives a standstill, one tick after the other.
type standstillScript struct {
	p    progress
	end  uint64
	s    standstill
	got  []remedy
	tick int
}

// ticks lets n ticks pass in which the follower accepts heartbeats and each
// changes what it has shown.
func (s *standstillScript) ticks(n int, each func(p *progress)) {
	for range n {
		s.p.heard++
		each(&s.p)
		if r := s.s.tick(s.p, s.end); r != wait {
			s.got = append(s.got, r)
		}
		s.tick++
	}
}

func nothing(*progress) {}

func TestStandstill(t *testing.T) {
	const long = 3 * wedgedTicks
	fails := func(every int) func(*progress) {
		n := 0
		return func(p *progress) {
			if n++; n%every == 0 {
				p.failed++
			}
		}
	}
	tests := []struct {
		name   string
		script func(s *standstillScript)
		want   []remedy
	}{
		{"nothing to take", func(s *standstillScript) { s.p.matched = s.end; s.ticks(long, nothing) }, nil},
		{"slow", func(s *standstillScript) {
			for range long {
				s.ticks(stillTicks-1, nothing)
				s.ticks(1, func(p *progress) { p.matched++ })
			}
		}, nil},
		{"silent: dead, cut off or paused", func(s *standstillScript) {
			s.ticks(long, func(p *progress) { p.heard-- })
		}, nil},
		{"answers now and then", func(s *standstillScript) {
			for range long {
				s.ticks(stillTicks-1, nothing)
				s.ticks(1, func(p *progress) { p.heard-- })
			}
		}, nil},
		{"takes a snapshot", func(s *standstillScript) { s.p.installing = 1; s.ticks(long, nothing) }, nil},
		// After a long absence raft waits 10.24 s before it tries again.
		{"back after an absence", func(s *standstillScript) {
			s.ticks(12, nothing)
			s.p.matched = s.end
			s.ticks(long, nothing)
		}, nil},

		{"an RPC hangs", func(s *standstillScript) { s.p.appending = 1; s.ticks(wedgedTicks, nothing) },
			[]remedy{cut, cut, cut, replace}},
		{"an RPC hangs, and cutting helps", func(s *standstillScript) {
			s.p.appending = 1
			s.ticks(stillTicks, nothing)
			s.ticks(long, func(p *progress) { p.matched++ })
		}, []remedy{cut}},
		{"nothing is sent any more", func(s *standstillScript) { s.ticks(wedgedTicks, nothing) }, []remedy{replace}},
		{"it stays so", func(s *standstillScript) { s.ticks(2*wedgedTicks, nothing) }, []remedy{replace, replace}},
		{"the follower fails each", func(s *standstillScript) { s.ticks(2*wedgedTicks, fails(1)) }, []remedy{tell, tell}},
		// An answer that does not come within 5 s, and raft's longest wait.
		{"the follower hangs", func(s *standstillScript) { s.ticks(wedgedTicks, fails(16)) }, []remedy{tell}},
		{"it failed long ago", func(s *standstillScript) {
			s.ticks(wedgedTicks/4, fails(1))
			s.ticks(wedgedTicks, nothing)
		}, []remedy{replace}},
		{"refused nothing since the log grew", func(s *standstillScript) {
			s.p.matched = s.end
			s.ticks(long, nothing)
			s.end++
			s.ticks(wedgedTicks, nothing) // the first may be too early to tell
		}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := &standstillScript{p: progress{matched: 7}, end: 9}
			s.s.tick(s.p, s.end)
			tt.script(s)
			if !slices.Equal(s.got, tt.want) {
				t.Errorf("remedies %v, want %v", s.got, tt.want)
			}
		})
	}
}

func TestProgress(t *testing.T) {
	script := newNoticeScript(t)
	n := script.n
	snapshot := func(index uint64, ok bool) {
		req := &raft.InstallSnapshotRequest{Term: 2, LastLogIndex: index}
		n.installing("f", 2)
		if got := n.progressOf("f", 2).installing; got != 1 {
			t.Errorf("%d snapshots under way, want 1", got)
		}
		n.installed("f", req, ok)
	}
	heartbeat := &raft.AppendEntriesRequest{Term: 2}
	n.sent("f", heartbeat, true)
	n.sent("f", heartbeat, false)
	script.acked(2, 4, 1, 6, 4)
	n.sent("f", script.append(2, 6, 2, 8, 4), false)
	script.append(2, 6, 2, 8, 4)
	if got, want := n.progressOf("f", 2), (progress{matched: 6, heard: 1, failed: 1, appending: 1}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := n.progressOf("f", 3); got != (progress{}) {
		t.Errorf("got %+v of a term to come, want nothing", got)
	}
	for i := range uint64(loopInstalls) {
		if n.progressOf("f", 2).loops() {
			t.Errorf("loops after %d snapshots", i)
		}
		snapshot(20+i, false)
		snapshot(20+i, true)
	}
	if got := n.progressOf("f", 2); !got.loops() || got.matched != 22 {
		t.Errorf("got %+v, want a loop at 22", got)
	}
	script.acked(2, 22, 2, 23, 22)
	if n.progressOf("f", 2).loops() {
		t.Error("loops after it has taken an entry")
	}
}

// Ensure that snapshots which take their time are no loop.
func TestSlowInstalls(t *testing.T) {
	var p progress
	now := time.Now()
	for i := range 10 {
		p.installed(&raft.InstallSnapshotRequest{LastLogIndex: uint64(i)}, true, now)
		if p.loops() {
			t.Fatalf("loops after %d snapshots", i+1)
		}
		now = now.Add(loopTime * 2 / 3)
	}
}
