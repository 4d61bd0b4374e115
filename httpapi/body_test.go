package httpapi

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stateraft/stateraft/httpapi/internal/jsonscan"
	"github.com/stateraft/stateraft/httpapi/internal/names"
)

// FuzzFields compares the walk over raw JSON with encoding/json: for any body
// that is accepted, the members are those that a map decoder sees, and each
// value is compacted as json.Compact would.
func FuzzFields(f *testing.F) {
	for _, seed := range []string{
		`{}`, ` { } `, `{"value":1}`, `{"ttl":0,"value":{"a":[1,{"b":"}\"]"}],"c":null}}`,
		`{"v\u0061lue" : "x\\", "ttl" : -1e-5 }`, `{"value":"\ud800","ttl":true}`, `{"other":1}`, `{"value":1,"value":2}`,
		`[]`, `{"value":}`, `{"value":1}x`, "{\"value\":\"\xff\"}", "\t{\n\"value\"\r:\n[ ]\n,\"ttl\":[]}\n", `null`, ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var want map[string]json.RawMessage
		decodes := json.Unmarshal(body, &want) == nil && want != nil
		if err := checkObject(body); err != nil {
			if p := (*problem)(nil); !errors.As(err, &p) || p.code != codeInvalidBody || p.message == "" {
				t.Fatalf("error %v", err)
			}
			return
		}
		if !decodes {
			t.Fatalf("accepted what is no object: %q", body)
		}
		got, err := fields(body, "", "value", "ttl")
		if err != nil {
			return
		}
		for i, name := range []string{"value", "ttl"} {
			raw, ok := want[name]
			if ok != (got[i] != nil) || !bytes.Equal(got[i], raw) {
				t.Fatalf("%s = %q, want %q", name, got[i], raw)
			}
			if ok {
				checkValue(t, raw)
			}
		}
		if len(want) > 2 {
			t.Fatalf("accepted unknown members: %q", body)
		}
	})
}

func checkValue(t *testing.T, raw []byte) {
	t.Helper()
	var compacted bytes.Buffer
	if err := json.Compact(&compacted, raw); err != nil {
		t.Fatal(err)
	}
	if got := compact(bytes.Clone(raw)); !bytes.Equal(got, compacted.Bytes()) {
		t.Errorf("compact(%q) = %q, want %q", raw, got, compacted.Bytes())
	}
	if raw[0] == '[' {
		var want []json.RawMessage
		if err := json.Unmarshal(raw, &want); err != nil {
			t.Fatal(err)
		}
		got := elements(raw, len(want))
		if len(got) != len(want) {
			t.Fatalf("elements(%q) = %q", raw, got)
		}
		for i := range want {
			if !bytes.Equal(got[i], want[i]) {
				t.Errorf("element %d of %q = %q, want %q", i, raw, got[i], want[i])
			}
		}
	}
	_, _ = ttl(raw, "ttl")
	if raw[0] == '"' {
		_ = jsonscan.LoneSurrogate(raw)
	}
}

// FuzzOps feeds the decoder of atomic writes.
func FuzzOps(f *testing.F) {
	f.Add([]byte(`[{"op":"set","key":"a","value":1,"ttl":1,"expectedVersion":0},{"op":"delete","key":"b"}]`))
	f.Add([]byte(`[{"op":"check","key":"\ud83d\ude00","expectedVersion":9223372036854775807}]`))
	f.Add([]byte(`[{"op":"check","key":"\ud83d","expectedVersion":1}]`))
	f.Add([]byte(`[[],{},1]`))
	s := &Server{maxValue: 100}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if !utf8.Valid(raw) || !json.Valid(raw) || bytes.TrimSpace(raw)[0] != '[' {
			return // checkObject has refused it
		}
		ops, err := s.parseOps(bytes.TrimSpace(bytes.Clone(raw)))
		if err != nil {
			return
		}
		for _, op := range ops {
			if checkName("key", op.Key, names.MaxKeyBytes) != nil || len(op.Value) > 100 || op.Ttl < 0 || strings.ContainsRune(op.Key, '\uFFFD') && !bytes.Contains(raw, []byte("\uFFFD")) && !bytes.Contains(bytes.ToLower(raw), []byte(`\ufffd`)) {
				t.Fatalf("%q gave %v", raw, op)
			}
		}
	})
}

func TestLoneSurrogates(t *testing.T) {
	tests := []struct {
		raw  string
		want bool
	}{
		{`""`, false},
		{`"plain"`, false},
		{`"\u0041\n\\"`, false},
		{`"\ud83d\ude00"`, false},
		{`"\uD83D\uDE00x"`, false},
		{`"\\ud800"`, false},
		{`"\ufffd"`, false},
		{`"\ud800"`, true},
		{`"\udc00"`, true},
		{`"\ude00\ud83d"`, true},
		{`"\ud800x"`, true},
		{`"\ud800\n"`, true},
		{`"\ud800\ud800\udc00"`, true},
		{`"\ud83d\ude00\ud83d"`, true},
	}
	for _, tt := range tests {
		if got := jsonscan.LoneSurrogate([]byte(tt.raw)); got != tt.want {
			t.Errorf("jsonscan.LoneSurrogate(%s) = %v", tt.raw, got)
		}
	}
}

func TestAppendString(t *testing.T) {
	for _, s := range []string{"", "a", `"\`, "\x00\x1f\n", "é😀\u2028", "<>&", "\x7f"} {
		var got string
		if err := json.Unmarshal(appendString(nil, s), &got); err != nil || got != s {
			t.Errorf("%q became %q, %v", s, got, err)
		}
	}
	if got := string(appendString(nil, "a\xffb")); got != "\"a\uFFFDb\"" {
		t.Errorf("invalid UTF-8 became %q", got)
	}
}

// Ensure a client that sends all of a body before it looks finds the answer, and
// not a connection that was reset.
func TestRefusedBodyIsRead(t *testing.T) {
	x := newAPI(t)
	addr := x.serve()
	body := make([]byte, 6<<20)
	chunked := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body)
	told := fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body)
	for _, tt := range []struct {
		name, path, rest string
		status           int
	}{
		{"too long", valuePath, told, 413},
		{"too long, the connection ends", valuePath, "Connection: close\r\n" + told, 413},
		{"too long, in chunks", valuePath, "Transfer-Encoding: chunked\r\n\r\n" + chunked, 413},
		{"too long, in chunks, the connection ends", valuePath, "Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked, 413},
		{"no such path", "/v1/nothing", "Connection: close\r\n" + told, 404},
		{"a bad name", "/v1/state/wf/..", told, 400},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for range 5 {
				conn, err := net.Dial("tcp", addr)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				if _, err := io.WriteString(conn, "POST "+tt.path+" HTTP/1.1\r\nHost: x\r\n"+tt.rest); err != nil {
					t.Fatal(err)
				}
				resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil {
					t.Fatal(err)
				}
				if resp.StatusCode != tt.status {
					t.Errorf("got %s, want %d", resp.Status, tt.status)
				}
			}
		})
	}
}
