package stream

import (
	"bufio"
	"context"
	"errors"
	"time"

	"github.com/stateraft/stateraft/fsm"
)

const (
	// historyStep is how many changes are read from the history at once.
	historyStep = 512

	// snapshotRate is how fast, in bytes a second, a client must read a
	// sequence of snapshot events beyond the first moments, if others wait.
	snapshotRate = 64 << 10

	// turnComment is how often a client hears from its stream while it waits
	// for the turn of its snapshot, at least: clients have less patience with a
	// stream that has not said where it begins.
	turnComment = time.Second
)

var (
	errLost = errors.New("the history does not reach back")
	errTorn = errors.New("the history lost an event of which the client has a part")
)

// follow sends s what it lacks, until it is level and in its shard.
func (s *Subscription) follow(out *patient) error {
	for {
		if joined, err := s.shard.join(s); joined || err != nil {
			return err
		}
		if s.whole != wholeNone {
			if err := s.tellWhole(out); err != nil {
				return err
			}
			continue
		}
		err := s.advance(out)
		if err == errLost {
			s.whole, err = wholeResync, nil
		}
		if err != nil {
			return err
		}
	}
}

// advance sends the next piece of what the history has for s. The buffer is
// all that a slow client holds: no change, and no event, stays in memory for it.
func (s *Subscription) advance(out *patient) error {
	buf := windows.Get().(*[pieceBytes]byte)
	defer windows.Put(buf)
	b, err := s.fill(buf[:0])
	if err != nil {
		return err
	}
	_, err = out.Write(b)
	return err
}

// fill appends the events after the cursor, or as much of them as b has room
// for, and moves the cursor.
func (s *Subscription) fill(b []byte) ([]byte, error) {
	for {
		changes, reaches := s.shard.hub.cfg.Source.State().Changes(s.cursor, historyStep)
		switch {
		case !reaches && len(b) > 0:
			return b, nil
		case !reaches && s.offset > 0:
			return nil, errTorn
		case !reaches:
			return nil, errLost
		case len(changes) == 0:
			return b, nil
		}
		for _, c := range changes {
			var all bool
			if b, all = s.fillOne(b, c); !all {
				return b, nil
			}
		}
	}
}

// fillOne appends the event of c, if it is wanted, and reports whether all of
// it is there. Only an event larger than the window is torn.
func (s *Subscription) fillOne(b []byte, c *fsm.Change) (out []byte, all bool) {
	if s.group.topic.covers(c) {
		longer, taken, all := appendWindow(b, s.shard.hub.block(c), s.offset)
		if !all && len(b) > 0 {
			return b, false // it need not be torn: the next window begins with it
		}
		if !all {
			s.offset += taken
			return longer, false
		}
		s.offset = 0
		s.pass(c.Revision)
		return longer, true
	}
	s.cursor = c.Revision
	return b, true
}

// tellWhole sends the present keys, and says when that is all.
func (s *Subscription) tellWhole(out *patient) error {
	hub := s.shard.hub
	if s.group.topic.Prefix {
		if err := s.takeTurn(out); err != nil {
			return err
		}
		defer hub.endTurn()
	}
	entries, at := hub.present(s.group.topic)
	out.until, out.waiting = snapshotDeadline(hub.cfg.Stall, entries), &hub.waiting
	defer func() { out.until = time.Time{} }()
	w := bufio.NewWriter(out)
	if s.whole == wholeResync {
		hub.resyncs.Add(1)
		_, _ = w.WriteString(resyncBlock) // Flush tells the error
	}
	for i := range entries {
		for _, piece := range hub.entryBlock(&entries[i]) {
			if _, err := w.Write(piece); err != nil {
				return err
			}
		}
		entries[i] = fsm.Entry{}
	}
	_, _ = w.Write(synced(at)) // Flush tells the error
	s.whole, s.cursor, s.told = wholeNone, at, at
	return w.Flush()
}

// present returns the keys of t, and the revision at which they are so.
func (h *Hub) present(t Topic) ([]fsm.Entry, uint64) {
	state := h.cfg.Source.State()
	if t.Prefix {
		page := state.List(t.Namespace, fsm.Query{Prefix: t.Name})
		return page.Entries, page.Point.Revision
	}
	entry, ok, at := state.Get(t.Namespace, t.Name)
	if !ok {
		return nil, at.Revision
	}
	return []fsm.Entry{entry}, at.Revision
}

// snapshotDeadline keeps clients that read drop by drop from holding a turn that
// others wait for.
func snapshotDeadline(patience time.Duration, entries []fsm.Entry) time.Time {
	bytes := 0
	for i := range entries {
		bytes += 2*len(entries[i].Value) + len(entries[i].Key)
	}
	return time.Now().Add(patience + time.Duration(bytes/snapshotRate)*time.Second)
}

// takeTurn waits until another snapshot of many keys may be sent. The client
// hears comments all the while, or it would count the node as dead; and it is
// noticed if it leaves.
func (s *Subscription) takeTurn(out *patient) error {
	hub := s.shard.hub
	select {
	case hub.snapshots <- struct{}{}:
		return nil
	default:
	}
	hub.waiting.Add(1)
	defer hub.waiting.Add(-1)
	tick := time.NewTicker(min(turnComment, hub.cfg.KeepAlive))
	defer tick.Stop()
	for {
		select {
		case hub.snapshots <- struct{}{}:
			return nil
		case <-out.ctx.Done():
			return context.Cause(out.ctx)
		case <-tick.C:
			if err := s.comment(out); err != nil {
				return err
			}
		}
	}
}

// comment says nothing but that the node is there, and returns an error if the
// client is not.
func (s *Subscription) comment(out *patient) error {
	if s.raw != nil {
		w := wires.Get().(*wire)
		defer wires.Put(w)
		if err := w.check(s.raw); err != nil {
			return err
		}
	}
	_, err := out.Write(keepAliveBlock)
	return err
}

func (h *Hub) endTurn() { <-h.snapshots }
