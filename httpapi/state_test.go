package httpapi

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

const valuePath = "/v1/state/wf-1/status"

func TestSetAndGet(t *testing.T) {
	x := newAPI(t)
	a := x.ok(x.post(valuePath, `{"value": {"step": "researching"}, "ttl": 0}`), `{"version":1}`)
	if got := a.header.Get("ETag"); got != `"1"` {
		t.Errorf("ETag of a set = %s", got)
	}
	if got := a.header.Get(headerRevision); got != "1" {
		t.Errorf("revision of a set = %s", got)
	}
	a = x.ok(x.get(valuePath), `{"value":{"step":"researching"},"version":1,"expiresAt":null,"updatedAt":"2026-11-21T12:00:01.000Z"}`)
	for name, want := range map[string]string{
		"ETag": `"1"`, headerRevision: "1", headerNode: "n1", "Content-Type": "application/json",
		"Content-Length": strconv.Itoa(len(a.body)),
	} {
		if got := a.header.Get(name); got != want {
			t.Errorf("%s of a get = %q, want %q", name, got, want)
		}
	}
	x.ok(x.post(valuePath, `{"value":2}`), `{"version":2}`)
}

func TestAbsentKey(t *testing.T) {
	x := newAPI(t)
	x.ok(x.post("/v1/state/wf-1/other", `{"value":1}`), "")
	a := x.refused(x.get(valuePath), 404, "NOT_FOUND")
	if got := a.header.Get(headerRevision); got != "1" {
		t.Errorf("revision of an absent key = %q, want 1", got)
	}
	if a.json["outcome"] != "not_applied" {
		t.Errorf("a read that changed something: %s", a.body)
	}
	x.ok(x.delete(valuePath), `{"deleted":false,"ok":true}`)
}

func TestDelete(t *testing.T) {
	x := newAPI(t)
	x.ok(x.post(valuePath, `{"value":1}`), `{"version":1}`)
	a := x.ok(x.delete(valuePath), `{"deleted":true,"ok":true}`)
	if got := a.header.Get(headerRevision); got != "2" {
		t.Errorf("revision = %s, want 2", got)
	}
	x.refused(x.get(valuePath), 404, "NOT_FOUND")
	x.ok(x.post(valuePath, `{"value":1}`), `{"version":3}`)
	for _, body := range []string{" ", "{}", "\n{ }"} {
		x.ok(x.do("DELETE", valuePath, body), "")
	}
}

func TestTTL(t *testing.T) {
	tests := []struct {
		ttl  string
		want time.Duration // 0: no expiry
	}{
		{"0", 0},
		{"0.0", 0},
		{"-0", 0},
		{"0e5", 0},
		{"60", time.Minute},
		{"6e1", time.Minute},
		{"1.5", 1500 * time.Millisecond},
		{"0.0000001", time.Microsecond}, // rounded up: never to 0, which is "for ever"
		{"1e-400", time.Microsecond},
		{"0.0000015", 2 * time.Microsecond},
		{"9000000000", 9_000_000_000 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.ttl, func(t *testing.T) {
			x := newAPI(t)
			x.ok(x.post(valuePath, `{"value":1,"ttl":`+tt.ttl+`}`), "")
			if got := x.cluster.commands[0].Ops[0].Ttl; got != tt.want.Microseconds() {
				t.Errorf("ttl = %d µs, want %d", got, tt.want.Microseconds())
			}
		})
	}
	if got, err := ttl([]byte("100000000000"), "ttl"); err != nil || got != maxTTLSeconds*1_000_000 {
		t.Errorf("the longest ttl = %d, %v", got, err)
	}
}

func TestExpiry(t *testing.T) {
	x := newAPI(t)
	x.ok(x.post(valuePath, `{"value":1,"ttl":2.5}`), "")
	if got := x.get(valuePath).json["expiresAt"]; got != "2026-11-21T12:00:03.500Z" {
		t.Errorf("expiresAt = %v", got)
	}
	x.cluster.advance(t, 2500*time.Millisecond)
	x.refused(x.get(valuePath), 404, "NOT_FOUND")
	x.ok(x.delete(valuePath), `{"deleted":false,"ok":true}`)
	x.ok(x.post(valuePath, `{"value":1}`), `{"version":3}`)
}

// A set replaces the time to live too.
func TestSetReplacesTTL(t *testing.T) {
	x := newAPI(t)
	x.ok(x.post(valuePath, `{"value":1,"ttl":1}`), "")
	x.ok(x.post(valuePath, `{"value":2}`), "")
	if got := x.get(valuePath).json["expiresAt"]; got != nil {
		t.Errorf("expiresAt = %v, want none", got)
	}
}

// Only white space between tokens goes.
func TestValueBytes(t *testing.T) {
	tests := []struct{ sent, kept string }{
		{`null`, `null`},
		{`true`, `true`},
		{`""`, `""`},
		{`{}`, `{}`},
		{`[]`, `[]`},
		{` [ 1 , 2 ] `, `[1,2]`},
		{"{\n\t\"a\" : \"b c\\n\" ,\r\n \"d\":[ ]\n}", `{"a":"b c\n","d":[]}`},
		{`-0`, `-0`},
		{`1.0`, `1.0`},
		{`1e2`, `1e2`},
		{`1E+02`, `1E+02`},
		{`1e400`, `1e400`},
		{`9007199254740993`, `9007199254740993`},
		{`123456789012345678901234567890.123456789012345678901234567890`, `123456789012345678901234567890.123456789012345678901234567890`},
		{`{"b":1,"a":2}`, `{"b":1,"a":2}`},
		{`{"a":1,"a":2}`, `{"a":1,"a":2}`},
		{`"\u0041\/\u00e9é<>&"`, `"\u0041\/\u00e9é<>&"`},
		{`"\ud800"`, `"\ud800"`},
		{`"\ud83d\ude00 😀"`, `"\ud83d\ude00 😀"`},
		{"\"\u2028\u2029\ufeff\"", "\"\u2028\u2029\ufeff\""},
		{`"\\\" \" { [ , "`, `"\\\" \" { [ , "`},
		{`{"":{"value":1,"ttl":2}}`, `{"":{"value":1,"ttl":2}}`},
		{strings.Repeat("[", 9000) + strings.Repeat("]", 9000), strings.Repeat("[", 9000) + strings.Repeat("]", 9000)},
	}
	for _, tt := range tests {
		t.Run("", func(t *testing.T) {
			x := newAPI(t)
			x.ok(x.post(valuePath, `{"ttl":5,"value":`+tt.sent+`}`), "")
			got := x.ok(x.get(valuePath), "").body
			if !strings.HasPrefix(got, `{"value":`+tt.kept+`,"version":1,`) {
				t.Errorf("sent %.80s, got %.80s", tt.sent, got)
			}
			listed := x.ok(x.get("/v1/state/wf-1?values=true"), "").body
			if !strings.Contains(listed, `"value":`+tt.kept+`,`) {
				t.Errorf("sent %.80s, listed %.80s", tt.sent, listed)
			}
			conflict := x.refused(x.post(valuePath+"/version?returnCurrent=true", `{"value":1,"expectedVersion":9}`), 409, "VERSION_CONFLICT").body
			if !strings.Contains(conflict, `"currentValue":`+tt.kept+`}`) {
				t.Errorf("sent %.80s, in the conflict %.80s", tt.sent, conflict)
			}
		})
	}
}

// Member names may be escaped, as any JSON string.
func TestEscapedMemberName(t *testing.T) {
	x := newAPI(t)
	x.ok(x.post(valuePath, `{"val\u0075e":1,"\u0074tl":5}`), "")
	if got := x.cluster.commands[0].Ops[0].Ttl; got != 5_000_000 {
		t.Errorf("ttl = %d µs", got)
	}
}

func TestVersionedSet(t *testing.T) {
	path := valuePath + "/version"
	x := newAPI(t)
	x.ok(x.post(path, `{"value":1,"expectedVersion":0}`), `{"version":1}`)
	x.ok(x.post(path, `{"value":2,"expectedVersion":1,"ttl":60}`), `{"version":2}`)
	x.ok(x.post(path, `{"value":3,"version":2}`), `{"version":3}`)
	x.ok(x.post(path, `{"value":4,"expected_version":3}`), `{"version":4}`)
	x.ok(x.post(path, `{"value":5,"expected_version":4,"version":4,"expectedVersion":4}`), `{"version":5}`)

	a := x.refused(x.post(path, `{"value":6,"expectedVersion":3}`), 409, "VERSION_CONFLICT")
	if a.number("expectedVersion") != 3 || a.number("currentVersion") != 5 || a.json["outcome"] != "not_applied" {
		t.Errorf("conflict: %s", a.body)
	}
	if _, has := a.json["currentValue"]; has {
		t.Errorf("a value that was not asked for: %s", a.body)
	}
	if got := a.header.Get(headerRevision); got != "5" {
		t.Errorf("revision of a conflict = %q", got)
	}
	x.ok(x.get(valuePath), "")
}

func TestReturnCurrent(t *testing.T) {
	path := valuePath + "/version?returnCurrent=true"
	x := newAPI(t)
	a := x.refused(x.post(path, `{"value":1,"expectedVersion":7}`), 409, "VERSION_CONFLICT")
	if _, has := a.json["currentValue"]; has || a.number("currentVersion") != 0 {
		t.Errorf("conflict with an absent key: %s", a.body)
	}
	x.ok(x.post(valuePath, `{"value":null}`), "")
	a = x.refused(x.post(path, `{"value":1,"expectedVersion":7}`), 409, "VERSION_CONFLICT")
	if !strings.HasSuffix(a.body, `"expectedVersion":7,"currentVersion":1,"currentValue":null}`) {
		t.Errorf("conflict: %s", a.body)
	}
	a = x.refused(x.post(valuePath+"?returnCurrent=false", `{"value":1}`, headerIfMatch, `"7"`), 412, "VERSION_CONFLICT")
	if _, has := a.json["currentValue"]; has {
		t.Errorf("returnCurrent=false: %s", a.body)
	}
}

// A set whose conflict cannot be read afterwards is still a conflict.
func TestReturnCurrentWithoutLeader(t *testing.T) {
	x := newAPI(t)
	x.ok(x.post(valuePath, `{"value":1}`), "")
	x.cluster.readErr = errFake
	a := x.refused(x.post(valuePath+"/version?returnCurrent=true", `{"value":1,"expectedVersion":7}`), 409, "VERSION_CONFLICT")
	if _, has := a.json["currentValue"]; has || a.number("currentVersion") != 1 {
		t.Errorf("conflict: %s", a.body)
	}
}

func TestConditions(t *testing.T) {
	const absent, present = false, true
	tests := []struct {
		method, header, value string
		exists                bool // the key, at version 2
		want                  int
	}{
		{"POST", headerIfMatch, `"2"`, present, 200},
		{"POST", headerIfMatch, `"1"`, present, 412},
		{"POST", headerIfMatch, `"2"`, absent, 412},
		{"POST", headerIfMatch, `"0"`, absent, 200}, // the same check as expectedVersion 0
		{"POST", headerIfMatch, `"0"`, present, 412},
		{"POST", headerIfMatch, `*`, present, 200},
		{"POST", headerIfMatch, `*`, absent, 412},
		{"POST", headerIfNoneMatch, `*`, absent, 200},
		{"POST", headerIfNoneMatch, `*`, present, 412},
		{"DELETE", headerIfMatch, `"2"`, present, 200},
		{"DELETE", headerIfMatch, `"1"`, present, 412},
		{"DELETE", headerIfMatch, `"2"`, absent, 412},
		{"DELETE", headerIfMatch, `*`, present, 200},
		{"DELETE", headerIfMatch, `*`, absent, 412},
		{"DELETE", headerIfNoneMatch, `*`, present, 412},
		{"DELETE", headerIfNoneMatch, `*`, absent, 200},
	}
	for _, tt := range tests {
		name := tt.method + " " + tt.header + " " + tt.value + " exists=" + strconv.FormatBool(tt.exists)
		t.Run(name, func(t *testing.T) {
			x := newAPI(t)
			if tt.exists {
				x.ok(x.post(valuePath, `{"value":1}`), "")
				x.ok(x.post(valuePath, `{"value":1}`), "")
			}
			before, body := x.revision(), ""
			if tt.method == "POST" {
				body = `{"value":3}`
			}
			a := x.do(tt.method, valuePath, body, tt.header, tt.value)
			if tt.want == 200 {
				x.ok(a, "")
				return
			}
			x.refused(a, 412, "VERSION_CONFLICT")
			if want := map[bool]int{present: 2, absent: 0}[tt.exists]; a.number("currentVersion") != want {
				t.Errorf("currentVersion: %s, want %d", a.body, want)
			}
			if tt.value == "*" && tt.header == headerIfMatch {
				if _, has := a.json["expectedVersion"]; has {
					t.Errorf("expectedVersion without one: %s", a.body)
				}
			}
			if x.revision() != before {
				t.Error("a refused write changed the state")
			}
		})
	}
}

func TestNotModified(t *testing.T) {
	x := newAPI(t)
	x.ok(x.post(valuePath, `{"value":1}`), "")
	tests := []struct {
		header string
		want   int
	}{
		{`"1"`, 304}, {`W/"1"`, 304}, {`"7", "1"`, 304}, {`*`, 304},
		{`"2"`, 200}, {`1`, 200}, {`nonsense`, 200}, {`"7","8"`, 200},
	}
	for _, tt := range tests {
		a := x.get(valuePath, headerIfNoneMatch, tt.header)
		if a.status != tt.want {
			t.Errorf("If-None-Match: %s gave %d, want %d", tt.header, a.status, tt.want)
		}
		if a.header.Get("ETag") != `"1"` || a.header.Get(headerRevision) != "1" {
			t.Errorf("headers of %d: %v", a.status, a.header)
		}
		if a.status == 304 && a.body != "" {
			t.Errorf("304 with a body: %s", a.body)
		}
	}
	x.refused(x.get("/v1/state/wf-1/absent", headerIfNoneMatch, "*"), 404, "NOT_FOUND")
}

// A restore lets a version come again with another value: the key was at 2 in
// the history that it ended, too.
func TestNotModifiedAfterRestore(t *testing.T) {
	for _, of := range []struct{ method, path string }{{"POST", valuePath}, {"PUT", agentPath}} {
		x := newAPI(t)
		x.ok(x.as("s", of.method, of.path, `{"value":1}`), "")
		backup := x.ok(x.get("/v1/backup"), "").body
		x.ok(x.as("s", of.method, of.path, `{"value":"before"}`), "")
		seen := x.as("s", "GET", of.path, "").header.Get("ETag")
		x.ok(x.post("/v1/restore?force=true", backup), "")
		x.ok(x.as("s", of.method, of.path, `{"value":"after"}`), "")
		a := x.ok(x.as("s", "GET", of.path, "", headerIfNoneMatch, seen), "")
		if a.json["value"] == nil || a.header.Get("ETag") != seen {
			t.Errorf("%s with version %s from before: %d %v %s", of.path, seen, a.status, a.header, a.body)
		}
		if a := x.as("s", "GET", of.path, "", headerIfNoneMatch, "*"); a.status != http.StatusNotModified {
			t.Errorf("%s with *: %d", of.path, a.status)
		}
	}
}

func TestWorkflowsAreApart(t *testing.T) {
	x := newAPI(t)
	x.ok(x.post("/v1/state/a/k", `{"value":"in a"}`), "")
	x.refused(x.get("/v1/state/b/k"), 404, "NOT_FOUND")
	x.ok(x.get("/v1/state/b"), `{"keys":[]}`)
}
