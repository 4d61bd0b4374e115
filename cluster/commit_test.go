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

// Ensure a hand-over of a term that has ended neither holds back what the next
// one admits, nor admits what that holds back.
func TestHandOverOfAnEndedTerm(t *testing.T) {
	c := newCommitter(nil, nil, nil)
	ongoing := true
	still := func() bool { return ongoing }
	c.lead()
	c.resume()
	if err := c.hold(t.Context(), still); err != nil || !c.held {
		t.Fatalf("hold: %v, held %v", err, c.held)
	}
	ongoing = false
	c.follow()
	c.lead()
	if c.release(still); !c.held {
		t.Error("the hand-over admitted what the next term holds back")
	}
	c.resume()
	if err := c.hold(t.Context(), still); !errors.Is(err, errNotLeader) || c.held {
		t.Errorf("hold: %v, held %v, want %v, and that the next term goes on", err, c.held, errNotLeader)
	}
}
