package cluster

import (
	"context"
	"errors"
	"testing"

	"github.com/stateraft/stateraft/fsm/fsmpb"
)

// Ensure a proposal that still waits when its caller goes is taken back, and
// that the caller knows.
func TestCommitterForgetsWhoHasGone(t *testing.T) {
	c := newCommitter(nil, nil, nil)
	c.lead() // and hold
	kept := &proposal{entry: &fsmpb.Entry{}, done: make(chan proposed, 1)}
	if err := c.enqueue(kept); err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for range 2 * maxCommitWaiting {
		if _, err := c.commit(gone, &fsmpb.Entry{}); !errors.Is(err, errNotLeader) {
			t.Fatalf("got %v, want %v", err, errNotLeader)
		}
	}
	if n := c.queued(); n != 1 {
		t.Errorf("%d proposals wait, want the one whose caller is there", n)
	}
	c.follow()
	if res := <-kept.done; !errors.Is(res.err, errNotLeader) {
		t.Errorf("got %v, want %v", res.err, errNotLeader)
	}
}
