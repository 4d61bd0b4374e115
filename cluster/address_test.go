package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/stateraft/stateraft/cluster/clusterpb"
)

// showing is a gossip that shows one live node's Raft address.
func showing(id, addr string) *gossip {
	return &gossip{alive: map[string]*clusterpb.GossipMeta{id: {NodeId: id, Raft: addr}}}
}

func TestLocate(t *testing.T) {
	for _, test := range []struct {
		name   string
		gossip *gossip
		want   string
	}{
		{"before gossip", nil, "h:1"},
		{"not shown", showing("other", "h:2"), "h:1"},
		{"no address shown", showing("m", ""), "h:1"},
		{"where it was", showing("m", "h:1"), "h:1"},
		{"elsewhere", showing("m", "h:2"), "h:2"},
		{"where another is shown", &gossip{alive: map[string]*clusterpb.GossipMeta{"m": {Raft: "h:2"}, "other": {Raft: "h:2"}}}, "h:1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := test.gossip.locate("m", "h:1"); got != "m@"+test.want {
				t.Errorf("address %q, want %q", got, test.want)
			}
		})
	}
}

// Ensure that everything meant for a member reaches it where gossip shows it,
// or, if that shows nothing, where it is configured; and that another node
// which is there gets nothing that counts.
func TestAddressIsNoProof(t *testing.T) {
	for _, test := range []struct {
		answering string
		shown, ok bool
	}{{"m", true, true}, {"m", false, true}, {"other", true, false}, {"other", false, false}} {
		there, d := testTransport(t, test.answering, "c", answerTerms), testTransport(t, "d", "c", nil)
		go answerRaft(there)
		n, m := &Node{id: &identity{}, transport: d, call: d.call}, raft.Server{ID: "m", Address: "127.0.0.1:1"}
		if test.shown {
			n.gossip = showing("m", there.advertised())
		} else {
			m.Address = raft.ServerAddress(there.advertised())
		}
		d.raft.gossip.Store(n.gossip)
		for name, reach := range waysTo(n, m) {
			t.Run(fmt.Sprintf("%s where %s answers, shown %t", name, test.answering, test.shown), func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				if err := reach(ctx); test.ok != (err == nil) {
					t.Errorf("reached: %v (%v), want %v", err == nil, err, test.ok)
				}
			})
		}
	}
}

// waysTo lists what a node sends to a member.
func waysTo(n *Node, m raft.Server) map[string]func(context.Context) error {
	r := n.transport.raft
	return map[string]func(context.Context) error{
		"vote": func(context.Context) error {
			return r.RequestVote(m.ID, m.Address, &raft.RequestVoteRequest{Term: 1}, new(raft.RequestVoteResponse))
		},
		"pre-vote": func(context.Context) error {
			return r.RequestPreVote(m.ID, m.Address, &raft.RequestPreVoteRequest{Term: 1}, new(raft.RequestPreVoteResponse))
		},
		"append": func(context.Context) error {
			return r.AppendEntries(m.ID, m.Address, &raft.AppendEntriesRequest{Term: 1, PrevLogEntry: 1}, new(raft.AppendEntriesResponse))
		},
		"snapshot": func(context.Context) error {
			return r.InstallSnapshot(m.ID, m.Address, &raft.InstallSnapshotRequest{Term: 1}, new(raft.InstallSnapshotResponse), new(bytes.Buffer))
		},
		"transfer": func(context.Context) error {
			return r.TimeoutNow(m.ID, m.Address, new(raft.TimeoutNowRequest), new(raft.TimeoutNowResponse))
		},
		"call": func(ctx context.Context) error {
			_, err := n.call(ctx, n.gossip.locate(m.ID, m.Address), ask(1))
			if err != nil && !errors.Is(err, errNotSent) {
				return nil // it may have been carried out
			}
			return err
		},
		"question to all": func(ctx context.Context) error {
			return counted(len(n.askAll(ctx, []raft.Server{m}, ask(1))) == 1)
		},
		"question whether the leader is gone": func(ctx context.Context) error {
			_, ok := n.askGone(ctx, m, leader{id: "gone"}, 1)
			return counted(ok)
		},
		"question for the term": func(ctx context.Context) error {
			return counted(n.showTerm(ctx, []raft.Server{m}, 1, 1))
		},
	}
}

func counted(ok bool) error {
	if ok {
		return nil
	}
	return errors.New("no answer counted")
}

func answerTerms(c *transportConfig) {
	c.handle = func(context.Context, peer, *clusterpb.Request) *clusterpb.Response {
		return &clusterpb.Response{Term: 1, Live: true}
	}
}

// answerRaft agrees to everything until the transport is closed.
func answerRaft(t *transport) {
	t.raft.serve(standingAt{}, logFrom{})
	for {
		select {
		case rpc := <-t.raft.Consumer():
			switch rpc.Command.(type) {
			case *raft.RequestVoteRequest:
				rpc.Respond(&raft.RequestVoteResponse{Granted: true}, nil)
			case *raft.RequestPreVoteRequest:
				rpc.Respond(&raft.RequestPreVoteResponse{Granted: true}, nil)
			case *raft.AppendEntriesRequest:
				rpc.Respond(&raft.AppendEntriesResponse{Success: true}, nil)
			case *raft.InstallSnapshotRequest:
				rpc.Respond(&raft.InstallSnapshotResponse{Success: true}, nil)
			case *raft.TimeoutNowRequest:
				rpc.Respond(new(raft.TimeoutNowResponse), nil)
			}
		case <-t.ctx.Done():
			return
		}
	}
}
