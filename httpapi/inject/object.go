package inject

import (
	"slices"

	"github.com/stateraft/stateraft/httpapi/internal/jsonscan"
)

// A field is a member that was looked for.
type field struct {
	jsonscan.Member
	present bool
	hull    jsonscan.Span // the member with one comma, if it has neighbours: what to cut
}

// raw returns the field's value; nil if it is absent or null, which mean the
// same in all the members read here.
func (f field) raw(b []byte) []byte {
	if !f.present || b[f.Value.Start] == 'n' {
		return nil
	}
	return f.Value.Of(b)
}

// fields finds members of these names in the object that begins at b[i], and
// counts all members. One that is given twice is refused: which of the two
// another reader would take is not known. at stands before its name in the
// message. The names of b may be escaped.
func fields(b []byte, i int, at string, names ...string) (found []field, members int, err error) {
	found = make([]field, len(names))
	open := -1 // index in found of the member just passed
	var before, last int
	for m := range jsonscan.Members(b, i) {
		if open >= 0 {
			found[open].hull.End = m.Name.Start // with the comma behind it
			open = -1
		}
		if n := indexOf(m.Name.Of(b), names); n >= 0 {
			if found[n].present {
				return nil, 0, invalid("%s%s is given more than once", at, names[n])
			}
			found[n] = field{m, true, jsonscan.Span{Start: m.Name.Start, End: m.Value.End}}
			open, before = n, last
		}
		last = m.Value.End
		members++
	}
	if open >= 0 && before > 0 {
		found[open].hull.Start = before // with the comma before it
	}
	return found, members, nil
}

func indexOf(name []byte, names []string) int {
	return slices.IndexFunc(names, func(n string) bool { return jsonscan.Is(name, n) })
}
