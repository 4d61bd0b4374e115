package httpapi

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"hash"

	"google.golang.org/protobuf/proto"

	"github.com/stateraft/stateraft/fsm"
	"github.com/stateraft/stateraft/fsm/fsmpb"
)

const (
	maxIdempotencyKey = 255 // bytes
	hashBytes         = 16
)

// setIdempotency marks c with the request's Idempotency-Key, if it has one:
// the key in its scope, and what the request asks for, so that the same key
// with another request is noticed.
func setIdempotency(r *request, c *fsmpb.Command) error {
	key, sent, err := r.header(headerIdempotency)
	if err != nil || !sent {
		return err
	}
	if !visibleASCII(key) || len(key) == 0 || len(key) > maxIdempotencyKey {
		return refuse(codeInvalidRequest, "header %s must be 1 to %d visible ASCII characters", headerIdempotency, maxIdempotencyKey)
	}
	d := newDigest()
	d.text(r.principal.ID)
	d.text(c.Namespace)
	d.text(key)
	c.IdempotencyKey = d.sum()
	return nil
}

// proposeOnce proposes c. If it has an idempotency key and was carried out before, it
// returns the answer from then, whichever build the node had that took it.
func (s *Server) proposeOnce(ctx context.Context, r *request, c *fsmpb.Command) (*fsmpb.Answer, error) {
	if c.IdempotencyKey == nil {
		return s.cluster.Propose(ctx, c)
	}
	known, err := s.sessionsKnown(ctx)
	if err != nil {
		return nil, err
	}
	c.RequestHash = requestHash(r, c, known)
	a, err := s.cluster.Propose(ctx, c)
	if err != nil || a.Code != fsmpb.Answer_IDEMPOTENCY_MISMATCH {
		return a, err
	}
	other := proto.CloneOf(c)
	other.RequestHash = requestHash(r, c, !known)
	return s.cluster.Propose(ctx, other)
}

func visibleASCII(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// sessionsKnown reports whether every node knows sessions: one that does not
// leaves them out of a request's hash, and one that does says of each operation
// which it has, also if none. A node that has just
// started has yet to hear of the cluster's version.
func (s *Server) sessionsKnown(ctx context.Context) (bool, error) {
	if s.cluster.State().Version() >= fsm.SessionsVersion {
		return true, nil
	}
	err := s.cluster.ReadIndex(ctx)
	return s.cluster.State().Version() >= fsm.SessionsVersion, err
}

// requestHash sums up what is asked for, not how it was written: the route and
// the operations, into which bodies and conditional headers have gone. Query
// parameters only shape the answer. All builds must agree on it.
func requestHash(r *request, c *fsmpb.Command, sessionsKnown bool) []byte {
	d := newDigest()
	d.text(r.route.method)
	d.text(r.route.pattern)
	d.text(c.Namespace)
	for _, op := range c.Ops {
		d.number(uint64(op.Kind))
		d.text(op.Key)
		d.bytes(op.Value)
		d.number(uint64(op.Ttl))
		d.number(uint64(op.Condition))
		d.number(op.ExpectedVersion)
		if sessionsKnown || op.SessionId != "" {
			d.text(op.SessionId)
		}
	}
	return d.sum()
}

// A digest hashes fields so that their borders count.
type digest struct{ hash.Hash }

func newDigest() digest { return digest{sha256.New()} }

func (d digest) bytes(b []byte) {
	d.number(uint64(len(b)))
	d.Write(b)
}

func (d digest) text(s string) { d.bytes([]byte(s)) }

func (d digest) number(n uint64) {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], n)
	d.Write(b[:])
}

func (d digest) sum() []byte { return d.Sum(nil)[:hashBytes] }
