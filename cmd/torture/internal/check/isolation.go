package check

import (
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
)

// Isolation checks API keys of two projects that use the same names: nobody
// sees, lists, follows or conflicts with anything of the other project, a key
// does nothing outside its scopes and prefixes and is refused nothing within, and
// one that is revoked does nothing any more. Stale reads of a node that cannot
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
	streamsOf(h, v, revoked)
	return v
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
		if !isOwn(s.Project, e.New) || !isOwn(s.Project, e.Old) || e.Scope != s.Workflow {
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
		v.note("%d streams of revoked keys ended; after the revocation was acknowledged: median %v, worst %v", len(late), late[len(late)/2].Round(time.Millisecond), late[len(late)-1].Round(time.Millisecond))
	}
}
