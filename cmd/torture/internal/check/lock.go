package check

import (
	"cmp"
	"slices"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
)

// lockKey is the key that is the lock; all others of its workflow are guarded.
const lockKey = "lock"

// Fencing checks a lock whose version is its holder's fencing token: tokens
// rise, and a write that is guarded by one happens only before a newer one was
// given. Two may believe at the same time that they hold the lock, which no
// store can prevent; the token sees to it that one of them writes. Where somebody
// follows the workflow, that holds for writes of unknown outcome too.
func Fencing(h *history.History) *Verdict {
	v := &Verdict{Name: "fencing", Promise: "the tokens of a lock rise, and a write with an old one is refused"}
	var grants, writes []history.Op
	for _, op := range h.Of("lock") {
		switch {
		case op.Outcome != history.OK:
			continue
		case op.Kind == history.Atomic:
			writes = append(writes, op)
		case op.Wrote() && op.Key == lockKey:
			grants = append(grants, op)
		default:
			continue
		}
		v.Checked++
	}
	rise(v, grants)
	for _, op := range writes {
		guarded(v, op, grants)
	}
	for _, s := range h.Subscribers {
		if s.Workload == "lock" {
			compare(h, "lock", v)
			break
		}
	}
	return v
}

// rise checks the tokens in the order of revisions, which Revisions compares with
// that of time. Who takes a free lock comes after an end, which took a version too.
func rise(v *Verdict, grants []history.Op) {
	slices.SortFunc(grants, func(a, b history.Op) int { return cmp.Compare(a.Revision, b.Revision) })
	var before history.Op // the one of them with the highest token
	for _, op := range grants {
		least := before.Version + 1
		if op.Kind == history.SetAt && op.Expected == 0 {
			least++
		}
		if before.Version > 0 && op.Version < least {
			v.Fail("token %d was given at revision %d, want %d at least after %d at %d: the %s", op.Version, op.Revision, least, before.Version, before.Revision, describe(op))
		}
		if op.Version > before.Version {
			before = op
		}
	}
}

// guarded checks one write. Its first step is the check of the token.
func guarded(v *Verdict, op history.Op, grants []history.Op) {
	token := *op.Steps[0].Expected
	if op.Conflict {
		if op.Failed == 0 && op.Version == token {
			v.Fail("the %s was refused, although the lock was at its token %d", describe(op), token)
		}
		return
	}
	for _, g := range grants {
		if g.Version > token && (g.Revision <= op.Revision || g.Return < op.Call) {
			v.Fail("the %s happened with token %d at revision %d, after token %d was given at revision %d", describe(op), token, op.Revision, g.Version, g.Revision)
		}
	}
}
