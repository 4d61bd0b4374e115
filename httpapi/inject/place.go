package inject

import (
	"github.com/stateraft/stateraft/httpapi/internal/jsonscan"
)

// A place is where the text goes into a body: it replaces a span, mostly an
// empty one, by the text as the inside of a JSON string between before and
// after.
type place struct {
	span          jsonscan.Span
	before, after string
}

const (
	messageOpen  = `{"role":"system","content":"`
	messageClose = `"}`
	blockOpen    = `{"type":"text","text":"`
	blockClose   = `"}`
)

// inMessages is a message of its own in the array that begins at b[i]: behind
// the leading system and developer messages, before the first other.
func inMessages(b []byte, i int) place {
	end := -1 // of the last leading message
	for e := range jsonscan.Elements(b, i) {
		if !leads(e.Of(b)) {
			return at(e.Start, messageOpen, messageClose+",")
		}
		end = e.End
	}
	if end < 0 {
		return at(i+1, messageOpen, messageClose)
	}
	return at(end, ","+messageOpen, messageClose)
}

// leads reports whether a message is the caller's own system or developer
// message. One with two roles is not: readers differ about which counts.
func leads(message []byte) bool {
	if message[0] != '{' {
		return false
	}
	found, _, err := fields(message, 0, "", "role", "type")
	if err != nil || !found[0].present {
		return false
	}
	if kind := found[1].raw(message); kind != nil && !jsonscan.Is(kind, "message") {
		return false // an item of the Responses API that is no message
	}
	role := found[0].Value.Of(message)
	return jsonscan.Is(role, "system") || jsonscan.Is(role, "developer")
}

// atEnd is behind the text of the string s, after a blank line.
func atEnd(s jsonscan.Span) place {
	p := at(s.End-1, `\n\n`, "")
	if s.End-s.Start == len(`""`) {
		p.before = ""
	}
	return p
}

// asBlock is a text block behind those of the array that begins at b[i].
func asBlock(b []byte, i int) place {
	end := -1
	for e := range jsonscan.Elements(b, i) {
		end = e.End
	}
	if end < 0 {
		return at(i+1, blockOpen, blockClose)
	}
	return at(end, ","+blockOpen, blockClose)
}

// instead replaces the value in a span by a string.
func instead(s jsonscan.Span) place { return place{span: s, before: `"`, after: `"`} }

// asMember is a new member of the object that ends at b[end-1] and has others
// or not.
func asMember(end int, name string, others bool) place {
	p := at(end-1, `"`+name+`":"`, `"`)
	if others {
		p.before = "," + p.before
	}
	return p
}

func at(i int, before, after string) place {
	return place{jsonscan.Span{Start: i, End: i}, before, after}
}
