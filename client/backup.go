package client

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync"
)

// backupType is the media type of backups.
const backupType = "application/octet-stream"

// Backup writes what the cluster holds at one revision to w, and returns the
// revision. Writes go on meanwhile. It takes as long as it takes: ctx bounds the
// whole, Config.AttemptTimeout how long a node may be silent. Nodes are asked one
// after the other, also if one is at another backup, until one begins; what has begun
// is not begun again.
//
// After an error what w got is not to be used. A file that is cut is noticed
// also later, by whoever reads it.
func (cl *Cluster) Backup(ctx context.Context, w io.Writer) (revision uint64, err error) {
	for n := 1; ; n++ {
		endpoint, at := cl.c.endpoints.choose(read)
		revision, begun, e := cl.backupOnce(ctx, endpoint, w)
		if e == nil {
			return revision, nil
		}
		e.Attempts = n
		if begun || classify(e) == answered || !cl.next(ctx, at, e, n) {
			return 0, read.settle(e, false)
		}
	}
}

// next moves on from the endpoint at that place to another.
func (cl *Cluster) next(ctx context.Context, at int64, e *Error, n int) bool {
	if n >= cl.c.config.MaxAttempts {
		return false
	}
	cl.c.endpoints.leave(at)
	return pause(ctx, min(cl.c.delay(n, classify(e), e), maxStreamRetry)) // ctx may have no end
}

func (cl *Cluster) backupOnce(ctx context.Context, endpoint string, w io.Writer) (revision uint64, begun bool, e *Error) {
	dog := newWatchdog(ctx, cl.c.config.AttemptTimeout)
	defer dog.close()
	res, e := dog.send(cl.c, endpoint, &request{method: "GET", path: "/v1/backup"})
	if e != nil {
		return 0, false, e
	}
	if res.StatusCode != http.StatusOK {
		return 0, false, read.settle(failed(endpoint, res, dog), false)
	}
	cl.c.revision.observe(res.Header)
	revision, err := strconv.ParseUint(res.Header.Get(headerRevision), 10, 64)
	if err == nil {
		_, err = io.Copy(w, dog)
	}
	if err != nil {
		return 0, true, bodyError(endpoint, res.StatusCode, dog.explain(err))
	}
	return revision, true, nil
}

// Restored says what a restore did.
type Restored struct {
	Revision uint64 `json:"revision"` // of the state from then on
	Keys     uint64 `json:"keys"`     // in the backup
	Backup   uint64 `json:"backup"`   // its revision
}

// Restore replaces what the cluster holds by the backup that r holds, all of it
// or, after an error, nothing; ErrOutcomeUnknown says that either may be. A
// cluster that has keys is ErrRefused, unless force. ctx bounds the whole, but not a Read of r that
// blocks.
//
// It is sent once, but that other endpoints are tried while none can be reached.
func (cl *Cluster) Restore(ctx context.Context, r io.Reader, force bool) (Restored, error) {
	for n := 1; ; n++ {
		endpoint, at := cl.c.endpoints.choose(write)
		body := &upload{from: r}
		restored, e := cl.restoreOnce(ctx, endpoint, body, force)
		if touched := body.end(); e == nil {
			return restored, nil
		} else if e.Attempts = n; touched {
			return Restored{}, e
		}
		if f := classify(e); (f != unreachable && f != unavailable) || !cl.next(ctx, at, e, n) {
			return Restored{}, e
		}
	}
}

func (cl *Cluster) restoreOnce(ctx context.Context, endpoint string, body io.Reader, force bool) (Restored, *Error) {
	r := &request{method: "POST", path: "/v1/restore"}
	if force {
		r.query = url.Values{"force": {"true"}}
	}
	req, err := cl.c.newRequest(ctx, endpoint, r)
	if err != nil {
		return Restored{}, refuse(ErrInvalidRequest, "%v", err)
	}
	req.Body, req.GetBody, req.ContentLength = io.NopCloser(body), nil, -1
	req.Header.Set("Content-Type", backupType)
	req.Header.Set(headerTimeout, nodeTimeout(cl.c.config.Timeout))
	res, err := cl.c.http.Do(req)
	if err != nil {
		return Restored{}, connectionError(req, endpoint, err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return Restored{}, failed(endpoint, res, res.Body)
	}
	cl.c.revision.observe(res.Header)
	var restored Restored
	if err := json.NewDecoder(io.LimitReader(res.Body, maxResponseBytes)).Decode(&restored); err != nil {
		return Restored{}, bodyError(endpoint, res.StatusCode, errors.Join(err, ctx.Err()))
	}
	return restored, nil
}

// An upload is a request's body, which net/http may go on reading after it has given
// back the answer.
type upload struct {
	mu      sync.Mutex
	from    io.Reader
	touched bool // something was read, so that it cannot be sent anew
	ended   bool
}

func (u *upload) Read(p []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ended {
		return 0, http.ErrBodyReadAfterClose
	}
	u.touched = true
	return u.from.Read(p)
}

// end reports whether anything was read. Nothing is from then on.
func (u *upload) end() (touched bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.ended = true
	return u.touched
}
