package node

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	// relayQueue and relayChunk bound what one direction of a connection holds
	// back, to 4 MiB: beyond that the sender has to wait.
	relayQueue = 1024
	relayChunk = 4 << 10

	relayConns       = 512 // at a time; more are closed at once
	relayDialTimeout = 3 * time.Second
)

// Relay carries the connections between the nodes' Raft ports, where the kernel
// cannot delay packets. It tells whose bytes it carries, so each way between two
// nodes can be slow, or stand still, whoever of the two has dialled.
//
// For each node it listens in that node's stead, at an address that the node
// tells the others, and it speaks to the others from there.
type Relay struct {
	ends  []relayEnd
	links map[way]*link // all ways, from the start

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	room   chan struct{} // a token for each connection
}

// relayEnd is one node as the relay knows it.
type relayEnd struct {
	node netip.AddrPort // where it listens
	host netip.Addr     // where the relay listens in its stead, at the same port
}

// way is that of bytes from one node to another, by their indexes.
type way struct{ from, to int }

// Delay is how long bytes are under way: at random between the two.
type Delay struct{ Least, Most time.Duration }

func (d Delay) draw() time.Duration {
	if d.Most <= d.Least {
		return d.Least
	}
	return d.Least + rand.N(d.Most-d.Least)
}

func (d Delay) String() string {
	if d.Most <= d.Least {
		return d.Least.String()
	}
	return fmt.Sprintf("%v to %v", d.Least, d.Most)
}

// startRelay listens for all nodes. close must be called, also after an error.
func startRelay(ends []relayEnd) (*Relay, error) {
	r := &Relay{ends: ends, links: map[way]*link{}, room: make(chan struct{}, relayConns)}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	for from := range ends {
		for to := range ends {
			r.links[way{from, to}] = newLink()
		}
	}
	for to, end := range ends {
		l, err := net.Listen("tcp", netip.AddrPortFrom(end.host, end.node.Port()).String())
		if err != nil {
			return r, fmt.Errorf("relay: %w", err)
		}
		context.AfterFunc(r.ctx, func() { l.Close() })
		r.wg.Go(func() { r.accept(l, to) })
	}
	return r, nil
}

// close ends all connections.
func (r *Relay) close() {
	r.cancel()
	r.wg.Wait()
}

// Delay makes a way slow; the zero Delay makes it fast again. Bytes keep their
// order, so what follows slow ones is not sooner there than they.
func (r *Relay) Delay(from, to int, d Delay) { r.links[way{from, to}].slow(d) }

// Clog stops a way: nothing is taken in, and nothing let out.
func (r *Relay) Clog(from, to int) { r.links[way{from, to}].clog() }

// Unclog lets a way flow.
func (r *Relay) Unclog(from, to int) { r.links[way{from, to}].unclog() }

// Heal makes all ways flow, fast.
func (r *Relay) Heal() {
	for _, l := range r.links {
		l.slow(Delay{})
		l.unclog()
	}
}

func (r *Relay) accept(l net.Listener, to int) {
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			sleepUntil(r.ctx, time.Now().Add(10*time.Millisecond))
			continue
		}
		select {
		case r.room <- struct{}{}:
			r.wg.Go(func() {
				defer func() { <-r.room }()
				r.serve(conn.(*net.TCPConn), to)
			})
		default:
			conn.Close()
		}
	}
}

// serve carries one connection that a node made to another. If the other
// cannot be reached it is reset: the relay, unlike a node's host, has accepted
// it already.
func (r *Relay) serve(caller *net.TCPConn, to int) {
	defer caller.Close()
	from, err := r.indexOf(caller)
	if err != nil {
		return
	}
	called, err := r.dial(from, to)
	if err != nil {
		caller.SetLinger(0)
		return
	}
	defer called.Close()
	defer context.AfterFunc(r.ctx, func() { caller.Close(); called.Close() })()
	var both sync.WaitGroup
	both.Go(func() { r.links[way{from, to}].carry(r.ctx, called, caller) })
	both.Go(func() { r.links[way{to, from}].carry(r.ctx, caller, called) })
	both.Wait()
}

func (r *Relay) indexOf(caller *net.TCPConn) (int, error) {
	addr := caller.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
	for i, end := range r.ends {
		if end.node.Addr() == addr {
			return i, nil
		}
	}
	return 0, fmt.Errorf("relay: %s is no node", addr)
}

// dial connects to a node as another: the firewalls tell nodes by addresses.
func (r *Relay) dial(from, to int) (*net.TCPConn, error) {
	ctx, cancel := context.WithTimeout(r.ctx, relayDialTimeout)
	defer cancel()
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(r.ends[from].host, 0))}
	conn, err := d.DialContext(ctx, "tcp", r.ends[to].node.String())
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), nil
}

// link is one way, over any number of connections.
type link struct {
	mu    sync.Mutex
	delay Delay
	flow  chan struct{} // closed: bytes may pass
}

func newLink() *link {
	l := &link{flow: make(chan struct{})}
	close(l.flow)
	return l
}

func (l *link) slow(d Delay) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.delay = d
}

func (l *link) clog() {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.flow:
		l.flow = make(chan struct{})
	default:
	}
}

func (l *link) unclog() {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.flow:
	default:
		close(l.flow)
	}
}

func (l *link) state() (Delay, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.delay, l.flow
}

// pass returns when bytes may pass; false: ctx has ended.
func (l *link) pass(ctx context.Context) bool {
	_, flow := l.state()
	select {
	case <-flow:
		return true
	case <-ctx.Done():
		return false
	}
}

// chunk is bytes under way.
type chunk struct {
	bytes []byte
	due   time.Time
}

// carry brings what src says to dst, until src has said all, dst is gone, or
// ctx ends.
func (l *link) carry(ctx context.Context, dst, src *net.TCPConn) {
	queue := make(chan chunk, relayQueue)
	var reading sync.WaitGroup
	reading.Go(func() {
		defer close(queue)
		l.take(ctx, src, queue)
	})
	for c := range queue {
		if !sleepUntil(ctx, c.due) || !l.pass(ctx) {
			break
		}
		if _, err := dst.Write(c.bytes); err != nil {
			src.Close() // nobody hears it any more
			break
		}
	}
	for range queue { // what is left; then the reader has ended
	}
	reading.Wait()
	dst.CloseWrite()
}

// take reads while bytes may pass and there is room in the queue.
func (l *link) take(ctx context.Context, src *net.TCPConn, queue chan<- chunk) {
	var last time.Time
	for l.pass(ctx) {
		buf := make([]byte, relayChunk)
		n, err := src.Read(buf)
		if n > 0 {
			delay, _ := l.state()
			if due := time.Now().Add(delay.draw()); due.After(last) {
				last = due
			}
			queue <- chunk{buf[:n], last}
		}
		if err != nil {
			return
		}
	}
}

// sleepUntil reports whether the moment came before ctx ended.
func sleepUntil(ctx context.Context, t time.Time) bool {
	d := time.Until(t)
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
