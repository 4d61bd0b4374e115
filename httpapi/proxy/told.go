package proxy

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/stateraft/stateraft/httpapi/inject"
	"github.com/stateraft/stateraft/httpapi/internal/jsonscan"
)

// told is what the caller learns about the injection.
type told struct {
	subject string
	stream  bool    // the answer is to be a stream
	states  []state // what was asked for, in order
}

// A state tells of one key. Its version is 0 if there was nothing to load.
type state struct {
	key       string
	version   uint64
	bytes     int // of the whole value
	truncated bool
}

// add notes entries; truncated has one element for each that is present.
func (t *told) add(entries []inject.Entry, truncated []bool) {
	for _, e := range entries {
		s := state{key: e.Key, version: e.Version}
		if e.Version > 0 {
			s.bytes, s.truncated = len(e.Value), truncated[0]
			truncated = truncated[1:]
		}
		t.states = append(t.states, s)
	}
}

// inBody reports whether a JSON answer gets the member mnx.
func (t *told) inBody() bool { return len(t.states) > 0 && !t.stream }

// header sets the audit headers. The published clients take the subject as it
// stands, and without one their own: one that no header can hold is left out.
func (t *told) header(h http.Header) {
	if plain(t.subject) {
		h.Set("X-Mnx-Subject-Id", t.subject)
	}
	if len(t.states) == 0 {
		return
	}
	var keys, versions []string
	for _, s := range t.states {
		keys = append(keys, escaped(s.key))
		versions = append(versions, strconv.FormatUint(s.version, 10))
	}
	h.Set("X-Mnx-State-Key", strings.Join(keys, ","))
	h.Set("X-Mnx-State-Version", strings.Join(versions, ","))
}

// plain reports whether a header can hold the text as it stands.
func plain(text string) bool {
	outside := func(c rune) bool { return c < ' ' || c > '~' }
	return text != "" && strings.TrimSpace(text) == text && !strings.ContainsFunc(text, outside)
}

// escaped percent-encodes what a header cannot hold, and commas.
func escaped(text string) string {
	var b strings.Builder
	for i := range len(text) {
		if c := text[i]; c > ' ' && c < 0x7f && c != '%' && c != ',' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// addTo adds the member mnx to a JSON object, all of whose other bytes stay. It
// reports false if body is no object, or has one already.
func (t *told) addTo(body []byte) ([]byte, bool) {
	if jsonscan.Check(body) != nil {
		return body, false
	}
	start := jsonscan.Space(body, 0)
	if body[start] != '{' {
		return body, false
	}
	comma := ""
	for m := range jsonscan.Members(body, start) {
		if jsonscan.Is(m.Name.Of(body), "mnx") {
			return body, false
		}
		comma = ","
	}
	end := jsonscan.Value(body, start) - 1
	member := t.append([]byte(comma + `"mnx":{"state":`))
	out := make([]byte, 0, len(body)+len(member)+1)
	out = append(append(out, body[:end]...), member...)
	return append(append(out, '}'), body[end:]...), true
}

// append appends what is told of the first key and, if several were asked for,
// a list of them all.
func (t *told) append(b []byte) []byte {
	b = t.states[0].append(b)
	if len(t.states) == 1 {
		return append(b, '}')
	}
	b = append(b, `,"keys":[`...)
	for i, s := range t.states {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(s.append(b), '}')
	}
	return append(b, "]}"...)
}

// append appends an object without its closing brace.
func (s state) append(b []byte) []byte {
	b = fmt.Appendf(b, `{"loaded":%t,"key":`, s.version > 0)
	b = append(b, jsonscan.Quote(s.key)...)
	return fmt.Appendf(b, `,"version":%d,"bytes":%d,"truncated":%t`, s.version, s.bytes, s.truncated)
}
