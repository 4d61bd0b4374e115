package proxy

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
)

// FuzzTold checks that an answer gets one member more and keeps all else, and
// that what headers tell can be read back.
func FuzzTold(f *testing.F) {
	f.Add(`{"a":[1.0,{"mnx":1}]}`, "current_task")
	f.Add(" { } \n", "a,b %é\x01")
	f.Add(`{"mn\u0078":1}`, "")
	f.Add(`[{}]`, "<>")
	f.Fuzz(func(t *testing.T, body, key string) {
		for _, c := range []byte(escaped(key)) {
			if c <= ' ' || c > '~' || c == ',' {
				t.Fatalf("%q is told as %q", key, escaped(key))
			}
		}
		if back, err := url.PathUnescape(escaped(key)); back != key || err != nil {
			t.Fatalf("%q came back as %q", key, back)
		}
		told := &told{states: []state{{key: key, version: 7}, {key: key}}}
		out, ok := told.addTo([]byte(body))
		if !ok {
			if string(out) != body {
				t.Fatalf("%q became %q", body, out)
			}
			return
		}
		var got map[string]json.RawMessage
		if err := json.Unmarshal(out, &got); err != nil || got["mnx"] == nil {
			t.Fatalf("%q became %q: %v", body, out, err)
		}
		end := strings.LastIndexByte(body, '}')
		if !strings.HasPrefix(string(out), body[:end]) || !strings.HasSuffix(string(out), body[end:]) {
			t.Fatalf("%q became %q", body, out)
		}
	})
}
