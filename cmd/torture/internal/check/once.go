package check

import "github.com/stateraft/stateraft/cmd/torture/internal/history"

// Once checks writes that are sent more than once, with an idempotency key, at
// different nodes: all copies get the version of the first, no two writes share
// one, and a key that is only ever set so has as many versions as writes.
func Once(h *history.History) *Verdict {
	v := &Verdict{Name: "exactly once", Promise: "a write sent again with its idempotency key has one effect and one answer"}
	writes := map[slot]map[string]write{}
	for _, op := range h.Of("once") {
		s := slotOf(op)
		if op.Idempotency == "" || op.Outcome == history.Refused {
			continue
		}
		if writes[s] == nil {
			writes[s] = map[string]write{}
		}
		v.Checked++
		writes[s][op.Idempotency] = writes[s][op.Idempotency].with(op, v)
	}
	for s, of := range writes {
		acked := distinct(v, s, of)
		forEachFinal(h, v, s, func(node string, e history.Entry) {
			if n := int(e.Version); n < acked || n > len(of) {
				v.Fail("%s has had %d changes on %s in the end, want one for each of %d acknowledged writes and at most %d more", s, n, node, acked, len(of)-acked)
			}
		})
	}
	return v
}

// write is all copies of one.
type write struct {
	version uint64 // 0: no copy is acknowledged
	copies  int
}

func (w write) with(op history.Op, v *Verdict) write {
	w.copies++
	switch {
	case op.Outcome != history.OK:
	case w.version == 0:
		w.version = op.Version
	case w.version != op.Version:
		v.Fail("the %s, a copy, got version %d, an earlier one %d", describe(op), op.Version, w.version)
	}
	return w
}

// distinct counts the acknowledged writes of one key.
func distinct(v *Verdict, s slot, writes map[string]write) (acked int) {
	by := map[uint64]string{}
	for id, w := range writes {
		if w.version == 0 {
			continue
		}
		acked++
		if other, taken := by[w.version]; taken {
			v.Fail("version %d of %s was given to both %s and %s", w.version, s, other, id)
		}
		by[w.version] = id
	}
	return acked
}
