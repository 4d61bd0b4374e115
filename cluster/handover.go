package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/raft"
)

// Drain prepares for a graceful end: Ready fails from now on, and if this node
// leads, it hands over until another does, within ctx. Errors: ErrRefused,
// ErrOutcomeUnknown and ErrNoLeader; the node goes on trying after them, and
// whenever it is elected, as long as there is a voter that is ready.
func (n *Node) Drain(ctx context.Context) error {
	n.draining.Store(true)
	var last error
	for led := false; len(n.voters()) > 1; sleep(ctx, firstPause) {
		switch id := n.leaders.current().id; {
		case id == n.id.nodeID():
			led = true
			last = n.handOver(ctx, "")
			if !errors.Is(last, errNotLeader) && !errors.Is(last, ErrOutcomeUnknown) {
				return last
			}
		case id != "" || !led:
			return nil
		}
		switch {
		case ctx.Err() == nil:
		case errors.Is(last, ErrOutcomeUnknown):
			return last
		default:
			return ErrNoLeader
		}
	}
	return nil
}

const (
	// asideInterval is how often a leader that drains looks for a voter that is
	// ready, and asideRest the least time between two attempts to have one lead:
	// each holds writes back, and one that cannot win would be told for ever.
	asideInterval = time.Second
	asideRest     = 10 * time.Second
)

// handOverIfDraining has a node that drains lead no longer than it must, until
// ctx, the term's, ends: a node may drain and still be the one that others elect.
func (n *Node) handOverIfDraining(ctx context.Context) {
	for ; ctx.Err() == nil; sleep(ctx, asideInterval) {
		if !n.draining.Load() || time.Since(n.handedOn) < asideRest {
			continue
		}
		tried, err := n.handOverToReady(ctx)
		if tried {
			n.handedOn = time.Now()
		}
		if err != nil && ctx.Err() == nil {
			n.cfg.Logger.Warn("this node drains, and leadership could not be handed over", "err", err)
		}
	}
}

// handOverToReady does nothing if no other voter is ready: if all drain, one of
// them has to lead.
func (n *Node) handOverToReady(ctx context.Context) (tried bool, err error) {
	ready := n.readyOf(ctx, n.otherVoters())
	if len(ready) == 0 {
		return false, nil
	}
	return true, n.handOverTo(ctx, askTimeout, ready, nil)
}

// handOver makes the voter given by id or display name lead; empty: one that is
// ready, or without such a one any. It returns when another node leads. Errors:
// ErrNotFound, ErrRefused, ErrOutcomeUnknown, and errNotLeader.
func (n *Node) handOver(ctx context.Context, to string) error {
	if n.term.Load() == nil {
		return errNotLeader
	}
	if to != "" {
		s, err := n.successor(to)
		if err != nil {
			return err
		}
		return n.handOverTo(ctx, attemptTimeout, []raft.Server{s}, nil)
	}
	others := n.otherVoters()
	return n.handOverTo(ctx, attemptTimeout, n.readyOf(ctx, others), others)
}

// handOverTo makes one of the first voters lead, or if none of them is level
// soon, one of the rest. No entry is proposed any more, the one chosen has all there
// are within patience, and is told to stand for election at once. It is not Raft's own
// transfer, which can leave a flag behind that makes a later leadership refuse every
// write (hashicorp/raft issue 696).
func (n *Node) handOverTo(ctx context.Context, patience time.Duration, first, rest []raft.Server) error {
	select { // the end of one would release what another holds
	case n.handingOver <- struct{}{}:
		defer func() { <-n.handingOver }()
	case <-ctx.Done():
		return fmt.Errorf("%w: another hand-over is under way", ErrRefused)
	}
	t := n.term.Load()
	if t == nil {
		return errNotLeader
	}
	stillLeads := func() bool { return n.term.Load() == t }
	defer n.committer.release(stillLeads)
	level, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := n.committer.hold(level, stillLeads); errors.Is(err, errNotLeader) {
		return err
	} else if err != nil {
		return fmt.Errorf("%w: entries in flight did not end: %w", ErrRefused, err)
	}
	s, ok := n.firstLevel(level, first, rest)
	if !ok {
		return fmt.Errorf("%w: no voter is level with the log", ErrRefused)
	}
	if !stillLeads() || n.raft.State() != raft.Leader || n.raft.CurrentTerm() != t.number {
		return errNotLeader // and that voter may lead by now: it would give that up
	}
	n.cfg.Logger.Info("handing leadership over", "to", s.ID)
	return n.tellToLead(ctx, t, s)
}

// tellToLead tells s to stand for election, and waits until another node leads.
func (n *Node) tellToLead(ctx context.Context, t *leadTerm, s raft.Server) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	told := make(chan error, 1)
	go func() { // which knows no context
		req := &raft.TimeoutNowRequest{RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax}}
		told <- n.rafts.TimeoutNow(s.ID, s.Address, req, new(raft.TimeoutNowResponse))
	}()
	var err error
	select {
	case err = <-told:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	switch {
	case isRefused(err):
		return fmt.Errorf("%w: %w", ErrRefused, err)
	case err != nil:
		return fmt.Errorf("%w: telling %s to lead: %w", ErrOutcomeUnknown, s.ID, err)
	}
	return n.awaitSuccessor(ctx, t, s.ID)
}

// awaitSuccessor waits until another node leads. The one that was told to may
// end this leadership without winning the next: if that is this node's again,
// the error is errNotLeader. It may also win later than ctx ends.
func (n *Node) awaitSuccessor(ctx context.Context, t *leadTerm, told raft.ServerID) error {
	for ; ; n.leaders.pause(ctx, firstPause) {
		if id := n.leaders.current().id; id != "" && id != n.id.nodeID() {
			return nil
		}
		if now := n.term.Load(); now != nil && now != t {
			return errNotLeader
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%w: %s was told to lead, and is not known to", ErrOutcomeUnknown, told)
		}
	}
}

// successor returns the voter given by id or display name.
func (n *Node) successor(to string) (raft.Server, error) {
	s, err := n.find(n.servers(), to)
	switch {
	case err != nil:
		return raft.Server{}, err
	case string(s.ID) == n.id.nodeID():
		return raft.Server{}, fmt.Errorf("%w: that node leads already", ErrRefused)
	case s.Suffrage != raft.Voter:
		return raft.Server{}, fmt.Errorf("%w: that node is not a voter", ErrRefused)
	}
	return s, nil
}

func (n *Node) otherVoters() []raft.Server {
	return slices.DeleteFunc(n.voters(), func(s raft.Server) bool { return string(s.ID) == n.id.nodeID() })
}

// readyOf returns those of the servers that say that they are ready, which
// those that drain do not, and have nearly the whole log.
func (n *Node) readyOf(ctx context.Context, servers []raft.Server) []raft.Server {
	last := n.raft.LastIndex() // before answers, some of which may take their time
	told := n.askStatus(ctx, servers)
	return slices.DeleteFunc(slices.Clone(servers), func(s raft.Server) bool {
		a := told[string(s.ID)].NodeStatus
		return !a.GetReady() || a.GetLastIndex()+promoteLag < last
	})
}

// firstLevel waits until one of the servers has the whole log. The first are
// asked alone for a while.
func (n *Node) firstLevel(ctx context.Context, first, rest []raft.Server) (raft.Server, bool) {
	for alone := time.Now().Add(askTimeout); ctx.Err() == nil; sleep(ctx, firstPause) {
		candidates := first
		if len(first) == 0 || time.Now().After(alone) {
			candidates = slices.Concat(first, rest)
		}
		last := n.raft.LastIndex()
		for _, s := range candidates {
			if told := n.statusOf(ctx, s); told != nil && told.LastIndex >= last {
				return s, true
			}
		}
	}
	return raft.Server{}, false
}
