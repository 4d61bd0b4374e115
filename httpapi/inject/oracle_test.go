package inject

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"
)

// checkCut checks that bare is in with one run of bytes left out, and without
// its member mnx.
func checkCut(t *testing.T, in, bare string) {
	t.Helper()
	if !oneRun(in, bare) {
		t.Fatalf("%q became %q: more than one run of bytes is gone", in, bare)
	}
	all := decode(t, in)
	want := slices.DeleteFunc(slices.Clone(all), func(m [2]string) bool { return m[0] == "mnx" })
	if len(want) == len(all) && bare != in {
		t.Fatalf("%q, which asks nothing, became %q", in, bare)
	}
	if got := decode(t, bare); !slices.Equal(got, want) {
		t.Fatalf("%q became %q: members %q, want %q", in, bare, got, want)
	}
}

// checkInsertion checks that full is bare with one run of bytes inserted, which
// holds text once. A null that was replaced counts as absent.
func checkInsertion(t *testing.T, bare, full, text string) {
	t.Helper()
	decode(t, full)
	if strings.Count(full, text) != strings.Count(bare, text)+1 {
		t.Fatalf("%q became %q: the text is not in it once", bare, full)
	}
	for i := range bare {
		if oneRun(full, bare) {
			return
		}
		if strings.HasPrefix(bare[i:], "null") && oneRun(full, bare[:i]+bare[i+4:]) {
			return
		}
	}
	t.Fatalf("%q became %q: other bytes changed", bare, full)
}

// oneRun reports whether leaving out one run of long's bytes gives short.
func oneRun(long, short string) bool {
	n := 0
	for n < len(short) && n < len(long) && long[n] == short[n] {
		n++
	}
	return len(long) >= len(short) && strings.HasSuffix(long, short[n:])
}

// decode returns the names and raw values of an object's members.
func decode(t *testing.T, object string) (members [][2]string) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(object))
	_, _ = d.Token()
	for d.More() {
		name, err := d.Token()
		if err != nil {
			t.Fatalf("%q: %v", object, err)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			t.Fatalf("%q: %v", object, err)
		}
		members = append(members, [2]string{name.(string), string(value)})
	}
	if !json.Valid([]byte(object)) {
		t.Fatalf("%q is not JSON", object)
	}
	return members
}

// sameValue reports whether two JSON texts are the same value: the same tokens
// in the same order, numbers digit by digit, strings by their UTF-16 units, so
// that half a surrogate pair counts too.
func sameValue(t *testing.T, a, b []byte) bool {
	t.Helper()
	return reflect.DeepEqual(tokens(t, string(a)), tokens(t, string(b)))
}

func tokens(t *testing.T, s string) (all []string) {
	t.Helper()
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case strings.IndexByte(" \t\r\n", c) >= 0:
			i++
		case c == '"':
			end := i + 1
			for ; s[end] != '"'; end++ {
				if s[end] == '\\' {
					end++
				}
			}
			all = append(all, fmt.Sprint(units(t, s[i+1:end])))
			i = end + 1
		default:
			all = append(all, s[i:i+1])
			i++
		}
	}
	return all
}

func units(t *testing.T, s string) (all []uint16) {
	t.Helper()
	short := map[byte]uint16{'n': '\n', 't': '\t', 'r': '\r', 'b': '\b', 'f': '\f', '"': '"', '\\': '\\', '/': '/'}
	for i := 0; i < len(s); {
		switch {
		case s[i] != '\\':
			end := strings.IndexByte(s[i:], '\\')
			if end < 0 {
				end = len(s) - i
			}
			all = append(all, utf16.Encode([]rune(s[i:i+end]))...)
			i += end
		case s[i+1] == 'u':
			var u uint16
			if _, err := fmt.Sscanf(s[i+2:i+6], "%04x", &u); err != nil {
				t.Fatal(err)
			}
			all = append(all, u)
			i += 6
		default:
			all = append(all, short[s[i+1]])
			i += 2
		}
	}
	return all
}
