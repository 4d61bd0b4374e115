package cluster

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/hashicorp/raft"
)

var errLeaderGone = errors.New("this voter has found that leader gone")

// rpcGate hands raft what other nodes' rafts send, one RPC at a time, as raft
// itself works them off. It can be shut to a leader, so that this node's log
// stands still while voters compare theirs: entries that a dead leader sent
// last would otherwise make a voter refuse the one that all had agreed on.
type rpcGate struct {
	in  <-chan raft.RPC
	out chan raft.RPC

	logger *slog.Logger
	raft   standing
	log    extent
	sever  func(nodeID string) // ends the connections of that node's raft

	turn      chan struct{} // held while raft works off an RPC, and to set what follows
	shutTerm  uint64        // the term of the leader that it is shut to
	shutUntil time.Time

	onInstalled func(index, term uint64) // see snapshotconflict.go; nil: nobody asks
	onStamped   func(index, term uint64) // see transportConfig
}

func newRPCGate(in <-chan raft.RPC, sever func(nodeID string), logger *slog.Logger) *rpcGate {
	return &rpcGate{in: in, sever: sever, logger: logger, out: make(chan raft.RPC), turn: make(chan struct{}, 1)}
}

// run works until ctx ends.
func (g *rpcGate) run(ctx context.Context, r standing, log extent) {
	g.raft, g.log = r, log
	for {
		select {
		case rpc := <-g.in:
			g.pass(ctx, rpc)
		case <-ctx.Done():
			return
		}
	}
}

func (g *rpcGate) pass(ctx context.Context, rpc raft.RPC) {
	select {
	case g.turn <- struct{}{}:
	case <-ctx.Done():
		return
	}
	defer func() { <-g.turn }()
	if g.isShutTo(rpc.Command) {
		rpc.Respond(nil, errLeaderGone)
		return
	}
	asked, asker := rpc.Command, rpc.RespChan
	answer := make(chan raft.RPCResponse, 1)
	rpc = g.withoutKnown(g.watchSnapshot(rpc))
	g.noteStamped(rpc.Command)
	rpc.RespChan = answer
	if g.hand(ctx, rpc) != nil {
		return
	}
	select {
	case a := <-answer:
		g.noteInstalled(rpc.Command, a)
		asker <- answerTo(asked, a)
	case <-ctx.Done():
	}
}

// noteStamped tells of the last entry with a stamp, if there is one.
func (g *rpcGate) noteStamped(command any) {
	c, ok := command.(*raft.AppendEntriesRequest)
	if !ok || g.onStamped == nil {
		return
	}
	for _, l := range slices.Backward(c.Entries) {
		if l.Type == raft.LogCommand {
			g.onStamped(l.Index, l.Term)
			return
		}
	}
}

// hand gives raft an RPC, in turn or, if it is this node's own, out of turn.
func (g *rpcGate) hand(ctx context.Context, rpc raft.RPC) error {
	select {
	case g.out <- rpc:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// isShutTo reports whether an RPC that may change the log comes from the
// leader that the gate is shut to.
func (g *rpcGate) isShutTo(command any) bool {
	var term uint64
	switch c := command.(type) {
	case *raft.AppendEntriesRequest:
		term = c.Term
	case *raft.InstallSnapshotRequest:
		term = c.Term
	default:
		return false
	}
	return term == g.shutTerm && time.Now().Before(g.shutUntil)
}

// shut refuses for d what the leader of term sends. It returns once raft has
// worked off what it was at, or ctx's cause.
func (g *rpcGate) shut(ctx context.Context, term uint64, d time.Duration) error {
	select {
	case g.turn <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-g.turn }()
	g.shutTerm, g.shutUntil = term, time.Now().Add(d)
	return nil
}
