package jsonscan

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	tests := []struct {
		in   string
		want string // part of the error; "" for none
	}{
		{`{}`, ""},
		{" [1, {\"a\": null}]\r\n\t", ""},
		{``, "unexpected end"},
		{`{} {}`, "after top-level value"},
		{`{"a":1,}`, "invalid character '}'"},
		{`[01]`, "invalid character '1'"},
		{"\"\xff\"", "UTF-8"},
		{"\"\x00\"", "invalid character"},
		{`"\x"`, "invalid character 'x'"},
		{strings.Repeat("[", 9999) + strings.Repeat("]", 9999), ""},
		{strings.Repeat("[", 10001) + strings.Repeat("]", 10001), "max depth"},
	}
	for _, tt := range tests {
		err := Check([]byte(tt.in))
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("Check(%.40q) = %v, want %q", tt.in, err, tt.want)
		}
	}
}

func TestWalk(t *testing.T) {
	const object = ` { "a" : 1.50e+3 ,"b\"}":[ {"]":"\\"} , "," ,true ], "" : null,"a":{} } `
	var got []string
	for m := range Members([]byte(object), 1) {
		got = append(got, string(m.Name.Of([]byte(object))), string(m.Value.Of([]byte(object))))
	}
	want := []string{`"a"`, `1.50e+3`, `"b\"}"`, `[ {"]":"\\"} , "," ,true ]`, `""`, `null`, `"a"`, `{}`}
	if !slices.Equal(got, want) {
		t.Errorf("members %q, want %q", got, want)
	}

	got = nil
	array := []byte(want[3])
	for e := range Elements(array, 0) {
		got = append(got, string(e.Of(array)))
	}
	if want := []string{`{"]":"\\"}`, `","`, `true`}; !slices.Equal(got, want) {
		t.Errorf("elements %q, want %q", got, want)
	}
	for range Elements([]byte(" [ ] "), 1) {
		t.Error("an empty array has an element")
	}
}

func TestStrings(t *testing.T) {
	tests := []struct {
		raw, text string
		lone      bool
	}{
		{`""`, "", false},
		{`"mnx"`, "mnx", false},
		{`"\u006dn\u0078"`, "mnx", false},
		{`"\ud83d\ude00"`, "\U0001f600", false},
		{`"\ud83d"`, "\ufffd", true},
		{`"\ude00\ud83d"`, "\ufffd\ufffd", true},
		{`"\\ud83d"`, `\ud83d`, false},
		{`"\ud83d\n"`, "\ufffd\n", true},
		{`"\ud83d\u0041"`, "\ufffdA", true},
	}
	for _, tt := range tests {
		raw := []byte(tt.raw)
		if Text(raw) != tt.text || !Is(raw, tt.text) || Is(raw, tt.text+"x") || LoneSurrogate(raw) != tt.lone {
			t.Errorf("%s: text %q, lone surrogate %v; want %q, %v", raw, Text(raw), LoneSurrogate(raw), tt.text, tt.lone)
		}
	}
}

// FuzzWalk compares the walk with encoding/json's decoder, and checks that no
// JSON makes it panic.
func FuzzWalk(f *testing.F) {
	f.Add([]byte(`{"a":[1,{"b":"\u006d\"}"}],"":-0.0e1}`))
	f.Add([]byte(` [ "\\" , [ ] , {} ] `))
	f.Fuzz(func(t *testing.T, b []byte) {
		if Check(b) != nil {
			return
		}
		i := Space(b, 0)
		if end := Value(b, i); Space(b, end) != len(b) {
			t.Fatalf("the value ends at %d of %d", end, len(b))
		}
		switch b[i] {
		case '[':
			var want []json.RawMessage
			if err := json.Unmarshal(b, &want); err != nil {
				t.Fatal(err)
			}
			n := 0
			for e := range Elements(b, i) {
				if n >= len(want) || !bytes.Equal(e.Of(b), want[n]) {
					t.Fatalf("element %d is %q", n, e.Of(b))
				}
				n++
			}
			if n != len(want) {
				t.Fatalf("%d elements, want %d", n, len(want))
			}
		case '{':
			d := json.NewDecoder(bytes.NewReader(b))
			_, _ = d.Token()
			for m := range Members(b, i) {
				name, _ := d.Token()
				var value json.RawMessage
				if err := d.Decode(&value); err != nil || name != Text(m.Name.Of(b)) || !bytes.Equal(value, m.Value.Of(b)) {
					t.Fatalf("member %q: %q, want %q: %q (%v)", m.Name.Of(b), m.Value.Of(b), name, value, err)
				}
			}
			if d.More() {
				t.Fatal("a member was not seen")
			}
		case '"':
			_ = LoneSurrogate(b[i:Value(b, i)])
		}
	})
}
