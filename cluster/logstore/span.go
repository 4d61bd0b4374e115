package logstore

// span is a range of indexes, both ends included; the zero span is empty.
type span struct{ first, last uint64 }

func (s span) empty() bool { return s.first == 0 }

func (s span) has(index uint64) bool { return !s.empty() && s.first <= index && index <= s.last }

func (s span) size() uint64 {
	if s.empty() {
		return 0
	}
	return s.last - s.first + 1
}

// after returns the log's extent once added is stored: added replaces what it
// overlaps and all behind it, and if it does not continue the log, all of it.
func (s span) after(added span) span {
	if s.empty() || added.first < s.first || added.first > s.last+1 {
		return added
	}
	return span{s.first, added.last}
}

// without returns what is left when low to high are deleted. ok is false if
// that would leave a gap.
func (s span) without(low, high uint64) (left span, ok bool) {
	low, high = max(low, s.first), min(high, s.last)
	switch {
	case s.empty() || low > high:
		return s, true
	case low == s.first && high == s.last:
		return span{}, true
	case low == s.first:
		return span{high + 1, s.last}, true
	case high == s.last:
		return span{s.first, low - 1}, true
	}
	return s, false
}

// minus returns the parts of s outside t.
func (s span) minus(t span) []span {
	if s.empty() {
		return nil
	}
	if t.empty() || t.last < s.first || t.first > s.last {
		return []span{s}
	}
	var parts []span
	if s.first < t.first {
		parts = append(parts, span{s.first, t.first - 1})
	}
	if t.last < s.last {
		parts = append(parts, span{t.last + 1, s.last})
	}
	return parts
}
