package check

import (
	"maps"
	"slices"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
)

// Stream checks subscribers that resume at other nodes, each from the start of
// its workflow to its end: every change that was acknowledged comes once, whole
// and in the order of revisions, and nothing that was refused.
func Stream(h *history.History) *Verdict {
	v := &Verdict{Name: "streams", Promise: "a subscriber that resumes gets each change once and in order"}
	told := map[string][]history.Event{} // by subscriber
	for _, e := range h.Events {
		told[e.Subscriber] = append(told[e.Subscriber], e)
	}
	writes := map[string][]history.Op{} // by workflow
	for _, op := range h.Of("stream") {
		if op.Kind.IsWrite() {
			writes[op.Workflow] = append(writes[op.Workflow], op)
		}
	}
	for _, subscriber := range slices.Sorted(maps.Keys(h.Subscribers)) {
		events := told[subscriber]
		v.Checked += len(events)
		r := &replay{v: v, subscriber: subscriber, keys: map[string]history.Event{}}
		for _, e := range events {
			r.take(e)
		}
		compareWrites(v, subscriber, events, writes[h.Subscribers[subscriber]])
	}
	return v
}

// replay follows one subscriber's changes and knows what the next may be.
type replay struct {
	v          *Verdict
	subscriber string
	revision   uint64
	floor      uint64                   // the highest version that an end took in the workflow
	keys       map[string]history.Event // last change of each key
}

func (r *replay) take(e history.Event) {
	switch e.Type {
	case "set", "delete", "expire":
	default:
		r.v.Fail("%s: %s at revision %d: the history reaches back to the start, so there is nothing to begin anew", r.subscriber, e.Type, e.Revision)
		return
	}
	if e.Revision <= r.revision {
		r.v.Fail("%s: revision %d comes after %d", r.subscriber, e.Revision, r.revision)
	}
	r.revision = max(r.revision, e.Revision)
	before, known := r.keys[e.Key]
	want, old := r.floor+1, "null"
	if known && before.Type == "set" {
		want, old = before.Version+1, before.New
	}
	if e.Version != want {
		r.v.Fail("%s: %s of %s at revision %d has version %d, want %d", r.subscriber, e.Type, e.Key, e.Revision, e.Version, want)
	}
	if e.Old != old {
		r.v.Fail("%s: %s of %s at revision %d replaces %s, want %s", r.subscriber, e.Type, e.Key, e.Revision, e.Old, old)
	}
	if e.Type != "set" {
		r.floor = max(r.floor, e.Version)
	}
	r.keys[e.Key] = e
}

// compareWrites compares the changes that were told with those that were made.
// Every value is written once, so it tells its write.
func compareWrites(v *Verdict, subscriber string, events []history.Event, ops []history.Op) {
	sets := map[string][]history.Event{} // by value
	deletes := map[string]int{}          // by key
	for _, e := range events {
		switch e.Type {
		case "set":
			sets[e.New] = append(sets[e.New], e)
		case "delete":
			deletes[e.Key]++
		}
	}
	acked, unknown := map[string]int{}, map[string]int{} // deletes by key
	for _, op := range ops {
		switch {
		case op.Kind == history.Delete && op.Outcome == history.Unknown:
			unknown[op.Key]++
		case op.Kind == history.Delete && op.Found:
			acked[op.Key]++
		case op.Kind == history.Set:
			compareSet(v, subscriber, op, sets[op.Value])
			delete(sets, op.Value)
		}
	}
	for value, of := range sets {
		v.Fail("%s: %s at revision %d, which nobody wrote", subscriber, value, of[0].Revision)
	}
	for key, n := range acked {
		if got := deletes[key]; got < n || got > n+unknown[key] {
			v.Fail("%s: %d deletes of %s, want %d acknowledged and at most %d more", subscriber, got, key, n, unknown[key])
		}
	}
}

func compareSet(v *Verdict, subscriber string, op history.Op, events []history.Event) {
	switch {
	case len(events) > 1:
		v.Fail("%s: told %d times: the %s", subscriber, len(events), describe(op))
	case len(events) == 0 && op.Outcome == history.OK:
		v.Fail("%s: not told: the %s, which got version %d", subscriber, describe(op), op.Version)
	case len(events) == 1 && op.Outcome == history.Refused:
		v.Fail("%s: told although it was refused (%s): the %s", subscriber, op.Error, describe(op))
	case len(events) == 1 && op.Outcome == history.OK && events[0].Version != op.Version:
		v.Fail("%s: told with version %d: the %s, which got version %d", subscriber, events[0].Version, describe(op), op.Version)
	}
}
