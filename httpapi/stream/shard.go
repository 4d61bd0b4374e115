package stream

import (
	"slices"
	"sync"
	"time"
)

// keepAliveSlots is into how many parts the subscriptions of a shard are
// divided, so that their keep-alives are spread over time.
const keepAliveSlots = 64

// A shard delivers batches to the subscriptions in it, which are all level: a
// subscription has all changes up to the shard's cursor or its own, whichever
// is greater.
type shard struct {
	hub     *Hub
	batches chan *batch

	mu      sync.Mutex // guards the fields below, and the fields of the subscriptions in the shard
	cursor  uint64
	index   index
	slots   [keepAliveSlots][]*Subscription
	joined  int // subscriptions that ever joined
	ticks   int
	wire    *wire
	touched []*group // by the batch being delivered
}

func newShard(h *Hub) *shard {
	return &shard{hub: h, batches: make(chan *batch, 1), index: newIndex(), wire: newWire()}
}

// run also sends keep-alives, a slot after another. Those that came due while
// batches were delivered are made up for: clients count on them.
func (sh *shard) run() {
	pause := max(sh.hub.cfg.KeepAlive/keepAliveSlots, time.Millisecond)
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for sent := time.Now(); ; {
		select {
		case b := <-sh.batches:
			if sh.deliver(b) {
				sh.hub.cfg.Delivered(time.Since(b.applied))
			}
		case <-tick.C:
		case <-sh.hub.ctx.Done():
			return
		}
		due := time.Now()
		if round := due.Add(-keepAliveSlots * pause); sent.Before(round) {
			sent = round
		}
		for ; !sent.Add(pause).After(due); sent = sent.Add(pause) {
			sh.keepAlive()
		}
	}
}

// join takes s in, if it is level, and reports that. It is refused if s has
// been ended.
func (sh *shard) join(s *Subscription) (bool, error) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	switch {
	case s.ended:
		return false, ErrEnded
	case s.level:
		return true, nil
	case s.whole != wholeNone || s.offset > 0 || s.cursor < sh.cursor:
		return false, nil
	}
	sh.index.add(s)
	s.slot = sh.nextSlot()
	s.slotAt = uint32(len(sh.slots[s.slot]))
	sh.slots[s.slot] = append(sh.slots[s.slot], s)
	s.level = true
	return true, nil
}

// nextSlot spreads those who come at once over the slots whose turn is not
// soon: they have just been written to. It requires sh.mu.
func (sh *shard) nextSlot() uint8 {
	sh.joined++
	return uint8((sh.ticks + keepAliveSlots/2 + sh.joined%(keepAliveSlots/2)) % keepAliveSlots)
}

// leave takes s out, if it is there, with its cursor where the shard's is.
func (sh *shard) leave(s *Subscription) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.release(s)
}

// release requires sh.mu.
func (sh *shard) release(s *Subscription) {
	if !s.level {
		return
	}
	sh.index.remove(s)
	slot := sh.slots[s.slot]
	last := len(slot) - 1
	slot[s.slotAt] = slot[last]
	slot[s.slotAt].slotAt = s.slotAt
	slot[last] = nil
	sh.slots[s.slot] = slot[:last]
	s.level = false
	s.cursor = max(s.cursor, sh.cursor)
}

// endAmong ends the streams of those of subs that are the shard's.
func (sh *shard) endAmong(subs []*Subscription) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for _, s := range subs {
		if s.shard == sh {
			sh.end(s)
		}
	}
}

// end ends the stream of s, wherever it is. It requires sh.mu.
func (sh *shard) end(s *Subscription) {
	s.ended = true
	if s.level && s.wake == nil {
		_, _ = sh.wire.write(s.raw, sh.lastWords(s)) // the client has left: nobody to tell
		sh.drop(s)
		return
	}
	if s.cut != nil {
		s.cut()
	}
}

// lastWords tells the client from where to go on. It requires sh.mu.
func (sh *shard) lastWords(s *Subscription) []byte {
	if cursor := max(s.cursor, sh.cursor); cursor > s.told {
		return keepAlive(cursor)
	}
	return keepAliveBlock
}

// drop lets go of s, whose connection is of no more use. It requires sh.mu.
func (sh *shard) drop(s *Subscription) {
	sh.release(s)
	s.cut()
	sh.hub.forget(s)
}

// deliver sends the events of b to all whom they concern, and reports whether
// there were any.
func (sh *shard) deliver(b *batch) bool {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if b.lost {
		sh.letAllGo()
		sh.cursor = b.last
		return false
	}
	for i := range b.events {
		e := &b.events[i]
		sh.index.each(e.Change, func(g *group) {
			if len(g.events) == 0 {
				sh.touched = append(sh.touched, g)
			}
			g.events = append(g.events, e)
		})
	}
	for i, g := range sh.touched {
		sh.deliverTo(g)
		g.events, sh.touched[i] = nil, nil
	}
	delivered := len(sh.touched) > 0
	sh.touched = sh.touched[:0]
	sh.cursor = b.last
	return delivered
}

// letAllGo makes every subscription find out by itself what it lacks.
func (sh *shard) letAllGo() {
	for _, slot := range sh.slots {
		for _, s := range slices.Backward(slot) {
			sh.letGo(s, nil)
		}
	}
}

// deliverTo sends a group its events: the same bytes to all, but for those who
// joined with a cursor ahead of the shard's.
func (sh *shard) deliverTo(g *group) {
	data := join(sh.hub, g.events)
	first := g.events[0].Revision
	for _, s := range slices.Backward(g.subs) {
		if s.cursor < first {
			sh.send(s, g.events, data)
		} else if rest := newer(g.events, s.cursor); len(rest) > 0 {
			sh.send(s, rest, join(sh.hub, rest))
		}
	}
}

// newer returns the events after revision.
func newer(events []*event, revision uint64) []*event {
	for len(events) > 0 && events[0].Revision <= revision {
		events = events[1:]
	}
	return events
}

// send writes events, whose bytes are data, to s. If not all of it fits the
// connection, s goes on by itself.
func (sh *shard) send(s *Subscription, events []*event, data []byte) {
	if s.wake != nil {
		sh.letGo(s, nil)
		return
	}
	n, err := sh.wire.write(s.raw, data)
	if err != nil {
		sh.drop(s)
		return
	}
	if n == len(data) {
		s.told = events[len(events)-1].Revision
		sh.hub.events.Add(uint64(len(events)))
		return
	}
	for ; n >= len(events[0].data); events = events[1:] {
		n -= len(events[0].data)
		s.pass(events[0].Revision)
	}
	sh.letGo(s, s.tear(events[0], n))
}

// tear moves s into an event of which n bytes are in the connection, and
// returns what it is to be sent first. A short rest is that; a long one is not
// kept in memory for it, but found in the history again.
func (s *Subscription) tear(e *event, n int) (tail []byte) {
	rest := e.data[n:]
	if n > 0 && len(rest) <= pieceBytes {
		s.pass(e.Revision)
		return slices.Clone(rest)
	}
	s.offset = n
	return nil
}

// pass notes that the client has, or will have, the event of a revision.
func (s *Subscription) pass(revision uint64) {
	s.cursor, s.told = revision, revision
	s.shard.hub.events.Add(1)
}

// letGo lets s go on outside of the shard, which first sends it the tail of
// what the shard began.
func (sh *shard) letGo(s *Subscription, tail []byte) {
	sh.release(s)
	if s.wake == nil {
		s.resume(tail)
		return
	}
	select {
	case s.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// keepAlive sends a slot's subscriptions their keep-alives, and lets go of
// those whose clients have left.
func (sh *shard) keepAlive() {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	slot := sh.slots[sh.ticks%keepAliveSlots]
	sh.ticks++
	withID := keepAlive(sh.cursor)
	for _, s := range slices.Backward(slot) {
		if s.wake != nil {
			continue
		}
		if sh.wire.check(s.raw) != nil {
			sh.drop(s)
			continue
		}
		if sh.cursor > s.told {
			s.told = sh.cursor
			sh.sendBlock(s, withID)
		} else {
			sh.sendBlock(s, keepAliveBlock)
		}
	}
}

func (sh *shard) sendBlock(s *Subscription, block []byte) {
	n, err := sh.wire.write(s.raw, block)
	switch {
	case err != nil:
		sh.drop(s)
	case n < len(block):
		sh.letGo(s, block[n:])
	}
}
