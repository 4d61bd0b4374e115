package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stateraft/stateraft/internal/leaktest"
)

func TestQuietLog(t *testing.T) {
	var q quietLog
	start := time.Now()
	steps := []struct {
		after    time.Duration
		key      quietKey
		ok       bool
		keptBack int
	}{
		{0, quietKey{"a", "x"}, true, 0},
		{time.Second, quietKey{"a", "x"}, false, 0},
		{time.Second, quietKey{"a", "y"}, true, 0},
		{time.Second, quietKey{"b", "x"}, true, 0},
		{quietTime - 1, quietKey{"a", "x"}, false, 0},
		{quietTime, quietKey{"a", "x"}, true, 2},
		{quietTime + time.Second, quietKey{"a", "x"}, false, 0},
		{2 * quietTime, quietKey{"a", "x"}, true, 1},
	}
	for i, s := range steps {
		if ok, keptBack := q.admit(s.key, start.Add(s.after)); ok != s.ok || keptBack != s.keptBack {
			t.Errorf("step %d: %v, %d; want %v, %d", i, ok, keptBack, s.ok, s.keptBack)
		}
	}
}

// Ensure that peers who give a new reason each time cost neither memory nor
// lines without bound.
func TestQuietLogIsBounded(t *testing.T) {
	var q quietLog
	now, told := time.Now(), 0
	for i := range 100 * quietLines {
		if ok, _ := q.admit(quietKey{"a", fmt.Sprint(i)}, now); ok {
			told++
		}
	}
	if len(q.lines) > quietLines+1 || told > quietLines+1 {
		t.Errorf("%d lines kept and %d told, want %d at most", len(q.lines), told, quietLines+1)
	}
	if ok, _ := q.admit(quietKey{"b", "new"}, now.Add(quietTime)); !ok {
		t.Error("a new line is kept back after the old ones are forgotten")
	}
}

// Ensure a peer that is refused again and again is told of once.
func TestRefusedHandshakeIsToldOnce(t *testing.T) {
	leaktest.Check(t)
	var text strings.Builder
	refusing := testTransport(t, "b", "two", func(c *transportConfig) {
		c.logger = slog.New(slog.NewTextHandler(&text, nil))
	})
	asking := testTransport(t, "a", "one", nil)
	for range 20 {
		ctx, cancel := context.WithTimeout(context.Background(), handshakeTimeout)
		if _, err := asking.connect(ctx, nodeCalls, refusing.addr(), asking.hello()); err == nil {
			t.Error("a node of another cluster is let in")
		}
		cancel()
	}
	if err := refusing.close(); err != nil { // waits for all that may log
		t.Fatal(err)
	}
	if n := strings.Count(text.String(), "handshake failed"); n != 1 {
		t.Errorf("%d lines, want 1:\n%s", n, text.String())
	}
}
