package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/raft"

	"github.com/stateraft/stateraft/cluster/clusterpb"
)

// RemoveMember takes a node, given by id or display name, out of the
// configuration. Errors: ErrNotFound, ErrRefused, ErrNoLeader, and
// ErrOutcomeUnknown.
func (n *Node) RemoveMember(ctx context.Context, node string) error {
	return n.administer(ctx, &clusterpb.Request{Remove: &clusterpb.Remove{Node: node}})
}

// TransferLeadership hands leadership to the voter given by id or display
// name; empty: to one that is ready, if there is one. It returns when another node
// leads.
func (n *Node) TransferLeadership(ctx context.Context, to string) error {
	return n.administer(ctx, &clusterpb.Request{Transfer: &clusterpb.Transfer{To: to}})
}

// administer has the leader carry out req, wherever it is, trying again while
// there is none.
func (n *Node) administer(ctx context.Context, req *clusterpb.Request) error {
	for {
		to, err := n.leaders.wait(ctx)
		if err != nil {
			return ErrNoLeader
		}
		if to.id == n.id.nodeID() {
			err = errorOf(n.handle(ctx, peer{nodeID: to.id, clusterID: n.id.clusterID()}, req))
		} else {
			_, err = n.askLeader(ctx, req)
		}
		switch {
		case errors.Is(err, errBroken):
			return fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
		case !isCertain(err):
			return err
		case ctx.Err() != nil:
			return ErrNoLeader
		}
		sleep(ctx, maxPause)
	}
}

func (n *Node) removeAsLeader(ctx context.Context, node string) error {
	if n.term.Load() == nil {
		return errNotLeader
	}
	servers := n.servers()
	s, err := n.find(servers, node)
	if err != nil {
		return err
	}
	if err := n.mayRemove(ctx, servers, s); err != nil {
		return err
	}
	if string(s.ID) == n.id.nodeID() {
		if err := n.handOver(ctx, ""); err != nil && !errors.Is(err, ErrOutcomeUnknown) {
			return err
		}
		return errNotLeader // the next leader removes this node
	}
	n.cfg.Logger.Info("removing", "node", s.ID)
	return n.change(ctx, servers, func() raft.IndexFuture { return n.raft.RemoveServer(s.ID, 0, attemptTimeout) })
}

// mayRemove refuses to take a voter out when the others would be no majority of
// themselves: a configuration counts from when it is in the log, and without a
// majority of its own no other can follow it.
func (n *Node) mayRemove(ctx context.Context, servers []raft.Server, s raft.Server) error {
	if s.Suffrage != raft.Voter {
		return nil
	}
	others := slices.DeleteFunc(votersOf(servers), func(v raft.Server) bool { return v.ID == s.ID })
	if len(others) == 0 {
		return fmt.Errorf("%w: it is the only voter", ErrRefused)
	}
	for end := time.Now().Add(attemptTimeout); ; sleep(ctx, maxPause) {
		silent := n.silent(ctx, others)
		switch {
		case 2*len(silent) < len(others):
			return nil
		case ctx.Err() != nil, time.Now().After(end):
			return fmt.Errorf("%w: without it the cluster would have no majority: of the %d other voters these do not answer: %s; start them, or remove them first",
				ErrRefused, len(others), strings.Join(silent, ", "))
		}
	}
}

// silent returns the names of those servers that do not answer.
func (n *Node) silent(ctx context.Context, servers []raft.Server) []string {
	told, names := n.askStatus(ctx, servers), n.names()
	var silent []string
	for _, s := range servers {
		id := string(s.ID)
		if _, ok := told[id]; !ok && id != n.id.nodeID() {
			silent = append(silent, cmp.Or(names[id], id))
		}
	}
	return silent
}

// find returns the server of that id or display name.
func (n *Node) find(servers []raft.Server, node string) (raft.Server, error) {
	names := n.names()
	var found []raft.Server
	for _, s := range servers {
		if string(s.ID) == node {
			return s, nil
		}
		if names[string(s.ID)] == node {
			found = append(found, s)
		}
	}
	switch len(found) {
	case 0:
		return raft.Server{}, fmt.Errorf("%w: %q", ErrNotFound, node)
	case 1:
		return found[0], nil
	default:
		return raft.Server{}, fmt.Errorf("%w: %d members are called %q; give an id", ErrRefused, len(found), node)
	}
}

// ErrCatchingUp is Ready's of a node that knows a leader.
var ErrCatchingUp = errors.New("catching up")

// Ready returns nil if this node knows a leader and has caught up with it, and
// else why it should get no traffic.
func (n *Node) Ready() error {
	switch {
	case context.Cause(n.ctx) != nil:
		return context.Cause(n.ctx)
	case n.draining.Load():
		return errors.New("draining")
	case len(n.id.clusterID()) == 0:
		return errors.New("not a member of a cluster yet")
	case n.leaders.current().id == "":
		return errors.New("no leader is known")
	case !n.caughtUp.Load(), n.state.Point().Index+promoteLag < n.raft.CommitIndex():
		return ErrCatchingUp
	case !n.hasServer(n.id.nodeID()):
		return errors.New("not a member of the cluster's configuration")
	}
	return nil
}

// catchUp notes when the state has reached what was committed while this node
// was away. Raft's own commit index does not tell: a node learns of commits only
// as far as its log goes.
func (n *Node) catchUp(ctx context.Context) {
	for ctx.Err() == nil && !n.caughtUp.Load() {
		attempt, cancel := context.WithTimeout(ctx, attemptTimeout)
		n.caughtUp.Store(n.ReadIndex(attempt) == nil)
		cancel()
	}
}
