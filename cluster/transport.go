package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/stateraft/stateraft/cluster/clusterpb"
)

const (
	writeTimeout   = 5 * time.Second  // of a node call's bytes, without progress
	silenceTimeout = 10 * time.Second // of any connection; a follower may write a snapshot to a slow disk meanwhile
	maxInbound     = 1024             // connections; more are closed at once
)

// keepAlive finds a host that vanished while nothing was being sent to it.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 3 * time.Second, Interval: time.Second, Count: 3}

var errTransportClosed = errors.New("transport is closed")

type transportConfig struct {
	listenAddr string      // host:port; port 0: any free one
	advertise  string      // host:port told to others; empty: the listener's
	tls        *tls.Config // for both directions; nil: plain TCP
	logger     *slog.Logger

	// hello returns what this node says of itself: cluster id (empty: none
	// yet) and node id. It is asked anew for each connection.
	hello func() *clusterpb.Hello

	// handle answers a node call. A peer that belongs to no cluster may call
	// too: handle restricts what it may ask. ctx ends with the caller's
	// deadline, the connection or the transport.
	handle func(ctx context.Context, p peer, req *clusterpb.Request) *clusterpb.Response

	// onDisconnect, if set, is told that an established connection for node
	// calls that this node had dialled has ended. It must not block.
	onDisconnect func(addr string)

	// onInstalled, if set, is told that raft took a snapshot that ends with
	// that entry, before the leader hears of it.
	onInstalled func(index, term uint64)
	// onStamped is told of the last entry with a stamp in every request of a
	// leader's that has one, before raft takes it.
	onStamped func(index, term uint64)

	// dial, if set, replaces the TCP dialler, and accept filters by node id:
	// tests cut links with them. beforeReplicate, if set, runs ahead of every
	// AppendEntries that is no heartbeat, in its place.
	dial            func(ctx context.Context, network, addr string) (net.Conn, error)
	accept          func(nodeID string) bool
	beforeReplicate func(nodeID string) error
}

// peer is who called.
type peer struct {
	nodeID    string
	clusterID []byte // empty: it belonged to none when it connected
}

// transport is the one port on which nodes talk: Raft's streams and node
// calls, which the first byte of a connection tells apart.
type transport struct {
	config   transportConfig
	listener net.Listener
	own      string // advertised address
	raft     *raftTransport

	ctx    context.Context // ends with close
	cancel context.CancelFunc
	wg     sync.WaitGroup // every goroutine of ours

	mu      sync.Mutex // guards the fields below
	closed  bool
	inbound int
	links   map[*link]struct{}
	callers map[string]*dialling // by address

	refusals quietLog
}

// newTransport listens at once. The transport works until close.
func newTransport(c transportConfig) (*transport, error) {
	ctx, cancel := context.WithCancel(context.Background())
	lc := net.ListenConfig{KeepAliveConfig: keepAlive, Control: controlSocket}
	ln, err := lc.Listen(ctx, "tcp", c.listenAddr)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("raft address: %w", err)
	}
	own, err := advertisedAddr(c.advertise, ln.Addr())
	if err != nil {
		cancel()
		ln.Close()
		return nil, fmt.Errorf("raft address: %w", err)
	}
	if c.dial == nil {
		c.dial = (&net.Dialer{KeepAliveConfig: keepAlive, Control: controlSocket}).DialContext
	}
	t := &transport{
		config: c, listener: ln, own: own, ctx: ctx, cancel: cancel,
		links: make(map[*link]struct{}), callers: make(map[string]*dialling),
	}
	t.raft = newRaftTransport(t)
	t.wg.Go(t.acceptLoop)
	return t, nil
}

// advertisedAddr is the address that other nodes are told.
func advertisedAddr(advertise string, listen net.Addr) (string, error) {
	if advertise == "" {
		if ip := listen.(*net.TCPAddr).IP; ip.IsUnspecified() {
			return "", fmt.Errorf("%s cannot be told to other nodes: an address to advertise is needed", listen)
		}
		return listen.String(), nil
	}
	host, port, err := net.SplitHostPort(advertise)
	if err != nil {
		return "", fmt.Errorf("advertised address: %w", err)
	}
	if host == "" || port == "" || port == "0" {
		return "", fmt.Errorf("advertised address %s: host and port must be given", advertise)
	}
	return advertise, nil
}

// addr is the address listened on.
func (t *transport) addr() string { return t.listener.Addr().String() }

// advertised is the address that others reach this node at.
func (t *transport) advertised() string { return t.own }

// close ends all connections and calls and waits for every goroutine of the
// transport, handlers included. It is idempotent.
func (t *transport) close() error {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.raft.Close()
	t.cancel()
	err := t.listener.Close()
	t.closeLinks(func(*link) bool { return true })
	t.wg.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// isCalledBy reports whether a connection that a node opened to this one is
// there.
func (t *transport) isCalledBy(nodeID string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for l := range t.links {
		if l.dialled == "" && l.nodeID == nodeID {
			return true
		}
	}
	return false
}

// sever ends the connections to and from a peer, given as node id or as the
// address that was dialled. New ones may be opened at once.
func (t *transport) sever(peer string) {
	t.closeLinks(func(l *link) bool { return l.nodeID == peer || l.dialled == peer })
}

// severRaft is sever for raft's connections alone; node calls go on.
func (t *transport) severRaft(nodeID string) {
	t.closeLinks(func(l *link) bool { return l.kind == raftStream && l.nodeID == nodeID })
}

func (t *transport) closeLinks(match func(*link) bool) {
	var found []*link
	t.mu.Lock()
	for l := range t.links {
		if match(l) {
			found = append(found, l)
		}
	}
	t.mu.Unlock()
	for _, l := range found {
		l.Close()
	}
}

// link is a connection that the transport knows of and can end.
type link struct {
	net.Conn
	raw       net.Conn // below TLS
	transport *transport
	dialled   string // address; empty: the peer dialled

	// Set once, when the peer has said hello; guarded by transport.mu.
	kind   byte
	nodeID string
}

// track takes a connection into the books. It closes one that comes too late
// or is one too many.
func (t *transport) track(conn net.Conn, dialled string) (*link, error) {
	l := &link{Conn: conn, raw: conn, transport: t, dialled: dialled}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.closed:
		conn.Close()
		return nil, errTransportClosed
	case dialled == "" && t.inbound >= maxInbound:
		conn.Close()
		return nil, fmt.Errorf("more than %d connections", maxInbound)
	}
	if dialled == "" {
		t.inbound++
	}
	t.links[l] = struct{}{}
	return l, nil
}

// Close ends the connection at once: a goodbye of TLS could wait for a peer
// that does not read.
func (l *link) Close() error {
	t := l.transport
	t.mu.Lock()
	if _, known := t.links[l]; known {
		delete(t.links, l)
		if l.dialled == "" {
			t.inbound--
		}
	}
	t.mu.Unlock()
	return l.raw.Close()
}

// identify notes who is at the other end, once that is known.
func (l *link) identify(kind byte, nodeID string) {
	l.transport.mu.Lock()
	defer l.transport.mu.Unlock()
	l.kind, l.nodeID = kind, nodeID
}

func (t *transport) hello() *clusterpb.Hello {
	h := t.config.hello()
	return &clusterpb.Hello{Wire: wireVersion, ClusterId: h.ClusterId, NodeId: h.NodeId}
}

// connect dials an address, which may be one made by [at], and opens that
// conversation, introducing this node as ours. ctx has a deadline, for all of
// it.
func (t *transport) connect(ctx context.Context, kind byte, address string, ours *clusterpb.Hello) (*link, error) {
	nodeID, addr := splitAt(address)
	conn, err := t.config.dial(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	l, err := t.track(conn, addr)
	if err != nil {
		return nil, err
	}
	deadline, _ := ctx.Deadline()
	l.SetDeadline(deadline)
	if t.config.tls != nil {
		l.Conn = tls.Client(conn, clientTLS(t.config.tls, addr))
	}
	goOn := context.AfterFunc(ctx, func() { l.Close() })
	theirs, err := greet(l, kind, ours)
	if err == nil && nodeID != "" && theirs.NodeId != nodeID {
		err = fmt.Errorf("node %s is there, not %s", theirs.NodeId, nodeID)
	}
	if err == nil {
		l.identify(kind, theirs.NodeId) // ahead of goOn: who ends ctx and then looks for links misses none
	}
	if !goOn() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("connect to %s: %w", addr, err)
	}
	l.SetDeadline(time.Time{})
	return l, nil
}

// clientTLS expects the certificate to name the host that is dialled, unless
// the configuration says what it names.
func clientTLS(c *tls.Config, addr string) *tls.Config {
	if c.ServerName != "" {
		return c
	}
	c = c.Clone()
	c.ServerName, _, _ = net.SplitHostPort(addr)
	return c
}

func (t *transport) acceptLoop() {
	const longest = time.Second
	var pause time.Duration // grows while accepting fails, as without file descriptors
	for {
		conn, err := t.listener.Accept()
		if err == nil {
			pause = 0
			t.wg.Go(func() { t.serve(conn) })
			continue
		}
		if t.ctx.Err() != nil {
			return
		}
		t.config.logger.Warn("accepting connections failed", "err", err)
		pause = min(max(2*pause, 5*time.Millisecond), longest)
		select {
		case <-time.After(pause):
		case <-t.ctx.Done():
			return
		}
	}
}

// serve gives an accepted connection to whom its first byte asks for.
func (t *transport) serve(conn net.Conn) {
	remote := conn.RemoteAddr().String()
	l, err := t.track(conn, "")
	if err != nil {
		t.config.logger.Warn("connection closed", "remote", remote, "err", err)
		return
	}
	kind, theirs, err := t.receive(l)
	if err != nil {
		l.Close()
		t.tellRefused(remote, err)
		return
	}
	if kind == raftStream {
		t.raft.streams.offer(l)
		return
	}
	t.serveCalls(l, peer{nodeID: theirs.NodeId, clusterID: theirs.ClusterId})
}

func (t *transport) receive(l *link) (byte, *clusterpb.Hello, error) {
	l.SetDeadline(time.Now().Add(handshakeTimeout))
	if t.config.tls != nil {
		l.Conn = tls.Server(l.raw, t.config.tls)
	}
	ours := t.hello()
	kind, theirs, err := welcome(l, ours, func(kind byte, theirs *clusterpb.Hello) string {
		l.identify(kind, theirs.NodeId) // first, so that sever misses nobody who was let in
		if t.config.accept != nil && !t.config.accept(theirs.NodeId) {
			return "not accepted"
		}
		return refusal(kind, ours, theirs)
	})
	if err != nil {
		return 0, nil, err
	}
	l.SetDeadline(time.Time{})
	return kind, theirs, nil
}
