package client

import (
	"net/http"
	"strconv"
	"sync/atomic"
)

// revision remembers how much of the cluster's history this client has seen.
type revision struct{ highest atomic.Uint64 }

func (r *revision) seen() uint64 { return r.highest.Load() }

// observe takes note of the revision that a response was answered from.
func (r *revision) observe(h http.Header) {
	if rev, err := strconv.ParseUint(h.Get(headerRevision), 10, 64); err == nil {
		r.raise(rev)
	}
}

func (r *revision) raise(rev uint64) {
	for {
		highest := r.highest.Load()
		if rev <= highest || r.highest.CompareAndSwap(highest, rev) {
			return
		}
	}
}

// forget drops a revision that the cluster does not know, because it was
// restored from before it. One that was seen since is kept.
func (r *revision) forget(rev uint64) { r.highest.CompareAndSwap(rev, 0) }
