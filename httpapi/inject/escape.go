package inject

import (
	"fmt"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/stateraft/stateraft/httpapi/internal/jsonscan"
)

// deceptive are the characters that look like < and > or that Unicode's
// compatibility forms turn into them, and U+2800, a symbol that looks like
// nothing.
var deceptive = &unicode.RangeTable{
	R16: []unicode.Range16{
		{0x02c2, 0x02c3, 1}, {0x1433, 0x1438, 5}, {0x16b2, 0x16b2, 1}, {0x2039, 0x203a, 1},
		{0x226e, 0x226f, 1}, {0x2329, 0x232a, 1}, {0x276c, 0x2771, 1}, {0x27e8, 0x27e9, 1},
		{0x2800, 0x2800, 1}, {0x29fc, 0x29fd, 1}, {0x3008, 0x3009, 1}, {0xfe3f, 0xfe40, 1}, {0xfe64, 0xfe65, 1},
		{0xff1c, 0xff1e, 2},
	},
	R32: []unicode.Range32{{0x16f3f, 0x16f3f, 1}, {0x1d236, 0x1d237, 1}},
}

// safe reports whether a character stands for itself inside a block: not one
// of the delimiters' or what looks like them, and nothing that people who read
// the text would not see (controls, zero widths, direction marks, variation
// selectors, tags, fillers, odd spaces, private and unassigned characters).
func safe(c rune) bool {
	switch {
	case c < utf8.RuneSelf:
		return ' ' <= c && c <= '~' && c != '<' && c != '>' && c != '&'
	case c == utf8.RuneError || !unicode.IsPrint(c):
		return false
	}
	return !unicode.In(c, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point, deceptive)
}

// appendValue appends valid JSON without the white space between its tokens,
// and with every character that is not safe escaped.
func appendValue(dst, value []byte) []byte {
	for i := jsonscan.Space(value, 0); i < len(value); i = jsonscan.Space(value, i) {
		if value[i] != '"' {
			dst = append(dst, value[i])
			i++
			continue
		}
		end := jsonscan.Value(value, i)
		dst = appendSafe(dst, value[i:end])
		i = end
	}
	return dst
}

// appendSafe appends the inside of a JSON string.
func appendSafe(dst, text []byte) []byte {
	for i := 0; i < len(text); {
		c, n := utf8.DecodeRune(text[i:])
		dst = appendRune(dst, c)
		i += n
	}
	return dst
}

func appendRune(dst []byte, c rune) []byte {
	switch {
	case safe(c):
		return utf8.AppendRune(dst, c)
	case c > 0xffff:
		high, low := utf16.EncodeRune(c)
		return fmt.Appendf(dst, `\u%04x\u%04x`, high, low)
	}
	return fmt.Appendf(dst, `\u%04x`, c)
}

// appendText appends text as the inside of a JSON string.
func appendText(dst, text []byte) []byte {
	for i := 0; i < len(text); {
		c, n := utf8.DecodeRune(text[i:])
		if c == '"' || c == '\\' {
			dst = append(dst, '\\')
		}
		dst = appendRune(dst, c)
		i += n
	}
	return dst
}

// appendPrefix appends as much of JSON as takes at most room bytes as the
// inside of a JSON string. It ends between two characters, and not inside one
// of the JSON's own escape sequences.
func appendPrefix(dst, value []byte, room int) []byte {
	limit := len(dst) + room
	for i := 0; i < len(value); {
		n := unitLen(value, i)
		longer := appendText(dst, value[i:i+n])
		if len(longer) > limit {
			break
		}
		dst, i = longer, i+n
	}
	return dst
}

// unitLen is the length of the character or escape sequence at value[i].
func unitLen(value []byte, i int) int {
	if value[i] == '\\' {
		return jsonscan.Escape(value, i)
	}
	_, n := utf8.DecodeRune(value[i:])
	return n
}

// quoted returns a rendered text, which is safe but for line breaks, as the
// inside of a JSON string.
func quoted(text string) []byte {
	b := make([]byte, 0, len(text)+len(text)/4)
	for i := range len(text) {
		switch c := text[i]; c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, `\n`...)
		default:
			b = append(b, c)
		}
	}
	return b
}
