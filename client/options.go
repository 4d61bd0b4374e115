package client

import (
	"crypto/rand"
	"strconv"
	"time"
)

// WriteOption adds to a write. Which calls take it is said with each; elsewhere
// it is refused with INVALID_REQUEST, and nothing is sent.
type WriteOption func(*writeOptions)

type writeOptions struct {
	ttl            time.Duration
	condition      condition
	idempotencyKey string
	returnCurrent  bool
	session        string
}

// condition is a header that the key must satisfy.
type condition struct {
	header, value string
	version       bool // it names one version
}

// WithTTL ends the key after d, in steps of 1 ms, rounded up. 0: it has no end,
// which is also what a write without WithTTL says. For Set and SetWithVersion.
func WithTTL(d time.Duration) WriteOption {
	return func(o *writeOptions) { o.ttl = d }
}

// IfVersion lets the write happen only if the key is at that version; 0: only
// if it is absent. Else the call fails with ErrVersionConflict. For Set and
// Delete.
func IfVersion(version uint64) WriteOption {
	if version == 0 {
		return IfAbsent()
	}
	c := condition{"If-Match", `"` + strconv.FormatUint(version, 10) + `"`, true}
	return func(o *writeOptions) { o.condition = c }
}

// IfExists lets the write happen only if the key is there. For Set and Delete.
func IfExists() WriteOption {
	return func(o *writeOptions) { o.condition = condition{header: "If-Match", value: "*"} }
}

// IfAbsent lets the write happen only if the key is not there. For Set and
// Delete.
func IfAbsent() WriteOption {
	return func(o *writeOptions) { o.condition = condition{header: "If-None-Match", value: "*"} }
}

// WithIdempotencyKey makes the write safe to send again: for 10 minutes the
// same key with the same request gets the first answer and has no second
// effect. The client then asks again by itself where it otherwise could not. It
// is 1 to 255 visible ASCII characters. For every write.
func WithIdempotencyKey(key string) WriteOption {
	return func(o *writeOptions) { o.idempotencyKey = key }
}

// NewIdempotencyKey returns a key that nobody else has.
func NewIdempotencyKey() string { return rand.Text() }

// ReturnCurrent has a version conflict carry the key's present value, as
// Error.CurrentValue. For every write of the State Store. WithIdempotencyKey, the
// value is left out once it is not that of Error.CurrentVersion any more.
func ReturnCurrent() WriteOption {
	return func(o *writeOptions) { o.returnCurrent = true }
}

// WithSession says which session writes. It is kept with the key, whose name it
// is no part of. For Agent.Set.
func WithSession(session string) WriteOption {
	return func(o *writeOptions) { o.session = session }
}

func gatherWrite(opts []WriteOption) (o writeOptions) {
	for _, opt := range opts {
		opt(&o)
	}
	return o
}

// apply puts the options that all writes have into headers and query of r.
func (o writeOptions) apply(r *request) *Error {
	if !fitsHeader(o.idempotencyKey) || !fitsHeader(o.session) {
		return refuse(ErrInvalidRequest, "an idempotency key or a session has control characters, or white space at an end")
	}
	if o.condition.header != "" {
		r.setHeader(o.condition.header, o.condition.value)
	}
	if o.idempotencyKey != "" {
		r.setHeader(headerIdempotencyKey, o.idempotencyKey)
	}
	if o.returnCurrent {
		r.setQuery("returnCurrent", "true")
	}
	return nil
}

// kind is that of a write with these options; versioned says that its body
// holds a condition of one version.
func (o writeOptions) kind(isVersioned bool) kind {
	switch {
	case o.idempotencyKey != "":
		return keyed
	case isVersioned || o.condition.version:
		return versioned
	default:
		return write
	}
}

// ReadOption adds to a read.
type ReadOption func(*readOptions)

type readOptions struct {
	stale       bool
	minRevision uint64
}

// Stale has the endpoint answer from what it has, without asking the leader. It
// is the cheapest read, and is never older than what this client has seen
// (Config.NoReadYourWrites).
func Stale() ReadOption {
	return func(o *readOptions) { o.stale = true }
}

// MinRevision has the node answer only from that revision on, see
// Client.Revision. If it does not get there in time the call fails with
// ErrBehind; if the cluster itself has not, with ErrRevisionUnknown.
func MinRevision(revision uint64) ReadOption {
	return func(o *readOptions) { o.minRevision = revision }
}

// readRequest returns a read of path.
func (c *Client) readRequest(path string, opts []ReadOption) *request {
	var o readOptions
	for _, opt := range opts {
		opt(&o)
	}
	r := &request{kind: read, method: "GET", path: path, minRevision: o.minRevision}
	if o.stale {
		r.setQuery("consistency", "stale")
		if !c.config.NoReadYourWrites {
			r.minRevision = max(r.minRevision, c.Revision())
		}
	}
	return r
}
