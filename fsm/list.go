package fsm

import "strings"

// shortList is how many keys a list may visit under the read lock, which
// holds up Apply. A longer one is read from a frozen tree.
const shortList = 2048

// afterAll sorts behind every key that continues the prefix before it: no
// valid UTF-8 has this byte.
const afterAll = "\xff"

// List returns the keys of ns that q selects, from one state.
func (s *State) List(ns string, q Query) Page {
	s.mu.RLock()
	page, whole := s.list(ns, q, shortList)
	s.mu.RUnlock()
	if whole {
		return page
	}
	s.mu.Lock()
	frozen := s.data
	frozen.keys = s.keys.Copy()
	s.mu.Unlock()
	page, _ = frozen.list(ns, q, frozen.keys.Len())
	return page
}

// list visits at most visits keys and reports whether that was enough: if not,
// there is no page. It gathers keys first, which are short to move while their
// number is not known, and makes the entries from them at once, if q.Admit lets
// it.
func (d *data) list(ns string, q Query, visits int) (page Page, whole bool) {
	page.Point, whole = d.where(), true
	var found []*key
	bytes := 0
	d.walk(ns, q, func(k *key) bool {
		if visits--; visits < 0 {
			whole = false
			return false
		}
		if !d.live(k) || q.SessionID != nil && k.sessionID != *q.SessionID {
			return true
		}
		full := q.Limit > 0 && len(found) == q.Limit
		if full || q.MaxBytes > 0 && bytes >= q.MaxBytes {
			page.More = true
			return false
		}
		bytes += int(k.size())
		found = append(found, k)
		return true
	})
	if !whole {
		return Page{}, false
	}
	if q.Admit != nil && !q.Admit(len(found)) {
		return Page{Refused: true, Point: page.Point}, true
	}
	page.Entries = make([]Entry, len(found))
	for i, k := range found {
		page.Entries[i] = d.entry(k)
	}
	return page, true
}

// walk calls visit for the keys of ns that have q's prefix and lie after
// q.After, in q's direction, until it returns false.
func (d *data) walk(ns string, q Query, visit func(*key) bool) {
	inside := func(k *key) bool {
		if k.ns != ns || !strings.HasPrefix(k.name, q.Prefix) {
			return false
		}
		if q.After != "" && k.name == q.After {
			return true
		}
		return visit(k)
	}
	from := &key{ns: ns, name: max(q.Prefix, q.After)}
	if !q.Reverse {
		d.keys.Ascend(from, inside)
		return
	}
	from.name = q.Prefix + afterAll
	if q.After != "" {
		from.name = min(from.name, q.After)
	}
	d.keys.Descend(from, inside)
}
