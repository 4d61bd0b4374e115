package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/stateraft/stateraft/fsm/fsmpb"
)

// end deletes keys.
func (n *node) end(namespace string, keys ...string) {
	n.tb.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	c := &fsmpb.Command{Namespace: namespace}
	for _, key := range keys {
		c.Ops = append(c.Ops, &fsmpb.Op{Kind: fsmpb.Op_DELETE, Key: key})
	}
	n.sequence++
	n.apply(&fsmpb.Entry{Batches: []*fsmpb.Batch{{Session: n.session, Sequence: n.sequence, Low: n.sequence, Commands: []*fsmpb.Command{c}}}})
}

// A nowhere is a client that reads everything.
type nowhere struct{}

func (nowhere) Write(b []byte) (int, error)      { return len(b), nil }
func (nowhere) SetWriteDeadline(time.Time) error { return nil }

// ends fails the test unless the connection ends soon.
func ends(t *testing.T, what string, conn net.Conn) {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.Copy(io.Discard, conn); err != nil {
		t.Errorf("%s: the stream did not end: %v", what, err)
	}
}

func TestLease(t *testing.T) {
	const ns = "keys"
	n := newNode(t, nil)
	n.set(ns, "a", "1", "b", "1")
	n.set("other", "a", "1")
	h := newHub(t, n)
	topic := Topic{Namespace: "w", Prefix: true}
	leased := func(key string) Start { return Start{While: Lease{ns, key}} }

	onA := []net.Conn{attach(t, h, topic, leased("a")), attach(t, h, topic, leased("a"))}
	onB, onNone := attach(t, h, topic, leased("b")), attach(t, h, topic, Start{})
	served := make(chan error, 1)
	s, err := h.Subscribe(topic, leased("a"))
	if err != nil {
		t.Fatal(err)
	}
	go func() { served <- s.Serve(context.Background(), nowhere{}) }()
	reserved, err := h.Subscribe(topic, leased("a"))
	if err != nil {
		t.Fatal(err)
	}

	n.end("other", "a")
	n.end(ns, "none", "a")
	for _, conn := range onA {
		ends(t, "a lease that ended", conn)
	}
	if err := <-served; !errors.Is(err, ErrEnded) {
		t.Errorf("Serve = %v", err)
	}
	client, server := pair(t)
	reserved.Attach(server, []byte("head"))
	ends(t, "a lease that ended before Attach", client)
	if _, err := h.Subscribe(topic, leased("a")); !errors.Is(err, ErrGone) {
		t.Errorf("Subscribe = %v", err)
	}
	eventually(t, "only the two others are open", func() bool { return h.Stats().Streams == 2 })
	h.End()
	ends(t, "the hub's end", onB)
	ends(t, "the hub's end", onNone)
	h.Close()
	if left := h.leases.all(); len(left) > 0 {
		t.Errorf("leases are left: %v", left)
	}
}

// A lease that ended in a part of the history that is lost ends its streams,
// and no other.
func TestLeaseBeyondHistory(t *testing.T) {
	settings := &fsmpb.Settings{HistoryEvents: 4, HistoryBytes: 1 << 20, FloorRetention: 1e12}
	n := newNode(t, settings)
	n.set("keys", "a", "1", "b", "1")
	h := newHub(t, n)
	for _, key := range []string{"a", "b"} {
		if _, err := h.Subscribe(Topic{Namespace: "w"}, Start{While: Lease{"keys", key}}); err != nil {
			t.Fatal(err)
		}
	}
	n.end("keys", "a")
	for i := range 10 {
		n.set("w", "k", strconv.Itoa(i))
	}
	ended, last := h.endedLeases(1)
	if fmt.Sprint(ended) != "[{keys a}]" || last != n.state.Point().Revision {
		t.Errorf("ended %v up to %d", ended, last)
	}
}

// Streams that begin while their lease ends do not outlive it.
func TestLeaseEndsMeanwhile(t *testing.T) {
	n := newNode(t, nil)
	h := newHub(t, n)
	for i := range 50 {
		key := strconv.Itoa(i)
		n.set("keys", key, "1")
		done := make(chan struct{})
		go func() { n.end("keys", key); close(done) }()
		client, server := pair(t)
		if s, err := h.Subscribe(Topic{Namespace: "w"}, Start{While: Lease{"keys", key}}); err == nil {
			s.Attach(server, nil)
			ends(t, "a lease that ended meanwhile", client)
		} else if !errors.Is(err, ErrGone) {
			t.Fatal(err)
		}
		<-done
	}
	h.Close() // a client sees the end of its stream before the hub has let go of it
	if left := h.leases.all(); len(left) > 0 {
		t.Errorf("leases are left: %v", left)
	}
}

// What is no stream of the hub can depend on a lease, too.
func TestHold(t *testing.T) {
	n := newNode(t, nil)
	n.set("keys", "a", "1", "b", "1")
	h := newHub(t, n)
	hold := func(ctx context.Context, l Lease) (context.Context, func()) {
		t.Helper()
		held, release, err := h.Hold(ctx, l)
		if err != nil {
			t.Fatal(err)
		}
		return held, release
	}
	onA, releaseA := hold(t.Context(), Lease{"keys", "a"})
	onB, releaseB := hold(t.Context(), Lease{"keys", "b"})
	onNone, releaseNone := hold(t.Context(), Lease{})
	caller, cancel := context.WithCancelCause(t.Context())
	left, releaseLeft := hold(caller, Lease{"keys", "b"})
	cancel(io.ErrClosedPipe)
	n.end("keys", "a")
	<-onA.Done()
	if err := context.Cause(onA); !errors.Is(err, ErrGone) {
		t.Errorf("ended with %v", err)
	}
	if onB.Err() != nil || onNone.Err() != nil || !errors.Is(context.Cause(left), io.ErrClosedPipe) {
		t.Errorf("others: %v, %v, %v", onB.Err(), onNone.Err(), context.Cause(left))
	}
	if _, _, err := h.Hold(t.Context(), Lease{"keys", "a"}); !errors.Is(err, ErrGone) {
		t.Errorf("Hold = %v", err)
	}
	for _, release := range []func(){releaseA, releaseB, releaseNone, releaseLeft} {
		release()
	}
	if left := h.leases.all(); len(left) > 0 {
		t.Errorf("leases are left: %v", left)
	}
	h.Close()
	_, release := hold(t.Context(), Lease{"keys", "b"}) // no goroutine begins
	release()
}
