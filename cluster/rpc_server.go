package cluster

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/stateraft/stateraft/cluster/clusterpb"
)

// maxInFlight bounds the calls of one connection that are being handled.
// Beyond it the connection is not read, and the peer's calls wait there.
const maxInFlight = 1024

// serveCalls answers the calls that come over a connection until it ends, and
// returns when the last handler has.
func (t *transport) serveCalls(l *link, p peer) {
	ctx, cancel := context.WithCancel(t.ctx)
	defer cancel()
	s := &callServer{
		frameConn: newFrameConn(l),
		peer:      p,
		slots:     make(chan struct{}, maxInFlight),
		ctx:       ctx,
	}
	s.wg.Go(s.writeLoop)
	s.end(endCause(s.readLoop()))
	cancel()
	s.wg.Wait()
}

// callServer is the end of a connection for node calls that answers.
type callServer struct {
	*frameConn
	peer    peer
	settled bool          // peer is of this node's cluster; the reader's own
	slots   chan struct{} // one element for each call being handled
	ctx     context.Context
	wg      sync.WaitGroup
}

func (s *callServer) readLoop() error {
	for {
		f, err := s.read()
		if err != nil {
			return err
		}
		if f.Request == nil {
			return errors.New("frame without a request")
		}
		if why := s.refusal(); why != "" {
			return errors.New(why)
		}
		select {
		case s.slots <- struct{}{}:
		case <-s.done:
			return s.err
		}
		s.wg.Go(func() {
			defer func() { <-s.slots }()
			s.answer(f)
		})
	}
}

// refusal looks at the handshake's rule again, until both ends are known to be
// of one cluster: a node that belonged to none then may have joined one since.
func (s *callServer) refusal() string {
	if s.settled {
		return ""
	}
	ours := s.link.transport.hello()
	theirs := &clusterpb.Hello{Wire: wireVersion, ClusterId: s.peer.clusterID, NodeId: s.peer.nodeID}
	why := refusal(nodeCalls, ours, theirs)
	s.settled = why == "" && len(ours.ClusterId) > 0 && len(theirs.ClusterId) > 0
	return why
}

func (s *callServer) answer(f *clusterpb.Frame) {
	ctx := s.ctx
	if us := f.Request.Timeout; us > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(us)*time.Microsecond)
		defer cancel()
	}
	resp := s.link.transport.config.handle(ctx, s.peer, f.Request)
	block, err := encodeResponse(f.Id, resp)
	if err != nil {
		block, _ = encodeResponse(f.Id, &clusterpb.Response{Code: clusterpb.Response_INTERNAL, Message: err.Error()})
	}
	s.send(s.ctx, &outFrame{block: block}) // fails only when nobody is there to be told
}

func encodeResponse(id uint64, resp *clusterpb.Response) ([]byte, error) {
	if resp == nil {
		return nil, errors.New("no response")
	}
	return appendBlock(nil, &clusterpb.Frame{Id: id, Response: resp}, maxFrame)
}
