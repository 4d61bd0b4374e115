// Package jsonscan walks over JSON without decoding it, so that what nobody
// looks at is kept byte for byte. Check decides whether bytes are JSON at all;
// the other functions take bytes that have passed it, and may panic on others.
package jsonscan

import (
	"bytes"
	"encoding/json"
	"errors"
	"iter"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// Check reports why b is not exactly one JSON value in UTF-8, nested at most
// 10,000 deep; nil if it is.
func Check(b []byte) error {
	switch {
	case !utf8.Valid(b):
		return errors.New("it is not valid UTF-8")
	case !json.Valid(b):
		return json.Unmarshal(b, new(json.RawMessage)) // Valid does not say why
	}
	return nil
}

// A Span is a range of bytes: from Start up to, not including, End.
type Span struct{ Start, End int }

// Of returns the bytes of b in the span.
func (s Span) Of(b []byte) []byte { return b[s.Start:s.End] }

// A Member is where the name, with its quotes, and the value of an object's
// member are.
type Member struct{ Name, Value Span }

// Members walks over the members of the object that begins at b[i], in order.
// A name given twice is seen twice.
func Members(b []byte, i int) iter.Seq[Member] {
	return func(yield func(Member) bool) {
		for i := Space(b, i+1); b[i] != '}'; {
			m := Member{Name: span(b, i)}
			m.Value = span(b, Space(b, Space(b, m.Name.End)+1)) // behind the colon
			if !yield(m) {
				return
			}
			i = next(b, m.Value.End)
		}
	}
}

// Elements walks over the elements of the array that begins at b[i], in order.
func Elements(b []byte, i int) iter.Seq[Span] {
	return func(yield func(Span) bool) {
		for i := Space(b, i+1); b[i] != ']'; {
			e := span(b, i)
			if !yield(e) {
				return
			}
			i = next(b, e.End)
		}
	}
}

func span(b []byte, i int) Span { return Span{i, Value(b, i)} }

// next returns the index of the token behind a value that ends at i, the comma
// left out.
func next(b []byte, i int) int {
	if i = Space(b, i); b[i] == ',' {
		i = Space(b, i+1)
	}
	return i
}

// Space returns the index of the first byte from b[i] on that is no white
// space.
func Space(b []byte, i int) int {
	for i < len(b) && isSpace(b[i]) {
		i++
	}
	return i
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// Value returns the index behind the value that begins at b[i].
func Value(b []byte, i int) int {
	switch b[i] {
	case '"':
		return skipString(b, i)
	case '{', '[':
		return skipNested(b, i)
	}
	for i < len(b) && !isSpace(b[i]) && b[i] != ',' && b[i] != '}' && b[i] != ']' {
		i++
	}
	return i
}

// skipString looks for the quote that no backslash takes away, as strings can
// be long.
func skipString(b []byte, i int) int {
	for i++; ; i++ {
		i += bytes.IndexByte(b[i:], '"')
		slashes := 0
		for b[i-1-slashes] == '\\' {
			slashes++
		}
		if slashes%2 == 0 {
			return i + 1
		}
	}
}

func skipNested(b []byte, i int) int {
	for depth := 0; ; i++ {
		switch b[i] {
		case '"':
			i = skipString(b, i) - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
}

// Is reports whether raw is a string with this text, however it is escaped.
func Is(raw []byte, text string) bool {
	if raw[0] != '"' {
		return false
	}
	if inner := raw[1 : len(raw)-1]; bytes.IndexByte(inner, '\\') < 0 {
		return string(inner) == text
	}
	return Text(raw) == text
}

// Text returns the text of a string. Half of a surrogate pair becomes U+FFFD:
// see LoneSurrogate.
func Text(raw []byte) string {
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1])
	}
	var s string
	_ = json.Unmarshal(raw, &s) // it is a valid string
	return s
}

// Escape returns the length of the escape sequence that begins at b[i]; a
// surrogate pair is one sequence.
func Escape(b []byte, i int) int {
	if b[i+1] != 'u' {
		return 2
	}
	if utf16.DecodeRune(unit(b, i), unit(b, i+6)) != utf8.RuneError {
		return 12
	}
	return 6
}

// LoneSurrogate reports whether a string escapes half of a surrogate pair
// without the other: it is then no text in Unicode.
func LoneSurrogate(raw []byte) bool {
	for i := bytes.IndexByte(raw, '\\'); i >= 0 && i < len(raw); {
		if raw[i] != '\\' {
			i++
			continue
		}
		n := Escape(raw, i)
		if n == 6 && utf16.IsSurrogate(unit(raw, i)) {
			return true
		}
		i += n
	}
	return false
}

// unit returns the code unit of the \uXXXX at b[i], or 0 if there is none.
func unit(b []byte, i int) rune {
	if i+6 > len(b) || b[i] != '\\' || b[i+1] != 'u' {
		return 0
	}
	u, _ := strconv.ParseUint(string(b[i+2:i+6]), 16, 16)
	return rune(u)
}

// Kind names the kind of a value, for messages.
func Kind(raw []byte) string {
	switch raw[0] {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "a number"
}

// Quote returns text as a string.
func Quote(text string) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(text) // a string can always be encoded
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
