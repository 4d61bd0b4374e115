package httpapi

import (
	"bytes"
	"encoding/json"
	"strconv"
	"unicode/utf16"
)

// The functions in this file walk over JSON that is known to be valid, without
// decoding it: what is not looked at is kept byte for byte.

// skipSpace returns the index of the first byte from i on that is no white
// space.
func skipSpace(b []byte, i int) int {
	for i < len(b) && isSpace(b[i]) {
		i++
	}
	return i
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// skipString returns the index behind the string that begins at i.
func skipString(b []byte, i int) int {
	for i++; b[i] != '"'; i++ {
		if b[i] == '\\' {
			i++
		}
	}
	return i + 1
}

// skipValue returns the index behind the value that begins at i.
func skipValue(b []byte, i int) int {
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

// compact removes the white space between value's tokens, in place.
func compact(value []byte) []byte {
	out := value[:0]
	for i := 0; i < len(value); {
		switch c := value[i]; {
		case isSpace(c):
			i++
		case c == '"':
			end := skipString(value, i)
			out = append(out, value[i:end]...)
			i = end
		default:
			out = append(out, c)
			i++
		}
	}
	return out
}

// unquote returns the text of a JSON string.
func unquote(raw []byte) string {
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1])
	}
	var s string
	_ = json.Unmarshal(raw, &s) // it is a valid string
	return s
}

// hasLoneSurrogate reports whether a JSON string escapes half of a surrogate
// pair without the other.
func hasLoneSurrogate(raw []byte) bool {
	for i := bytes.IndexByte(raw, '\\'); i >= 0 && i < len(raw); {
		switch {
		case raw[i] != '\\':
			i++
		case raw[i+1] != 'u':
			i += 2
		case !utf16.IsSurrogate(escaped(raw, i)):
			i += 6
		case utf16.DecodeRune(escaped(raw, i), escaped(raw, i+6)) == '\uFFFD':
			return true
		default:
			i += 12
		}
	}
	return false
}

// escaped returns the code unit of the \uXXXX at i, or 0 if there is none.
func escaped(raw []byte, i int) rune {
	if i+6 > len(raw) || raw[i] != '\\' || raw[i+1] != 'u' {
		return 0
	}
	unit, _ := strconv.ParseUint(string(raw[i+2:i+6]), 16, 16)
	return rune(unit)
}
