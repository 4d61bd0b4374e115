package cluster

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

const (
	raftPool    = 3               // idle connections kept per peer: entries, heartbeats, commit notices
	raftTimeout = 5 * time.Second // of one RPC; a snapshot's is longer, by its size

	// maxAppendBytes bounds one request's entries, of which raft counts 64 whatever
	// their size: what takes raftTimeout to arrive, or to be written, never ends.
	maxAppendBytes = 4 << 20
)

var errDeposed = errors.New("this node no longer leads that term")

// raftTransport is raft's own network transport over our connections. It
// watches what raft sends and is answered: to tell followers of commits at once
// (notice.go), and to find those that get nowhere (followerwatch.go).
type raftTransport struct {
	*raft.NetworkTransport
	streams *raftStreams
	notices *commitNotices
	gate    *rpcGate
	gossip  atomic.Pointer[gossip] // shows where members are; nil at first, for gossip begins after raft

	heartbeats heartbeatGuard
}

// raftTransport is to be given to raft.NewRaft.
func (t *transport) raftTransport() *raftTransport { return t.raft }

func newRaftTransport(t *transport) *raftTransport {
	streams := &raftStreams{transport: t, incoming: make(chan net.Conn)}
	streams.ctx, streams.cancel = context.WithCancel(t.ctx)
	r := &raftTransport{streams: streams}
	r.NetworkTransport = raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream:  streams,
		Logger:  newRaftLogger(t.config.logger),
		MaxPool: raftPool,
		// With two, a failed append can starve a follower for good (raft#612).
		// So AppendEntries carries every entry and there is no pipeline.
		MaxRPCsInFlight: 1,
		Timeout:         raftTimeout,
		// Nodes of all versions must agree on this: it never changes.
		MsgpackUseNewTimeFormat: true,
	})
	r.notices = newCommitNotices(r.NetworkTransport.AppendEntries)
	r.gate = newRPCGate(r.NetworkTransport.Consumer(), t.severRaft, t.config.logger)
	r.gate.onInstalled, r.gate.onStamped = t.config.onInstalled, t.config.onStamped
	return r
}

// serve hands raft, which has this transport, what others send. Until then
// they wait.
func (r *raftTransport) serve(to standing, log extent) {
	r.streams.transport.wg.Go(func() { r.gate.run(r.streams.ctx, to, log) })
}

// Consumer implements raft.Transport: what others send, and campaign.
func (r *raftTransport) Consumer() <-chan raft.RPC { return r.gate.out }

// campaign makes this node's raft stand for election at once, as the library's
// transfer makes another's. It checks nothing.
func (r *raftTransport) campaign(ctx context.Context) {
	_ = r.gate.hand(ctx, raft.RPC{
		Command:  &raft.TimeoutNowRequest{RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax}},
		RespChan: make(chan raft.RPCResponse, 1),
	})
}

// AppendEntries implements raft.Transport.
func (r *raftTransport) AppendEntries(id raft.ServerID, target raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	if !isHeartbeat(req) && !r.heartbeats.isIn(req.Term) {
		// Raft ends this goroutine in a moment. The next leader may have written into
		// the log already, between what was read of it for req.
		return errDeposed
	}
	req.Entries = firstBytes(req.Entries, maxAppendBytes) // raft goes on behind what req has afterwards
	target = r.locate(id, target)
	r.notices.sending(id, target, req)
	err := r.appendEntries(id, target, req, resp)
	r.notices.sent(id, req, err == nil && resp.Success)
	return err
}

// firstBytes returns as many entries as fit, one at least.
func firstBytes(entries []*raft.Log, most int) []*raft.Log {
	size := 0
	for i, l := range entries {
		if size += len(l.Data) + len(l.Extensions); size > most && i > 0 {
			return entries[:i]
		}
	}
	return entries
}

func (r *raftTransport) appendEntries(id raft.ServerID, target raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	if before := r.streams.transport.config.beforeReplicate; before != nil && !isHeartbeat(req) {
		if err := before(string(id)); err != nil {
			return err
		}
	}
	return onLiveConn(func() error { return r.NetworkTransport.AppendEntries(id, target, req, resp) })
}

// InstallSnapshot implements raft.Transport.
func (r *raftTransport) InstallSnapshot(id raft.ServerID, target raft.ServerAddress, req *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	r.notices.installing(id, req.Term)
	err := r.NetworkTransport.InstallSnapshot(id, r.locate(id, target), req, resp, data)
	r.notices.installed(id, req, err == nil && resp.Success)
	return err
}

// TimeoutNow implements raft.Transport.
func (r *raftTransport) TimeoutNow(id raft.ServerID, target raft.ServerAddress, req *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	return r.NetworkTransport.TimeoutNow(id, r.locate(id, target), req, resp)
}

// Close implements raft.WithClose. Node calls go on.
func (r *raftTransport) Close() error {
	err := r.NetworkTransport.Close()
	r.notices.close()
	return err
}

// raftStreams implements raft.StreamLayer.
type raftStreams struct {
	transport *transport
	incoming  chan net.Conn
	ctx       context.Context // ends with Close
	cancel    context.CancelFunc
}

// offer hands a connection over to raft.
func (s *raftStreams) offer(l *link) {
	select {
	case s.incoming <- l:
	case <-s.ctx.Done():
		l.Close()
	}
}

func (s *raftStreams) Accept() (net.Conn, error) {
	select {
	case conn := <-s.incoming:
		return conn, nil
	case <-s.ctx.Done():
		return nil, net.ErrClosed
	}
}

func (s *raftStreams) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(s.ctx, timeout)
	defer cancel()
	l, err := s.transport.connect(ctx, raftStream, string(address), s.transport.hello())
	if err != nil {
		return nil, err // and not l, which would be a net.Conn that is not nil
	}
	return l, nil
}

// Close ends raft's connections, which raft's transport leaves open.
func (s *raftStreams) Close() error {
	s.cancel()
	s.transport.closeLinks(func(l *link) bool { return l.kind == raftStream })
	return nil
}

// Addr is the address that raft tells others.
func (s *raftStreams) Addr() net.Addr { return advertisedTCP(s.transport.own) }

type advertisedTCP string

func (advertisedTCP) Network() string  { return "tcp" }
func (a advertisedTCP) String() string { return string(a) }
