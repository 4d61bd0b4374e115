package cluster

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

// send gives the gate an RPC and returns what its sender is answered.
func send(in chan<- raft.RPC, command any) <-chan raft.RPCResponse {
	answer := make(chan raft.RPCResponse, 1)
	in <- raft.RPC{Command: command, RespChan: answer}
	return answer
}

// Ensure a gate that is shut to the leader of one term refuses what changes
// the log and comes from it, and nothing else, until the time is up.
func TestGateShut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := make(chan raft.RPC)
		g := newRPCGate(in, nil, discard)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go g.run(ctx, standingAt{}, logFrom{})
		go func() { // raft
			for {
				select {
				case rpc := <-g.out:
					rpc.Respond(rpc.Command, nil)
				case <-ctx.Done():
					return
				}
			}
		}()
		if err := g.shut(ctx, 7, time.Second); err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			name    string
			command any
			refused bool
		}{
			{"entries of the leader", &raft.AppendEntriesRequest{Term: 7}, true},
			{"snapshot of the leader", &raft.InstallSnapshotRequest{Term: 7}, true},
			{"entries of the next leader", &raft.AppendEntriesRequest{Term: 8}, false},
			{"vote", &raft.RequestVoteRequest{Term: 7}, false},
		} {
			switch a := <-send(in, tt.command); {
			case tt.refused && !errors.Is(a.Error, errLeaderGone):
				t.Errorf("%s: not refused", tt.name)
			case !tt.refused && a.Response != tt.command:
				t.Errorf("%s: got %v, %v", tt.name, a.Response, a.Error)
			}
		}
		time.Sleep(time.Second)
		if a := <-send(in, &raft.AppendEntriesRequest{Term: 7}); a.Error != nil {
			t.Errorf("refused after the time was up: %v", a.Error)
		}
	})
}

// Ensure a gate is shut only once raft has worked off what it was at.
func TestGateShutWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := make(chan raft.RPC)
		g := newRPCGate(in, nil, discard)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go g.run(ctx, standingAt{}, logFrom{})
		answer := send(in, &raft.AppendEntriesRequest{Term: 7})
		working := <-g.out
		soon, stop := context.WithTimeout(ctx, time.Second)
		defer stop()
		if err := g.shut(soon, 7, time.Second); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("shut in the middle of an RPC: %v", err)
		}
		working.Respond("done", nil)
		if a := <-answer; a.Response != "done" {
			t.Fatalf("got %v", a)
		}
		if err := g.shut(ctx, 7, time.Second); err != nil {
			t.Fatal(err)
		}
	})
}

// Ensure a node is held up by a snapshot that stops coming for no longer than
// it must, and not at all by one that is slow.
func TestSnapshotStopsComing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const pieces = 10
		data, sender := io.Pipe()
		in := make(chan raft.RPC)
		g := newRPCGate(in, func(nodeID string) { sender.CloseWithError(errors.New("cut off from " + nodeID)) }, discard)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go g.run(ctx, standingAt{}, logFrom{})
		go func() { // raft
			rpc := <-g.out
			_, err := io.Copy(io.Discard, rpc.Reader)
			rpc.Respond(nil, err)
		}()
		go func() {
			for range pieces {
				time.Sleep(snapshotSilence - time.Millisecond)
				if _, err := sender.Write([]byte("piece")); err != nil {
					t.Error(err)
				}
			}
		}()
		begin := time.Now()
		answer := make(chan raft.RPCResponse, 1)
		in <- raft.RPC{
			Command: &raft.InstallSnapshotRequest{RPCHeader: raft.RPCHeader{ID: []byte("n2")}, LastLogIndex: 1},
			Reader:  data, RespChan: answer,
		}
		a := <-answer
		if a.Error == nil || a.Error.Error() != "cut off from n2" {
			t.Errorf("got %v", a.Error)
		}
		if took, want := time.Since(begin), pieces*(snapshotSilence-time.Millisecond)+snapshotSilence; took != want {
			t.Errorf("after %v, want %v", took, want)
		}
	})
}

// Ensure the gate tells of the last entry that has a stamp, and of no other.
func TestGateNotesStamped(t *testing.T) {
	entry := func(index uint64, kind raft.LogType) *raft.Log { return &raft.Log{Index: index, Term: 3, Type: kind} }
	for _, tt := range []struct {
		name    string
		command any
		want    uint64 // index; 0: none
	}{
		{"commands and what follows them", &raft.AppendEntriesRequest{Entries: []*raft.Log{
			entry(5, raft.LogCommand), entry(6, raft.LogCommand), entry(7, raft.LogNoop),
		}}, 6},
		{"no command", &raft.AppendEntriesRequest{Entries: []*raft.Log{entry(5, raft.LogConfiguration)}}, 0},
		{"no entry", &raft.AppendEntriesRequest{}, 0},
		{"a vote", &raft.RequestVoteRequest{}, 0},
	} {
		g, got := newRPCGate(nil, nil, discard), uint64(0)
		g.onStamped = func(index, _ uint64) { got = index }
		if g.noteStamped(tt.command); got != tt.want {
			t.Errorf("%s: entry %d, want %d", tt.name, got, tt.want)
		}
	}
}
