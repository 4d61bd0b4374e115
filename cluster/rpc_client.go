package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/stateraft/stateraft/cluster/clusterpb"
)

// errIntroduced ends connections on which this node said that it belongs to
// no cluster, once it does.
var errIntroduced = errors.New("this node has joined a cluster since it connected")

// call asks the node at addr and waits for its answer, until ctx ends. The
// node is told how long that is. Concurrent calls share one connection per
// address, which is dialled when there is none. An error wraps errNotSent or
// errBroken. req is only read: it may be sent to several nodes.
func (t *transport) call(ctx context.Context, addr string, req *clusterpb.Request) (*clusterpb.Response, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", errNotSent, err)
	}
	c, err := t.callerTo(ctx, addr)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNotSent, err)
	}
	return c.call(ctx, req)
}

// dialling is a connection that callers of one address wait for, or have.
type dialling struct {
	ready  chan struct{} // closed when the fields below are set
	caller *caller
	err    error
}

// callerTo returns the connection to addr. Dialling goes on for others when
// ctx ends; each failure is told to all who waited for it, and the next call
// dials again.
func (t *transport) callerTo(ctx context.Context, addr string) (*caller, error) {
	d, err := t.diallingTo(addr)
	if err != nil {
		return nil, err
	}
	select {
	case <-d.ready:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if d.err == nil && d.caller.introduce() {
		t.forgetCaller(addr, d)
		return t.callerTo(ctx, addr)
	}
	return d.caller, d.err
}

func (t *transport) diallingTo(addr string) (*dialling, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, errTransportClosed
	}
	d, found := t.callers[addr]
	if !found {
		d = &dialling{ready: make(chan struct{})}
		t.callers[addr] = d
		t.wg.Go(func() { t.runCaller(addr, d) })
	}
	return d, nil
}

func (t *transport) forgetCaller(addr string, d *dialling) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.callers[addr] == d {
		delete(t.callers, addr)
	}
}

// runCaller dials and then serves the connection until it ends.
func (t *transport) runCaller(addr string, d *dialling) {
	ours := t.hello()
	ctx, cancel := context.WithTimeout(t.ctx, handshakeTimeout)
	defer cancel()
	l, err := t.connect(ctx, nodeCalls, addr, ours)
	if err != nil {
		d.err = err
		t.forgetCaller(addr, d)
		close(d.ready)
		return
	}
	c := &caller{
		frameConn:  newFrameConn(l),
		introduced: len(ours.ClusterId) > 0,
		waiting:    make(map[uint64]chan *clusterpb.Response),
	}
	d.caller = c
	close(d.ready)
	t.wg.Go(c.writeLoop)
	c.readLoop()
	t.forgetCaller(addr, d)
	if t.config.onDisconnect != nil && t.ctx.Err() == nil && c.err != errIntroduced {
		t.config.onDisconnect(addr)
	}
}

// caller is the end of a connection for node calls that asks.
type caller struct {
	*frameConn
	introduced bool // with a cluster id, which stays what it is

	mu      sync.Mutex // guards the fields below
	lastID  uint64
	waiting map[uint64]chan *clusterpb.Response // by request id
}

// introduce ends a connection on which this node is known to the peer as one
// without a cluster, if it has joined one since. It reports whether it did.
func (c *caller) introduce() bool {
	if c.introduced || len(c.link.transport.hello().ClusterId) == 0 {
		return false
	}
	c.end(errIntroduced)
	return true
}

func (c *caller) call(ctx context.Context, req *clusterpb.Request) (*clusterpb.Response, error) {
	id, answer := c.expect()
	defer c.forget(id)
	block, err := encodeRequest(id, req, timeLeft(ctx))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNotSent, err)
	}
	f := &outFrame{block: block}
	if err := c.send(ctx, f); err != nil {
		return nil, fmt.Errorf("%w: %w", errNotSent, err)
	}
	select {
	case resp := <-answer:
		return resp, nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-c.done:
		err = c.err
	}
	if f.take() {
		return nil, fmt.Errorf("%w: %w", errNotSent, err)
	}
	select {
	case resp := <-answer: // came just before the end
		return resp, nil
	default:
		return nil, fmt.Errorf("%w: %w", errBroken, err)
	}
}

// expect registers a call and returns its id and where its answer will come.
func (c *caller) expect() (uint64, chan *clusterpb.Response) {
	answer := make(chan *clusterpb.Response, 1)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lastID++
	c.waiting[c.lastID] = answer
	return c.lastID, answer
}

func (c *caller) forget(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, id)
}

// readLoop hands answers to those who wait. One that nobody waits for any
// more is dropped.
func (c *caller) readLoop() {
	for {
		f, err := c.read()
		if err == nil && f.Response == nil {
			err = errors.New("frame without a response")
		}
		if err != nil {
			c.end(endCause(err))
			return
		}
		c.mu.Lock()
		answer := c.waiting[f.Id]
		delete(c.waiting, f.Id)
		c.mu.Unlock()
		if answer != nil {
			answer <- f.Response
		}
	}
}

// timeLeft is what is left until ctx's deadline in whole microseconds, at
// least 1; without a deadline 0.
func timeLeft(ctx context.Context) int64 {
	deadline, ok := ctx.Deadline()
	if !ok {
		return 0
	}
	return max(time.Until(deadline).Microseconds(), 1)
}

// Field numbers of clusterpb.Frame and clusterpb.Request.
const (
	frameID        protowire.Number = 1
	frameRequest   protowire.Number = 2
	requestTimeout protowire.Number = 1
)

// encodeRequest encodes Frame{Id: id, Request: req} with req's timeout
// replaced, without writing to req: others may be sending it too. (Of a field
// that comes twice, protobuf takes the last.)
func encodeRequest(id uint64, req *clusterpb.Request, timeout int64) ([]byte, error) {
	size := proto.Size(req)
	tail := protowire.AppendTag(nil, requestTimeout, protowire.VarintType)
	tail = protowire.AppendVarint(tail, uint64(timeout))
	const prefix = blockHeader + 2*(1+10) // two tags, two varints
	b := make([]byte, blockHeader, prefix+size+len(tail))
	b = protowire.AppendTag(b, frameID, protowire.VarintType)
	b = protowire.AppendVarint(b, id)
	b = protowire.AppendTag(b, frameRequest, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(size+len(tail)))
	b, err := proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(b, req)
	if err != nil {
		return nil, err
	}
	return sealBlock(append(b, tail...), 0, maxFrame)
}
