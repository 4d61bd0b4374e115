package httpapi

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"

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
	c.RequestHash = requestHash(r, c)
	return nil
}

func visibleASCII(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// requestHash sums up what is asked for, not how it was written: the route and
// the operations, into which bodies and conditional headers have gone. Query
// parameters only shape the answer.
func requestHash(r *request, c *fsmpb.Command) []byte {
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
		d.text(op.SessionId)
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
