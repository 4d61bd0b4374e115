package check

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
)

const (
	// revokedWithin is how long after a revocation was acknowledged a node may
	// still take the key.
	revokedWithin = 100 * time.Millisecond
	// endedWithin is how long a stream of a revoked key may go on, also on a node
	// that is cut off, and lastTold on one that has got as far as the revocation,
	// and may be paused then.
	endedWithin = 25 * time.Second
	lastTold    = 4 * time.Second
	// endedMostly is how soon half of such streams end, of endedLeast or more:
	// faults hit few of them.
	endedMostly = time.Second
	endedLeast  = 10
	// sameLife is how long after an answer its node is the same process: one that
	// begins anew may know less for a moment.
	sameLife = 100 * time.Millisecond
)

// Isolation checks API keys of two projects that use the same names: nobody
// sees, lists, follows or conflicts with anything of the other project, a key
// does nothing outside its scopes and prefixes and is refused nothing within, and
// one that is revoked does nothing any more. Stale reads of a node that may not
// know yet are allowed.
func Isolation(h *history.History) *Verdict {
	v := &Verdict{Name: "isolation", Promise: "projects do not touch, and a key does what it may, for as long as it may"}
	grants, revoked, ending := map[string]history.Op{}, map[string]history.Op{}, map[string]history.Op{}
	var registers []history.Op
	for _, op := range h.Of("isolation") {
		if first, tried := ending[op.Key]; op.Kind == history.Revoke && (!tried || op.Call < first.Call) {
			ending[op.Key] = op
		}
		switch {
		case op.Outcome != history.OK && op.Kind != history.Open:
		case op.Kind == history.Grant:
			grants[op.Key] = op
		case op.Kind == history.Revoke:
			revoked[op.Key] = op
		}
		if op.Key == agentRegister && !op.Stale {
			registers = append(registers, op)
		}
	}
	linearizable(registers, v)
	for _, op := range h.Of("isolation") {
		if op.Token == "" {
			continue
		}
		v.Checked++
		ownOnly(v, op)
		allowed(v, op, grants[op.Token])
		if first, tried := ending[op.Token]; op.Error == "UNAUTHORIZED" && (!tried || op.Return < first.Call) {
			v.Fail("the %s was refused, and nobody had revoked its key", describe(op))
		}
		if r, ended := revoked[op.Token]; ended {
			notAfter(v, h, op, r)
		}
	}
	staleOnes(h, v, revoked)
	streamsOf(h, v, revoked)
	return v
}

// staleOnes checks stale reads with revoked keys. A node that has answered from a
// state without the key knows, if it is still the same process, and has not gone
// back behind that state.
func staleOnes(h *history.History, v *Verdict, revoked map[string]history.Op) {
	reads := map[string][]history.Op{} // by node, of its own state
	for _, op := range h.Ops {
		if isRead := op.Kind == history.Get || op.Kind == history.List; isRead && op.Dated() && op.Node != "" {
			reads[op.Node] = append(reads[op.Node], op)
		}
	}
	for _, of := range reads {
		slices.SortFunc(of, func(a, b history.Op) int { return cmp.Compare(a.Return, b.Return) })
	}
	for _, op := range h.Of("isolation") {
		r, ended := revoked[op.Token]
		if !ended || r.Revision == 0 || !op.Stale || op.Outcome != history.OK {
			continue
		}
		before := reads[op.Node]
		until, _ := slices.BinarySearchFunc(before, op.Call, func(a history.Op, call time.Duration) int { return cmp.Compare(a.Return, call) })
		for i := until - 1; i >= 0 && op.Call-before[i].Return < sameLife; i-- {
			if knew := before[i].Revision; r.Revision <= knew && knew <= op.Revision {
				v.Fail("the %s was done, and the %s had been answered there from revision %d: the key was revoked at %d", describe(op), describe(before[i]), knew, r.Revision)
				break
			}
		}
	}
}

func isOwn(project, value string) bool {
	return value == "" || value == "null" || strings.HasPrefix(value, `"`+project+" ")
}

// ownOnly checks what an answer shows.
func ownOnly(v *Verdict, op history.Op) {
	seen := []string{op.Value, op.Present}
	for _, e := range op.Entries {
		seen = append(seen, e.Value)
	}
	for _, value := range seen {
		if !isOwn(op.Project, value) {
			v.Fail("the %s saw %s of another project", describe(op), value)
		}
	}
	if op.Error == "IDEMPOTENCY_MISMATCH" {
		v.Fail("the %s met an idempotency key of another project", describe(op))
	}
}

// allowed checks that the key may do what it was let do, and no more is refused.
func allowed(v *Verdict, op, grant history.Op) {
	scope := "state:read"
	if op.Kind.IsWrite() {
		scope = "state:write"
	}
	may := strings.Contains(grant.Value, scope) && strings.HasPrefix(op.Workflow, grant.Query.Prefix)
	if may && op.Error == "FORBIDDEN" || !may && op.Outcome == history.OK {
		v.Fail("the %s with a key for %s and the prefix %q: %s %s", describe(op), grant.Value, grant.Query.Prefix, op.Outcome, op.Error)
	}
}

// notAfter checks that a key is refused once it is revoked, and its streams end.
func notAfter(v *Verdict, h *history.History, op, revoked history.Op) {
	late := op.Call - revoked.Return
	switch {
	case op.Kind == history.Open && (op.Error == history.StillOpen || op.Return-revoked.Return > h.Slacken(endedWithin)):
		v.Fail("a stream at %s went on for %v after its key was revoked", op.Node, (op.Return - revoked.Return).Round(time.Millisecond))
	case op.Outcome == history.OK && !op.Stale && late > revokedWithin:
		v.Fail("the %s was done %v after its key was revoked at %s", describe(op), late.Round(time.Millisecond), revoked.Node)
	}
}

// streamsOf checks what streams told.
func streamsOf(h *history.History, v *Verdict, revoked map[string]history.Op) {
	first := map[string]time.Duration{} // event behind the revocation, by subscriber
	var late []time.Duration
	for _, e := range h.Events {
		s := h.Subscribers[e.Subscriber]
		if s.Workload != "isolation" {
			continue
		}
		v.Checked++
		hasScope := e.Type != "resync" && e.Type != "synced"
		if !isOwn(s.Project, e.New) || !isOwn(s.Project, e.Old) || hasScope && e.Scope != s.Workflow {
			v.Fail("%s of %s was told %s in place of %s of %s/%s, of another project or workflow", e.Subscriber, s.Project, e.New, e.Old, e.Scope, e.Key)
		}
		r, ended := revoked[s.Token]
		if !ended || r.Revision == 0 || e.Revision <= r.Revision || e.At <= r.Return {
			continue
		}
		if _, known := first[e.Subscriber]; !known {
			first[e.Subscriber] = e.At
		}
		if e.At-first[e.Subscriber] > h.Slacken(lastTold) {
			v.Fail("%s was told of revision %d at %v, and its key was revoked at revision %d, at %v", e.Subscriber, e.Revision, e.At, r.Revision, r.Return)
		}
	}
	for _, op := range h.Of("isolation") {
		if r, ended := revoked[op.Token]; ended && op.Kind == history.Open && op.Outcome == history.OK && op.Error == "" {
			late = append(late, max(op.Return-r.Return, 0))
		}
	}
	if slices.Sort(late); len(late) > 0 {
		middle := late[len(late)/2]
		v.note("%d streams of revoked keys ended; after the revocation was acknowledged: median %v, worst %v", len(late), middle.Round(time.Millisecond), late[len(late)-1].Round(time.Millisecond))
		if len(late) >= endedLeast && middle > h.Slacken(endedMostly) {
			v.Fail("half of %d streams of revoked keys went on for %v or longer after the revocation was acknowledged", len(late), middle.Round(time.Millisecond))
		}
	}
}
