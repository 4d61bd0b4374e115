package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/stateraft/stateraft/cluster"
)

var errNoLeaderKnown = errors.New("no leader is known")

// Only looks that fail in a row count, and a node that catches up has not
// failed.
func TestCutoff(t *testing.T) {
	var err error
	ends := 0
	c := newCutoff(func() error { return err }, func() { ends++ }, slog.New(slog.DiscardHandler))
	defer c.stop()
	look := func(n int, answer error) {
		err = answer
		for range n {
			c.look()
		}
	}
	for _, fine := range []error{nil, cluster.ErrCatchingUp} {
		look(cutoffLooks-1, errNoLeaderKnown)
		look(2*cutoffLooks, fine)
		look(cutoffLooks-1, errNoLeaderKnown)
		if ends > 0 || c.is.Load() {
			t.Fatal("cut off too early")
		}
		look(2, errNoLeaderKnown)
		if ends != 2 || !c.is.Load() {
			t.Fatalf("ended %d times, want 2; cut off: %t", ends, c.is.Load())
		}
		look(1, fine)
		if ends != 2 || c.is.Load() {
			t.Fatalf("ended %d times, want 2; cut off: %t, after %v", ends, c.is.Load(), fine)
		}
		ends = 0
	}
}

// A node that is cut off ends its streams and all that come, also those that
// could go on from the state it has, until it is back.
func TestCutoffEndsStreams(t *testing.T) {
	x := newAPI(t)
	x.server.cutoff.interval = time.Millisecond
	x.set("wf", "k", "1")
	addr := x.serve()
	r := open(t, addr, streamPath)
	r.blocks(opened(1))
	x.cluster.setReady(errNoLeaderKnown)
	eventually(t, "no stream is left", func() bool { return x.server.streams.Stats().Streams == 0 })
	if e, ok := r.event(); ok {
		t.Errorf("got %+v, want the end", e)
	}
	x.ok(x.get(streamPath, headerLastEventID, "1"), "retry: 1000\n\n")

	x.cluster.setReady(nil)
	eventually(t, "the node is back", func() bool { return !x.server.cutoff.found() })
	r = open(t, addr, streamPath, headerLastEventID, "0")
	r.blocks(opened(0))
	if e, ok := r.event(); !ok || e.id != 1 {
		t.Errorf("got %+v", e)
	}
}

// A stream that waits while its node is found to be cut off ends, too: to an
// error a browser's EventSource would close for good.
func TestCutoffEndsWaitingStreams(t *testing.T) {
	for _, tt := range []struct {
		err     error
		headers []string
	}{
		{cluster.ErrNoLeader, nil},
		{cluster.ErrBehind, []string{headerLastEventID, "9"}},
	} {
		x := newAPI(t)
		x.set("wf", "k", "1")
		x.cluster.readErr, x.cluster.waitErr = tt.err, tt.err
		a := x.get(streamPath, tt.headers...)
		if a.status != http.StatusServiceUnavailable {
			t.Errorf("%v: %d, want 503", tt.err, a.status)
		}
		found := func() { x.server.cutoff.is.Store(true) }
		x.cluster.onReadIndex, x.cluster.onWait = func(context.Context) { found() }, found
		x.ok(x.get(streamPath, tt.headers...), "retry: 1000\n\n")
		x.server.cutoff.is.Store(false)
		x.cluster.onReadIndex, x.cluster.onWait = func(context.Context) {}, func() {}
		x.cluster.setReady(cluster.ErrCatchingUp)
		x.ok(x.get(streamPath, tt.headers...), "retry: 1000\n\n")
		x.refused(x.get(streamPath, append(tt.headers, "X-Stateraft-Min-Revision", "x")...), 400, "INVALID_REQUEST")
	}
}
