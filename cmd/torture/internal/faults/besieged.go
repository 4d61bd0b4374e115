package faults

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/node"
)

const (
	// besiegedWorkflow is nobody else's.
	besiegedWorkflow = "besieged"
	besiegedKey      = "k"

	// unreadyTimeout is how long a leader that is cut off may say that it is ready.
	unreadyTimeout = 2 * time.Second
	// noLeaderTimeout is how long it may take to say no to who gives it half a second.
	noLeaderTimeout = time.Second
	// cutStreamTimeout is how long its streams may go on: 10 s, and the time of two
	// looks at whether there is a leader.
	cutStreamTimeout = 13 * time.Second
)

// cuttingButClients cuts the leader off the other nodes, and asks it what clients
// would that reach no other. Every other time the end waits until its streams
// have ended.
func cuttingButClients(ctx context.Context, s *Scene) (Hurt, error) {
	n := s.leader(ctx)
	if !s.Alone { // another fault may hurt the leader itself
		return s.apply("cut off "+n.Name, s.around([]*node.Node{n}))
	}
	if err := n.Set(ctx, besiegedWorkflow, besiegedKey, 1); err != nil {
		return unhurt, err
	}
	conns, err := connect(n, 1, streamRequest(n, besiegedWorkflow))
	if err != nil {
		return unhurt, err
	}
	if conns, err = granted(conns); err != nil {
		return unhurt, err
	}
	begin, waits := time.Now(), s.Rand.IntN(2) == 0
	h, err := s.apply("cut off "+n.Name, s.around([]*node.Node{n}))
	heal := h.End
	h.End = func(ctx context.Context) (err error) {
		if waits && stillOpen(conns, begin.Add(cutStreamTimeout*time.Duration(s.Slack))) > 0 {
			err = fmt.Errorf("%w: a stream of %s goes on %v after it was cut off", ErrBroken, n.Name, time.Since(begin).Round(time.Second))
		}
		hangUp(conns)
		err = errors.Join(err, heal(ctx))
		s.forget(ctx, besiegedWorkflow, besiegedKey)
		return err
	}
	h = s.outlived(ctx, h, s.others(n))
	if err == nil {
		err = s.besieged(ctx, n)
	}
	return h, err
}

// besieged asks a leader that was cut off: it must soon say that it is not ready,
// refuse in time what needs the others, and answer what needs none.
func (s *Scene) besieged(ctx context.Context, n *node.Node) error {
	const no = 503
	unready := func(ctx context.Context) error {
		return expect(ctx, n, "GET", "/ready", "", node.Answer{Status: no, Code: "NOT_READY", Outcome: "not_applied"})
	}
	if err := s.waitFor(ctx, unreadyTimeout, unready); err != nil {
		return s.broken(err)
	}
	const key = "/v1/state/" + besiegedWorkflow + "/" + besiegedKey
	for _, q := range []struct {
		method, path, body string
		want               node.Answer
	}{
		{"GET", key, "", node.Answer{Status: no, Code: "NO_LEADER", Outcome: "not_applied"}},
		{"POST", key, `{"value":2}`, node.Answer{Status: no, Code: "NO_LEADER", Outcome: "not_applied"}},
		{"GET", key + "?consistency=stale", "", node.Answer{Status: 200}},
	} {
		asking, cancel := s.within(ctx, noLeaderTimeout)
		err := expect(asking, n, q.method, q.path, q.body, q.want)
		cancel()
		if err != nil {
			return s.broken(err)
		}
	}
	return nil
}

// expect returns an error if a node's answer is another than it must be, or none.
func expect(ctx context.Context, n *node.Node, method, path, body string, want node.Answer) error {
	a, err := n.Ask(ctx, method, path, body)
	if err == nil && a != want {
		err = fmt.Errorf("%+v, want %+v", a, want)
	}
	if err != nil {
		return fmt.Errorf("%s answers %s %s: %w", n.Name, method, path, err)
	}
	return nil
}
