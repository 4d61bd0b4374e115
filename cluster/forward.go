package cluster

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stateraft/stateraft/cluster/clusterpb"
	"github.com/stateraft/stateraft/fsm"
	"github.com/stateraft/stateraft/fsm/fsmpb"
)

const (
	// attemptTimeout bounds the first attempt to hand something to a leader. A
	// leader that takes longer may be hung; the attempt is then repeated, which the
	// session makes harmless.
	attemptTimeout = 3 * time.Second

	// longestAttempt bounds the later ones, where nobody who waits has a deadline.
	longestAttempt = 8 * attemptTimeout
)

// longer returns the timeout of the attempt that follows one of uncertain outcome,
// which had that timeout and took so long. If the leader is slow and not hung, the
// copy waits in the log behind what it is a copy of: of attempts that are all as
// short, none would hear what they have done. An attempt that ended early, with a
// connection or a leader, says nothing about how slow the next leader is.
func longer(timeout, took time.Duration) time.Duration {
	if took < timeout {
		return timeout
	}
	return min(2*timeout, longestAttempt)
}

// deliver hands b to the leader, once, and returns the state machine's answer.
// Errors: errNotLeader, errNotSent, ErrOverloaded or ErrDiskFull, nothing was proposed; any
// other, it may have been.
func (n *Node) deliver(ctx context.Context, b *fsmpb.Batch, timeout time.Duration) (*fsmpb.BatchAnswer, error) {
	resp, err := n.submit(ctx, &clusterpb.Propose{Batch: b}, timeout)
	if err != nil {
		return nil, err
	}
	return resp.Answer, nil
}

// openSession opens a session for this node, however long that takes.
func (n *Node) openSession(ctx context.Context) (uint64, error) {
	o := &fsmpb.OpenSession{BootId: make([]byte, 16), Node: n.describe()}
	_, _ = rand.Read(o.BootId) // never fails
	for timeout := attemptTimeout; ; {
		begun := time.Now()
		resp, err := n.submit(ctx, &clusterpb.Propose{OpenSession: o}, timeout)
		switch {
		case err == nil:
			return resp.Session, nil
		case !isCertain(err):
			timeout = longer(timeout, time.Since(begun))
		}
		if sleep(ctx, maxPause); ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
	}
}

// describe is what this node tells the others of itself.
func (n *Node) describe() *fsmpb.Node {
	return &fsmpb.Node{
		Id: n.id.nodeID(), Name: n.cfg.Name, Http: n.cfg.AdvertiseHTTP, Gossip: n.gossip.addr(),
		MinVersion: fsm.MinVersion, MaxVersion: n.cfg.Tuning.MaxVersion, Binary: n.cfg.Binary,
	}
}

// submit waits for a leader and makes one attempt to have p proposed by it, of
// that timeout. It ends early when this node learns of another leader.
func (n *Node) submit(ctx context.Context, p *clusterpb.Propose, timeout time.Duration) (*clusterpb.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	to, err := n.leaders.wait(ctx)
	if err != nil {
		return nil, errNotLeader
	}
	defer context.AfterFunc(to.ctx, cancel)()
	if to.id == n.id.nodeID() {
		return n.commit(ctx, p)
	}
	resp, err := n.call(ctx, to.at(), &clusterpb.Request{Propose: p})
	if err != nil {
		return nil, err
	}
	return resp, errorOf(resp)
}

// commit proposes p as the leader.
func (n *Node) commit(ctx context.Context, p *clusterpb.Propose) (*clusterpb.Response, error) {
	e := &fsmpb.Entry{OpenSession: p.OpenSession, Restore: p.Restore}
	if p.Batch != nil {
		e.Batches = []*fsmpb.Batch{p.Batch}
		if n.diskFull() && slices.ContainsFunc(p.Batch.Commands, grows) {
			return nil, ErrDiskFull
		}
	}
	if err := n.admitRestore(p.Restore); err != nil {
		return nil, err
	}
	res, err := n.committer.commit(ctx, e)
	if err != nil {
		return nil, err
	}
	resp := &clusterpb.Response{Session: res.Session, Restore: res.Restore}
	if p.Batch != nil {
		resp.Answer = res.Batches[res.batch]
	}
	return resp, nil
}

// errorOf turns a response's code into the error that the answering node had.
func errorOf(resp *clusterpb.Response) error {
	switch resp.Code {
	case clusterpb.Response_OK:
		return nil
	case clusterpb.Response_NOT_LEADER:
		return errNotLeader
	case clusterpb.Response_OVERLOADED:
		return ErrOverloaded
	case clusterpb.Response_DISK_FULL:
		return ErrDiskFull
	case clusterpb.Response_REFUSED:
		return fmt.Errorf("%w: %s", ErrRefused, resp.Message)
	case clusterpb.Response_NOT_FOUND:
		return fmt.Errorf("%w: %s", ErrNotFound, resp.Message)
	default:
		return fmt.Errorf("%w: %s", ErrOutcomeUnknown, resp.Message)
	}
}

// responseOf is the inverse of errorOf.
func responseOf(err error) *clusterpb.Response {
	for _, c := range []struct {
		err  error
		code clusterpb.Response_Code
	}{
		{errNotLeader, clusterpb.Response_NOT_LEADER},
		{errOutdated, clusterpb.Response_NOT_LEADER}, // as little has happened, and it may be asked again
		{ErrOverloaded, clusterpb.Response_OVERLOADED},
		{ErrDiskFull, clusterpb.Response_DISK_FULL},
		{ErrRefused, clusterpb.Response_REFUSED},
		{ErrNotFound, clusterpb.Response_NOT_FOUND},
	} {
		if errors.Is(err, c.err) {
			return &clusterpb.Response{Code: c.code, Message: strings.TrimPrefix(err.Error(), c.err.Error()+": ")}
		}
	}
	return &clusterpb.Response{Code: clusterpb.Response_UNKNOWN, Message: err.Error()}
}
