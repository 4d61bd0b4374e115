package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/hashicorp/raft"
)

// errOutdated: the configuration has changed since the change was decided on;
// nothing was proposed.
var errOutdated = errors.New("the configuration has changed meanwhile")

// change makes one change of the configuration, if that is still what the change
// was decided on. No other is under way then: Raft would keep the later one back
// and carry it out whatever the earlier has made of it, so that a server that
// was just removed would be added again.
func (n *Node) change(ctx context.Context, decidedOn []raft.Server, change func() raft.IndexFuture) error {
	done, err := n.turn(ctx, decidedOn)
	if err != nil {
		return err
	}
	defer done()
	return n.changed(change())
}

// turn waits until no change of the configuration is under way, and keeps others
// from beginning until done is called. It fails if the configuration is no longer
// the one that was decided on.
func (n *Node) turn(ctx context.Context, decidedOn []raft.Server) (done func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	select {
	case n.changing <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: another change of the configuration, or of the protocol version, is under way", ErrRefused)
	}
	done = func() { <-n.changing }
	if !slices.Equal(n.servers(), decidedOn) {
		done()
		return nil, errOutdated
	}
	return done, nil
}

// changed turns the outcome of a change of the configuration into our errors.
func (n *Node) changed(f raft.IndexFuture) error {
	switch err := n.committer.await(f); {
	case err == nil:
		return nil
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return errNotLeader
	case errors.Is(err, raft.ErrLeadershipLost), errors.Is(err, raft.ErrRaftShutdown), n.store.Err() != nil: // it may be in the log
		return fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
	default:
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
}
