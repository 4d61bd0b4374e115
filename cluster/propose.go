package cluster

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/stateraft/stateraft/fsm"
	"github.com/stateraft/stateraft/fsm/fsmpb"
)

// Limits of one node's way into the log.
const (
	maxBatchCommands  = 512
	maxBatchBytes     = 1 << 20
	maxBatchesAtOnce  = 2                      // sent and not yet answered
	maxCommandBytes   = 10 << 20               // fits a frame of a node call with room to spare
	maxWaiting        = 8192                   // commands that wait for a batch
	maxWaitingBytes   = 8 << 20                // one command may be larger, alone
	maxWait           = 250 * time.Millisecond // expected, until a command leaves; nothing is expected of what fits the next batch
	reservedForDelete = 2                      // deletes are admitted up to so many times the limits, whatever is expected
)

// A proposer takes this node's writes to the leader, wherever that is, each
// exactly once. Commands that wait while earlier batches are unanswered leave
// together as one batch of the node's session. A batch never changes once it
// may have left, and is sent again, to whoever leads by then, until the state
// machine has answered it; so a leader's death costs the caller time and
// nothing else. Once nobody waits for it, it is not sent again: after a long
// partition it would undo what was written since, and its idempotency keys would
// be forgotten.
type proposer struct {
	deliver func(context.Context, *fsmpb.Batch, time.Duration) (*fsmpb.BatchAnswer, error) // one attempt, of that timeout; errNotLeader: nothing was proposed
	open    func(context.Context) (uint64, error)                                          // opens a session; blocks until it is
	pause   func(context.Context, time.Duration)                                           // ends early when another leader is known
	full    func() bool                                                                    // only what makes the state smaller is to be accepted
	stats   *metrics
	ctx     context.Context // ends when the node closes

	mu         sync.Mutex
	waiting    list.List // of *call, oldest first
	bytes      int       // of the waiting commands
	inFlight   map[uint64]*flight
	flightTime time.Duration // of late, from a batch's departure to its answers
	noRoom     time.Time     // until then, sets are refused: the leader has said so
	session    uint64        // 0: none; the next batch opens one
	sequence   uint64        // of the last batch
	opening    bool
	closed     bool // nothing is sent any more
	wg         sync.WaitGroup
}

// A call is one command with somebody who waits for its answer.
type call struct {
	ctx     context.Context // of who waits
	command *fsmpb.Command
	size    int
	queued  *list.Element // nil: it is part of a batch
	givenUp bool          // nobody waits any more
	done    chan answer   // receives once
}

type answer struct {
	answer *fsmpb.Answer
	err    error
}

// A flight is a batch on its way.
type flight struct {
	batch *fsmpb.Batch
	calls []*call
}

// propose returns the state machine's answer to cmd. Errors as [Node.Propose].
func (p *proposer) propose(ctx context.Context, cmd *fsmpb.Command) (*fsmpb.Answer, error) {
	if err := fsm.Check(cmd); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	c := &call{ctx: ctx, command: cmd, size: proto.Size(cmd), done: make(chan answer, 1)}
	if err := p.enqueue(c); err != nil {
		return nil, err
	}
	select {
	case a := <-c.done:
		return a.answer, a.err
	case <-ctx.Done():
		return p.giveUp(c)
	}
}

// admits returns nil if a command of this size that grows the state would be
// admitted at the moment.
func (p *proposer) admits(size int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.roomLocked(size, true)
}

func (p *proposer) enqueue(c *call) error {
	grows := grows(c.command)
	switch {
	case c.size > maxCommandBytes:
		return ErrTooLarge
	case grows && p.full():
		return ErrDiskFull
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return ErrClosed
	case grows && time.Now().Before(p.noRoom):
		return ErrDiskFull
	}
	if err := p.roomLocked(c.size, grows); err != nil {
		return err
	}
	c.queued = p.waiting.PushBack(c)
	p.bytes += c.size
	p.sendLocked()
	return nil
}

// roomLocked returns nil if a command of this size may wait with the others.
func (p *proposer) roomLocked(size int, grows bool) error {
	limit := 1
	if !grows {
		limit = reservedForDelete
	}
	switch {
	case p.waiting.Len() >= limit*maxWaiting,
		p.bytes > 0 && p.bytes+size > limit*maxWaitingBytes,
		grows && p.waitLocked() > maxWait:
		return ErrOverloaded
	}
	return nil
}

// waitLocked estimates how long a command waits that joins the queue: while the
// full batches ahead of it leave, as fast as batches were answered of late. A
// command that is refused at once can be sent to another node, or later; one
// that is admitted into a queue of seconds only costs everybody memory.
func (p *proposer) waitLocked() time.Duration {
	batches := max(p.waiting.Len()/maxBatchCommands, p.bytes/maxBatchBytes)
	return time.Duration(batches) * p.flightTime / maxBatchesAtOnce
}

// timed takes note of how long the attempt took that settled a batch. Attempts
// before it, during an election, say nothing about how fast batches leave.
func (p *proposer) timed(d time.Duration) {
	const share = 8 // of one flight in the average
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flightTime += (d - p.flightTime) / share
}

// grows reports whether c may make the state larger. What may not is admitted
// when others are refused.
func grows(c *fsmpb.Command) bool {
	return slices.ContainsFunc(c.Ops, func(op *fsmpb.Op) bool { return op.Kind == fsmpb.Op_SET })
}

// giveUp ends a call whose deadline has passed: what still waits did not
// happen, what is under way nobody knows.
func (p *proposer) giveUp(c *call) (*fsmpb.Answer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.queued != nil {
		p.takeLocked(c)
		return nil, ErrNoLeader
	}
	select {
	case a := <-c.done:
		return a.answer, a.err
	default:
		c.givenUp = true
		return nil, ErrOutcomeUnknown
	}
}

func (p *proposer) takeLocked(c *call) {
	p.waiting.Remove(c.queued)
	p.bytes -= c.size
	c.queued = nil
}

// sendLocked sends as many batches as may be under way. p.mu is held.
func (p *proposer) sendLocked() {
	for p.waiting.Len() > 0 && len(p.inFlight) < maxBatchesAtOnce && p.inWindowLocked() && !p.closed {
		if p.session == 0 {
			p.openLocked()
			return
		}
		f := p.nextLocked()
		p.wg.Go(func() { p.fly(f) })
	}
}

// inWindowLocked reports whether the session has room for one more sequence.
func (p *proposer) inWindowLocked() bool {
	for seq := range p.inFlight {
		if p.sequence+1 >= seq+fsm.Window {
			return false
		}
	}
	return true
}

// prepare opens the session before the first write needs it, which also tells
// the cluster of this node.
func (p *proposer) prepare() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.session == 0 && !p.closed {
		p.openLocked()
	}
}

// openLocked opens a session in the background, unless that is going on.
func (p *proposer) openLocked() {
	if p.opening || len(p.inFlight) > 0 { // batches of the session before end first
		return
	}
	p.opening = true
	p.wg.Go(func() {
		number, err := p.open(p.ctx)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.opening = false
		if err == nil {
			p.session, p.sequence = number, 0
			p.sendLocked()
		}
	})
}

// nextLocked makes a batch of what waits and counts it as under way.
func (p *proposer) nextLocked() *flight {
	p.sequence++
	f := &flight{batch: &fsmpb.Batch{Session: p.session, Sequence: p.sequence, Low: p.sequence}}
	for seq := range p.inFlight {
		f.batch.Low = min(f.batch.Low, seq)
	}
	size := 0
	for p.waiting.Len() > 0 && len(f.calls) < maxBatchCommands {
		c := p.waiting.Front().Value.(*call)
		if size += c.size; size > maxBatchBytes && len(f.calls) > 0 {
			break
		}
		p.takeLocked(c)
		f.calls = append(f.calls, c)
		f.batch.Commands = append(f.batch.Commands, c.command)
	}
	p.inFlight[p.sequence] = f
	p.stats.batch(len(f.calls))
	return f
}

// Pauses between attempts to deliver a batch.
const (
	firstPause = 2 * time.Millisecond
	maxPause   = 50 * time.Millisecond
)

// fly delivers f until the state machine has settled it, or nobody waits for that.
func (p *proposer) fly(f *flight) {
	certain := true // no attempt so far can have had an effect
	timeout := attemptTimeout
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		left := time.Now()
		if f.isAbandoned(left) {
			p.abandon(f, certain)
			return
		}
		a, err := p.deliver(p.ctx, f.batch, min(timeout, max(f.patience(left), attemptTimeout)))
		switch {
		case err == nil && a.Refusal == fsmpb.BatchAnswer_NONE && len(a.Answers) == len(f.calls):
			p.timed(time.Since(left))
			p.settle(f, a.Answers)
			return
		case err == nil:
			p.refused(f, certain)
			return
		case p.ctx.Err() != nil:
			p.fail(f, ErrOutcomeUnknown)
			return
		case isCertain(err) && certain:
			p.putBack(p.withoutFull(f, err), pause)
			return
		case errors.Is(err, ErrDiskFull): // waiting for room, it would hold up the deletes that make some
			p.fail(f, ErrOutcomeUnknown)
			return
		case !isCertain(err):
			certain = false
			timeout = longer(timeout, time.Since(left))
		}
		p.pause(p.ctx, pause)
	}
}

// isAbandoned reports whether nobody waits for an answer at now any more. It goes
// by deadlines: those whose process was stopped have not noticed yet.
func (f *flight) isAbandoned(now time.Time) bool {
	return !slices.ContainsFunc(f.calls, func(c *call) bool {
		deadline, bounded := c.ctx.Deadline()
		return c.ctx.Err() == nil && !(bounded && now.After(deadline))
	})
}

// patience returns how long after now an answer is still of use to anybody.
func (f *flight) patience(now time.Time) (d time.Duration) {
	for _, c := range f.calls {
		deadline, bounded := c.ctx.Deadline()
		switch {
		case c.ctx.Err() != nil:
		case !bounded:
			return longestAttempt
		default:
			d = max(d, deadline.Sub(now))
		}
	}
	return d
}

// abandon ends a batch that nobody waits for.
func (p *proposer) abandon(f *flight, certain bool) {
	if certain {
		p.putBack(f, firstPause)
		return
	}
	p.fail(f, ErrOutcomeUnknown)
}

// isCertain reports whether err says that nothing was proposed.
func isCertain(err error) bool {
	return errors.Is(err, errNotLeader) || errors.Is(err, errNotSent) || errors.Is(err, ErrOverloaded) || errors.Is(err, ErrDiskFull)
}

// withoutFull tells those whose command the leader has no disk for, if err says
// so, and leaves the rest of f.
func (p *proposer) withoutFull(f *flight, err error) *flight {
	if errors.Is(err, ErrDiskFull) {
		p.mu.Lock()
		p.noRoom = time.Now().Add(diskInterval)
		p.mu.Unlock()
		f.calls = slices.DeleteFunc(f.calls, func(c *call) bool {
			if grows(c.command) {
				c.done <- answer{err: ErrDiskFull}
			}
			return grows(c.command)
		})
	}
	return f
}

// settle hands the answers out.
func (p *proposer) settle(f *flight, answers []*fsmpb.Answer) {
	p.land(f)
	for i, c := range f.calls {
		c.done <- answer{answer: answers[i]}
	}
}

// refused ends a batch whose session or sequence the state machine does not
// know: the session is over. If no earlier attempt can have had an effect, the
// commands did not happen and go into a batch of the next session.
func (p *proposer) refused(f *flight, certain bool) {
	p.mu.Lock()
	if p.session == f.batch.Session {
		p.session = 0
	}
	p.mu.Unlock()
	p.abandon(f, certain)
}

func (p *proposer) fail(f *flight, err error) {
	p.land(f)
	for _, c := range f.calls {
		c.done <- answer{err: err}
	}
}

// putBack dissolves a batch that never left: its calls wait again, in front,
// and can be given up with a certain outcome.
func (p *proposer) putBack(f *flight, pause time.Duration) {
	p.mu.Lock()
	for i := len(f.calls) - 1; i >= 0; i-- {
		if c := f.calls[i]; !c.givenUp {
			c.queued = p.waiting.PushFront(c)
			p.bytes += c.size
		}
	}
	p.mu.Unlock()
	p.pause(p.ctx, pause) // before the next batch may leave
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sequence == f.batch.Sequence && p.session == f.batch.Session {
		p.sequence-- // not during the pause, while f still holds its place among those under way
	}
	p.landLocked(f)
}

// land counts f as no longer under way and sends what waits.
func (p *proposer) land(f *flight) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.landLocked(f)
}

func (p *proposer) landLocked(f *flight) {
	delete(p.inFlight, f.batch.Sequence)
	p.sendLocked()
}

// depth returns how many commands wait and how many batches are under way.
func (p *proposer) depth() (waiting, inFlight int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.waiting.Len(), len(p.inFlight)
}

// close ends what waits. The proposer's ctx has ended.
func (p *proposer) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.wg.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.waiting.Len() > 0 {
		c := p.waiting.Front().Value.(*call)
		p.takeLocked(c)
		c.done <- answer{err: ErrClosed}
	}
}

// sleep waits for d or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
