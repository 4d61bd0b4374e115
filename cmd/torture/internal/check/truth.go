package check

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
)

// truth is the changes of one workflow, as its subscribers together were told
// of them.
type truth struct {
	workflow string
	agent    bool
	changes  []history.Event // in the order of revisions
	holes    []hole          // in order
	tellings []telling       // of all keys, instead of changes
}

// hole is revisions of which nobody was told anything, because all subscribers
// had fallen behind the history: those above after, up to upTo.
type hole struct{ after, upTo uint64 }

// telling is all keys of a workflow as a subscriber was told of them, or as a node
// showed them in the end.
type telling struct {
	by   string
	at   uint64
	keys map[string]history.Event
}

// truths puts together what the subscribers of a workload were told, by
// workflow, and checks each of them against it.
func truths(h *history.History, workload string, v *Verdict) map[string]*truth {
	told := map[string][]history.Event{} // by subscriber
	for _, e := range h.Events {
		told[e.Subscriber] = append(told[e.Subscriber], e)
	}
	byWorkflow := map[string][]*reader{}
	for _, name := range slices.Sorted(maps.Keys(h.Subscribers)) {
		s := h.Subscribers[name]
		if s.Workload == workload {
			byWorkflow[s.Workflow] = append(byWorkflow[s.Workflow], &reader{name: name, Subscriber: s, events: told[name]})
			v.Checked += len(told[name])
		}
	}
	all := map[string]*truth{}
	for workflow, readers := range byWorkflow {
		t := gather(workflow, readers, v)
		for _, r := range readers {
			r.follow(t, h, v)
		}
		all[workflow] = t
	}
	return all
}

// gather makes one history of what all readers of a workflow were told.
func gather(workflow string, readers []*reader, v *Verdict) *truth {
	t := &truth{workflow: workflow, agent: readers[0].Agent}
	byRevision := map[uint64]history.Event{}
	var covered []hole
	for _, r := range readers {
		r.dropForeign(workflow, v)
		from, last, allTold := r.From, r.From, false
		end := func() {
			if allTold || from < last {
				covered = append(covered, hole{from, last})
			}
		}
		for _, e := range r.events {
			switch {
			case e.Type == "synced":
				end()
				from, last, allTold = e.Revision, e.Revision, true
			case isChange(e):
				last = max(last, e.Revision)
				agree(v, byRevision, e)
			}
		}
		end()
	}
	t.changes = slices.SortedFunc(maps.Values(byRevision), func(a, b history.Event) int { return cmp.Compare(a.Revision, b.Revision) })
	t.holes = between(covered)
	return t
}

func isChange(e history.Event) bool {
	return e.Type == "set" || e.Type == "delete" || e.Type == "expire"
}

// agree adds a change to those that are known.
func agree(v *Verdict, known map[uint64]history.Event, e history.Event) {
	first, there := known[e.Revision]
	if !there {
		known[e.Revision] = e
		return
	}
	who := e.Subscriber
	e.Subscriber, e.At = first.Subscriber, first.At
	if e != first {
		v.Fail("revision %d is %s of %s at version %d to %s, and %s of %s at version %d to %s", e.Revision, first.Type, first.Key, first.Version, first.Subscriber, e.Type, e.Key, e.Version, who)
	}
}

// between returns what no stretch covers up to the end of the last. One in which
// all keys were told, and then nothing, has no length.
func between(covered []hole) []hole {
	slices.SortFunc(covered, func(a, b hole) int { return cmp.Compare(a.after, b.after) })
	var holes []hole
	end := uint64(0)
	for _, c := range covered {
		if c.after > end {
			holes = append(holes, hole{end, c.after})
		}
		end = max(end, c.upTo)
	}
	return holes
}

// hidden reports whether nobody was told what happened at the revision.
func (t *truth) hidden(revision uint64) bool {
	return slices.ContainsFunc(t.holes, func(h hole) bool { return h.after < revision && revision <= h.upTo })
}

// anyHidden reports whether that is so at one of the revisions from first to last.
func (t *truth) anyHidden(first, last uint64) bool {
	return slices.ContainsFunc(t.holes, func(h hole) bool { return h.after < last && first <= h.upTo })
}

// inTheEnd is what the nodes held, which was all that there was: their keys are
// read after the last change was told.
func (t *truth) inTheEnd(h *history.History) (tellings []telling) {
	last := uint64(0)
	if n := len(t.changes); n > 0 {
		last = t.changes[n-1].Revision
	}
	for _, told := range t.tellings {
		last = max(last, told.at)
	}
	for node, entries := range h.Final {
		keys := map[string]history.Event{}
		for _, e := range entries {
			if e.Workflow == t.workflow && e.Agent == t.agent {
				keys[e.Key] = history.Event{New: e.Value, Version: e.Version}
			}
		}
		tellings = append(tellings, telling{node + " in the end", last, keys})
	}
	return tellings
}

// behind returns the place of the first change behind a revision.
func (t *truth) behind(revision uint64) int {
	i, _ := slices.BinarySearchFunc(t.changes, revision+1, func(e history.Event, r uint64) int { return cmp.Compare(e.Revision, r) })
	return i
}

// reader is one subscriber and what it was told.
type reader struct {
	name string
	history.Subscriber
	events []history.Event
}

// dropForeign lets go of events of other workflows, which are no changes of
// this one.
func (r *reader) dropForeign(workflow string, v *Verdict) {
	r.events = slices.DeleteFunc(r.events, func(e history.Event) bool {
		isForeign := e.Scope != "" && e.Scope != workflow
		if isForeign {
			v.Fail("%s: an event of %s in the stream of %s", r.name, e.Scope, workflow)
		}
		return isForeign
	})
}

// follow checks that the reader was told each change behind the one where it
// stood, once and in order, or else all present keys: only where the history
// need not reach it any more, or its revision is of no state that there was.
func (r *reader) follow(t *truth, h *history.History, v *Verdict) {
	cursor, isReal := r.From, false      // isReal: there is a state at the cursor
	var present map[string]history.Event // not nil: all keys are being told
	for _, e := range r.events {
		switch e.Type {
		case "resync":
			present = map[string]history.Event{}
		case "snapshot":
			if _, twice := present[e.Key]; twice || present == nil {
				v.Fail("%s: key %s is told once too often between resync and synced", r.name, e.Key)
				continue
			}
			present[e.Key] = e
		case "synced":
			switch {
			case present == nil:
				v.Fail("%s: synced at revision %d comes without a resync before it", r.name, e.Revision)
			case cursor <= e.Revision && e.Revision-cursor < h.Remembered():
				v.Fail("%s: told all keys as of revision %d, and not the changes behind %d, which nodes must remember", r.name, e.Revision, cursor)
			case cursor > e.Revision && (isReal || cursor <= highestBy(h, r.Begun)):
				v.Fail("%s: told all keys as of revision %d, of the past: it stood at %d", r.name, e.Revision, cursor)
			}
			if present != nil {
				t.tellings = append(t.tellings, telling{r.name, e.Revision, present})
			}
			cursor, present, isReal = e.Revision, nil, true
		default:
			r.next(t, cursor, e, v)
			cursor, present, isReal = max(cursor, e.Revision), nil, isReal || e.Revision > cursor
		}
	}
}

// highestBy is the highest revision that an answer or an event had told by then.
func highestBy(h *history.History, then time.Duration) (highest uint64) {
	for _, op := range h.Ops {
		if op.Dated() && op.Return < then {
			highest = max(highest, op.Revision)
		}
	}
	for _, e := range h.Events {
		if e.At < then {
			highest = max(highest, e.Revision)
		}
	}
	return highest
}

// next checks that e is the change that follows a revision.
func (r *reader) next(t *truth, cursor uint64, e history.Event, v *Verdict) {
	switch i := t.behind(cursor); {
	case !isChange(e):
		v.Fail("%s: an event of type %q", r.name, e.Type)
	case e.Revision <= cursor:
		v.Fail("%s: revision %d comes after %d", r.name, e.Revision, cursor)
	case t.changes[i].Revision != e.Revision:
		v.Fail("%s: revision %d comes after %d, and not %d, the %s of %s of which %s was told", r.name, e.Revision, cursor, t.changes[i].Revision, t.changes[i].Type, t.changes[i].Key, t.changes[i].Subscriber)
	}
}
