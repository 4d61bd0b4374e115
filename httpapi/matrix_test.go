package httpapi

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// A bad is one bad input: what is sent, and how it is refused. Messages must
// mention the member and the rule.
type bad struct {
	name    string
	method  string
	path    string
	body    string
	headers []string
	status  int
	code    string
	mention []string
}

// TestBadInput sends every bad input to every route that could take it. None
// changes the state.
func TestBadInput(t *testing.T) {
	x := newAPI(t)
	x.ok(x.post("/v1/state/wf/k", `{"value":1}`), "")
	var all []bad
	for _, rt := range x.server.table {
		if rt.proxied {
			continue // what it takes is for its upstream to say
		}
		bads := slices.Concat(badPaths(rt), badQueries(rt), badHeaders(rt), badBodies(rt))
		if rt.form == agentForm {
			bads = asAgent(bads)
		}
		all = append(all, bads...)
	}
	all = append(all, badSets...)
	all = append(all, badPuts()...)
	all = append(all, badOps()...)
	for _, b := range all {
		t.Run(b.method+" "+short(b.path)+" "+b.name, func(t *testing.T) { b.check(t, x) })
	}
	if len(all) < 400 {
		t.Errorf("only %d bad inputs: the route table has been missed", len(all))
	}
}

func (b bad) check(t *testing.T, x *api) {
	before := x.revision()
	a := x.do(b.method, b.path, b.body, b.headers...)
	if a.status != b.status || a.json["error"] != b.code || a.json["code"] != codeMember(b.code) {
		t.Fatalf("got %d %.300s, want %d %s", a.status, a.body, b.status, b.code)
	}
	message, _ := a.json["message"].(string)
	for _, want := range b.mention {
		if !strings.Contains(message, want) {
			t.Errorf("message %q does not mention %q", message, want)
		}
	}
	if len(message) > 400 {
		t.Errorf("a message of %d bytes", len(message))
	}
	if a.json["outcome"] != "not_applied" {
		t.Errorf("outcome = %v, want not_applied", a.json["outcome"])
	}
	if a.header.Get(headerNode) == "" || a.header.Get("Content-Type") != "application/json" {
		t.Errorf("headers: %v", a.header)
	}
	if x.revision() != before || len(x.cluster.commands) > 1 {
		t.Error("a refused request reached the state")
	}
}

// goodBody is a body that the route takes.
func goodBody(rt *route) string {
	switch {
	case rt.pattern == "/v1/keys" && rt.method == "POST":
		return `{"scopes":["state:read"]}`
	case strings.HasSuffix(rt.pattern, "/version"):
		return `{"value":1,"expectedVersion":1}`
	case isKey(rt) && (rt.method == "POST" || rt.method == "PUT"):
		return `{"value":1}`
	case strings.HasSuffix(rt.pattern, ":workflow") && rt.method == "POST":
		return `{"ops":[{"op":"set","key":"k","value":1}]}`
	}
	return ""
}

func takesKeys(rt *route) bool  { return strings.Contains(rt.pattern, "/v1/state") }
func takesKey(rt *route) bool   { return strings.Contains(rt.pattern, "key") }
func isKey(rt *route) bool      { return strings.HasSuffix(rt.pattern, "key") }
func isRead(rt *route) bool     { return takesKeys(rt) && rt.method == "GET" }
func isKeyWrite(rt *route) bool { return takesKeys(rt) && rt.method != "GET" }

func fill(rt *route, workflow, key string) string {
	id := "n2"
	if strings.HasPrefix(rt.pattern, "/v1/keys") {
		id = "aaaaaaaaaaaa"
	}
	return strings.NewReplacer(":workflow", workflow, ":key", key, "*key", key, ":id", id).Replace(rt.pattern)
}

// badNames each break one rule about names.
var badNames = []struct {
	name, escaped, mention string
}{
	{"dot", ".", `must not be "."`},
	{"dots", "..", `must not be ".."`},
	{"escaped dots", "%2e%2E", `must not be ".."`},
	{"empty", "", "must not be empty"},
	{"invalid UTF-8", "a%ffb", "valid UTF-8"},
	{"half a rune", "%c3", "valid UTF-8"},
	{"surrogate", "%ed%a0%80", "valid UTF-8"},
	{"NUL", "%00", "control characters"},
	{"line feed", "a%0Ab", "control characters"},
	{"DEL", "a%7f", "control characters"},
	{"C1", "a%c2%85", "control characters"},
}

func badPaths(rt *route) (bads []bad) {
	if !takesKeys(rt) {
		return nil
	}
	if rt.form == agentForm {
		return badAgentNames(rt)
	}
	add := func(name, path, what, mention string) {
		bads = append(bads, bad{"path: " + what + " " + name, rt.method, path, goodBody(rt), nil, 400, "INVALID_KEY", []string{what, mention}})
	}
	for _, n := range badNames {
		// An empty last segment is a trailing slash: another path.
		if n.escaped != "" || takesKey(rt) {
			add(n.name, fill(rt, n.escaped, "k"), "workflow", n.mention)
		}
		if takesKey(rt) && (n.escaped != "" || strings.HasSuffix(rt.pattern, "/version")) {
			add(n.name, fill(rt, "wf", n.escaped), "key", n.mention)
		}
	}
	add("too long", fill(rt, strings.Repeat("w", 257), "k"), "workflow", "at most 256 bytes, not 257")
	if takesKey(rt) {
		add("too long", fill(rt, "wf", strings.Repeat("%2F", 513)), "key", "at most 512 bytes, not 513")
		add("too long in bytes", fill(rt, "wf", strings.Repeat("é", 257)), "key", "at most 512 bytes, not 514")
	}
	return bads
}

func badQueries(rt *route) (bads []bad) {
	add := func(query string, mention ...string) {
		path := fill(rt, "wf", "k") + "?" + query
		bads = append(bads, bad{"query", rt.method, path, goodBody(rt), nil, 400, "INVALID_REQUEST", mention})
	}
	add("prefx=a", "unknown query parameter", `"prefx"`)
	add("Limit=1", "unknown query parameter", `"Limit"`)
	add("=", "unknown query parameter", `""`)
	add("a=%zz", "query string", "malformed")
	add("a=1;b=2", "query string", "semicolon")
	add(strings.Repeat("x", 5000)+"=1", "unknown query parameter")
	for _, name := range rt.query {
		add(name+"=a&"+name+"=a", name, "more than once")
	}
	if isRead(rt) {
		for _, v := range []string{"", "strong", "Stale", "stale%20"} {
			add("consistency="+v, "consistency", "linearizable or stale")
		}
	} else if !slices.Contains(rt.query, queryConsistency) {
		add("consistency=stale", "unknown query parameter")
	}
	if slices.Contains(rt.query, queryReturnCurrent) {
		for _, v := range []string{"", "yes", "1", "TRUE"} {
			add("returnCurrent="+v, "returnCurrent", "true or false")
		}
	}
	if slices.Contains(rt.query, queryForce) {
		for _, v := range []string{"", "yes", "1"} {
			add("force="+v, "force", "true or false")
		}
	}
	if strings.HasSuffix(rt.pattern, "/stream") {
		for _, v := range []string{"", "yes", "1"} {
			add("snapshot="+v, "snapshot", "true or false")
		}
		for _, v := range []string{"", "-1", "x"} {
			add("lastEventId="+v, "lastEventId", "integer from 0")
		}
	}
	if slices.Contains(rt.query, "prefix") {
		bads = append(bads, badLists(rt)...)
	}
	return bads
}

func badLists(rt *route) (bads []bad) {
	add := func(query string, mention ...string) {
		bads = append(bads, bad{"list", rt.method, fill(rt, "wf", "") + "?" + query, "", nil, 400, "INVALID_REQUEST", mention})
	}
	for _, v := range []string{"", "0", "-1", "+1", "1.0", "1e1", "x", "99999999999999999999"} {
		add("limit="+v, "limit", "integer from 1")
	}
	if rt.form == agentForm {
		add("limit=10001", "limit", "at most 10000")
	} else {
		add("values=true&limit=10001", "limit", "at most 10000")
		for _, name := range []string{"reverse", "values"} {
			add(name+"=", name, "true or false")
			add(name+"=yes", name, "true or false")
		}
		add("keys=", "keys", "names or objects")
		add("keys=values", "keys", "names or objects")
	}
	for _, name := range []string{"prefix", "after"} {
		add(name+"=%ff", name, "valid UTF-8")
		add(name+"=a%00", name, "control characters")
		add(name+"="+strings.Repeat("a", 513), name, "at most 512 bytes, not 513")
	}
	return bads
}

func badHeaders(rt *route) (bads []bad) {
	add := func(name string, headers []string, mention ...string) {
		bads = append(bads, bad{"header " + name, rt.method, fill(rt, "wf", "k"), goodBody(rt), headers, 400, "INVALID_REQUEST", mention})
	}
	if strings.Contains(rt.pattern, "/v1/") {
		for _, v := range []string{"", "0", "-1", "60.001", "61", "1e400", "NaN", "Inf", "x", "5s"} {
			add("timeout "+v, []string{headerTimeout, v}, headerTimeout, "above 0 and at most 60")
		}
		add("timeout twice", []string{headerTimeout, "1", headerTimeout, "1"}, headerTimeout, "more than once")
	}
	if isRead(rt) {
		for _, v := range []string{"", "-1", "1.5", "x", "0x1", "18446744073709551616"} {
			add("min revision "+v, []string{headerMinRevision, v}, headerMinRevision, "integer from 0")
		}
		add("min revision twice", []string{headerMinRevision, "1", headerMinRevision, "2"}, headerMinRevision, "more than once")
	}
	if strings.HasSuffix(rt.pattern, "/stream") {
		for _, v := range []string{"-1", "1.5", "x", "0x1", "1,2", "18446744073709551616"} {
			add("last event id "+v, []string{headerLastEventID, v}, headerLastEventID, "integer from 0")
		}
		add("last event id twice", []string{headerLastEventID, "1", headerLastEventID, "2"}, headerLastEventID, "more than once")
	}
	if isKeyWrite(rt) {
		for _, v := range []string{"", "a b", "é", "a\x7f", strings.Repeat("k", 256)} {
			add("idempotency key "+short(v), []string{headerIdempotency, v}, headerIdempotency, "1 to 255 visible ASCII")
		}
		add("idempotency key twice", []string{headerIdempotency, "a", headerIdempotency, "a"}, headerIdempotency, "more than once")
		bads = append(bads, badConditions(rt)...)
	}
	return bads
}

func badConditions(rt *route) (bads []bad) {
	add := func(headers []string, mention ...string) {
		bads = append(bads, bad{fmt.Sprint(headers), rt.method, fill(rt, "wf", "k"), goodBody(rt), headers, 400, "INVALID_REQUEST", mention})
	}
	if !isKey(rt) { // the condition is in the body
		add([]string{headerIfMatch, `"1"`}, headerIfMatch, "beside expectedVersion")
		add([]string{headerIfNoneMatch, `*`}, headerIfNoneMatch, "beside expectedVersion")
		return bads
	}
	for _, v := range []string{"", "1", `"1`, `1"`, `"`, `W/"1"`, "**"} {
		add([]string{headerIfMatch, v}, headerIfMatch, "one version in double quotes")
	}
	for _, v := range []string{`""`, `"a"`, `"-1"`, `"1", "2"`, `"1.0"`, `"9223372036854775808"`} {
		add([]string{headerIfMatch, v}, headerIfMatch, "integer from 0")
	}
	for _, v := range []string{"", `"1"`, "1", `*, "1"`} {
		add([]string{headerIfNoneMatch, v}, headerIfNoneMatch, "must be *")
	}
	add([]string{headerIfMatch, `"1"`, headerIfMatch, `"2"`}, headerIfMatch, "more than once")
	add([]string{headerIfNoneMatch, `*`, headerIfNoneMatch, `*`}, headerIfNoneMatch, "more than once")
	add([]string{headerIfMatch, `"1"`, headerIfNoneMatch, `*`}, headerIfMatch, headerIfNoneMatch, "exclude each other")
	return bads
}

// badBodies are those that every route with a body refuses.
func badBodies(rt *route) (bads []bad) {
	if rt.method == "GET" || rt.pattern == "/v1/restore" { // whose body is no JSON
		return nil
	}
	const one = "the body must be one JSON object"
	add := func(name, body string, mention ...string) {
		bads = append(bads, bad{"body: " + name, rt.method, fill(rt, "wf", "k"), body, nil, 400, "INVALID_REQUEST", mention})
	}
	good := goodBody(rt)
	if good != "" { // else it may be absent
		add("empty", "", one, "unexpected end")
		add("white space", " \n", one, "unexpected end")
	} else {
		good = "{}"
	}
	add("cut", good[:len(good)-1], one, "unexpected end")
	add("trailing object", good+"{}", one, "after top-level value")
	add("trailing comma", good+",", one, "after top-level value")
	add("array", "["+good+"]", one, "not an array")
	add("string", `"x"`, one, "not a string")
	add("number", `1`, one, "not a number")
	add("null", `null`, one, "not null")
	add("boolean", `true`, one, "not a boolean")
	add("not JSON", `value=1`, one, "invalid character")
	add("single quotes", `{'value':1}`, one, "invalid character")
	add("comment", `{} // why`, one, "after top-level value")
	add("byte order mark", "\ufeff"+good, one, "invalid character")
	add("control character in a string", "{\"value\":\"a\nb\"}", one, "invalid character")
	add("leading zero", `{"value":01}`, one, "invalid character")
	add("NaN", `{"value":NaN}`, one, "invalid character")
	add("invalid UTF-8", "{\"value\":\"\xff\"}", "the body must be valid UTF-8")
	add("UTF-16 surrogate in UTF-8", "{\"value\":\"\xed\xa0\x80\"}", "the body must be valid UTF-8")
	add("too deep", `{"value":`+strings.Repeat("[", 10_001)+strings.Repeat("]", 10_001)+`}`, one, "max depth")
	add("unknown member", strings.Replace(good, "{", `{"tttl":5`+comma(good), 1), "unknown member", `"tttl"`)
	add("member in another case", `{"Value":1}`, "unknown member", `"Value"`)
	add("long unknown member", `{"`+strings.Repeat("x", 5000)+`":1}`, "unknown member")
	if strings.HasSuffix(rt.pattern, "/transfer") {
		add("not a string", `{"to":1}`, "to must be a string, not a number")
		add("twice", `{"to":"a","to":"a"}`, "to is given more than once")
	}
	return bads
}

func comma(object string) string {
	if object == "{}" {
		return ""
	}
	return ","
}

// badSets are bad values, times to live and versions in the bodies of sets.
var badSets = slices.Concat(
	each("POST", "/v1/state/wf/k", "", badSetMembers),
	each("POST", "/v1/state/wf/k/version", `,"expectedVersion":1`, badSetMembers),
	each("POST", "/v1/state/wf/k", "", []bad{
		{"version on a plain set", "", "", `"value":1,"version":1`, nil, 400, "INVALID_REQUEST", []string{"unknown member", `"version"`}},
		{"expectedVersion on a plain set", "", "", `"value":1,"expectedVersion":1`, nil, 400, "INVALID_REQUEST", []string{"unknown member", `"expectedVersion"`}},
	}),
	each("POST", "/v1/state/wf/k/version", "", badVersions()),
)

var badSetMembers = []bad{
	{"no value", "", "", `"ttl":1`, nil, 400, "VALUE_REQUIRED", []string{"value is required"}},
	{"value twice", "", "", `"value":1,"value":1`, nil, 400, "INVALID_REQUEST", []string{"value is given more than once"}},
	{"value twice, once escaped", "", "", `"value":1,"v\u0061lue":1`, nil, 400, "INVALID_REQUEST", []string{"value is given more than once"}},
	{"ttl twice", "", "", `"value":1,"ttl":1,"ttl":1`, nil, 400, "INVALID_REQUEST", []string{"ttl is given more than once"}},
	{"ttl null", "", "", `"value":1,"ttl":null`, nil, 400, "INVALID_TTL", []string{"ttl must be a number of seconds, not null"}},
	{"ttl string", "", "", `"value":1,"ttl":"60"`, nil, 400, "INVALID_TTL", []string{"ttl must be a number of seconds, not a string"}},
	{"ttl boolean", "", "", `"value":1,"ttl":true`, nil, 400, "INVALID_TTL", []string{"ttl must be a number of seconds, not a boolean"}},
	{"ttl array", "", "", `"value":1,"ttl":[1]`, nil, 400, "INVALID_TTL", []string{"ttl must be a number of seconds, not an array"}},
	{"ttl object", "", "", `"value":1,"ttl":{}`, nil, 400, "INVALID_TTL", []string{"ttl must be a number of seconds, not an object"}},
	{"ttl negative", "", "", `"value":1,"ttl":-1`, nil, 400, "INVALID_TTL", []string{"ttl must be from 0", "100000000000 seconds"}},
	{"ttl a little negative", "", "", `"value":1,"ttl":-1e-300`, nil, 400, "INVALID_TTL", []string{"ttl must be from 0"}},
	{"ttl hardly negative", "", "", `"value":1,"ttl":-1e-400`, nil, 400, "INVALID_TTL", []string{"ttl must be from 0"}},
	{"ttl too long", "", "", `"value":1,"ttl":100000000001`, nil, 400, "INVALID_TTL", []string{"ttl must be from 0", "100000000000 seconds"}},
	{"ttl beyond floats", "", "", `"value":1,"ttl":1e400`, nil, 400, "INVALID_TTL", []string{"ttl must be from 0"}},
}

func badVersions() (bads []bad) {
	for _, name := range versionNames {
		for _, v := range []string{"null", `"1"`, "true", "[1]", "{}", "-1", "-0", "1.0", "1e2", "9223372036854775808", "1e400"} {
			bads = append(bads, bad{name + " " + v, "", "", `"value":1,"` + name + `":` + v, nil, 400, "INVALID_REQUEST",
				[]string{name, "integer from 0 (absent) to 9223372036854775807"}})
		}
		bads = append(bads, bad{name + " twice", "", "", `"value":1,"` + name + `":1,"` + name + `":1`, nil, 400, "INVALID_REQUEST",
			[]string{name + " is given more than once"}})
	}
	return append(bads,
		bad{"no version", "", "", `"value":1`, nil, 400, "INVALID_REQUEST", []string{"expectedVersion is required"}},
		bad{"two that disagree", "", "", `"value":1,"expectedVersion":1,"version":2`, nil, 400, "INVALID_REQUEST", []string{"expectedVersion and version disagree"}},
		bad{"two aliases that disagree", "", "", `"value":1,"expected_version":1,"version":2`, nil, 400, "INVALID_REQUEST", []string{"version and expected_version disagree"}},
	)
}

// each sends the bads' members, and then rest, to a path.
func each(method, path, rest string, bads []bad) []bad {
	out := slices.Clone(bads)
	for i := range out {
		out[i].method, out[i].path, out[i].body = method, path, "{"+out[i].body+rest+"}"
	}
	return out
}

func badOps() (bads []bad) {
	add := func(name, body string, code string, mention ...string) {
		bads = append(bads, bad{"atomic: " + name, "POST", "/v1/state/wf", body, nil, 400, code, mention})
	}
	// second is an operation that stands behind a good one.
	second := func(name, op, code string, mention ...string) {
		add(name, `{"ops":[{"op":"set","key":"good","value":1},`+op+`]}`, code, mention...)
	}
	const invalid = "INVALID_REQUEST"
	add("no ops", `{}`, invalid, "ops is required")
	add("ops null", `{"ops":null}`, invalid, "ops must be an array, not null")
	add("ops object", `{"ops":{}}`, invalid, "ops must be an array, not an object")
	add("ops twice", `{"ops":[],"ops":[]}`, invalid, "ops is given more than once")
	add("ops empty", `{"ops":[ ]}`, invalid, "ops must hold 1 to 128 operations")
	add("ops too many", `{"ops":[`+manyOps(129)+`]}`, invalid, "ops must hold 1 to 128 operations")
	second("not an object", `[]`, invalid, "ops[1] must be an object, not an array")
	second("empty object", `{}`, invalid, "ops[1].op is required")
	second("no op", `{"key":"k","value":1}`, invalid, "ops[1].op is required")
	second("op unknown", `{"op":"merge","key":"k"}`, invalid, "ops[1].op must be set, delete or check", `"merge"`)
	second("op in another case", `{"op":"SET","key":"k","value":1}`, invalid, "ops[1].op must be set, delete or check")
	second("op number", `{"op":1,"key":"k"}`, invalid, "ops[1].op must be a string, not a number")
	second("op twice", `{"op":"set","op":"set","key":"k","value":1}`, invalid, "ops[1].op is given more than once")
	second("no key", `{"op":"set","value":1}`, invalid, "ops[1].key is required")
	second("key number", `{"op":"set","key":1,"value":1}`, invalid, "ops[1].key must be a string, not a number")
	second("key null", `{"op":"set","key":null,"value":1}`, invalid, "ops[1].key must be a string, not null")
	second("key empty", `{"op":"set","key":"","value":1}`, "INVALID_KEY", "ops[1].key must not be empty")
	second("key dots", `{"op":"set","key":"..","value":1}`, "INVALID_KEY", "ops[1].key must not be")
	second("key NUL", `{"op":"set","key":"\u0000","value":1}`, "INVALID_KEY", "ops[1].key must not hold control")
	second("key too long", `{"op":"set","key":"`+strings.Repeat("k", 513)+`","value":1}`, "INVALID_KEY", "ops[1].key must be at most 512 bytes, not 513")
	second("key half a surrogate pair", `{"op":"set","key":"a\ud800","value":1}`, "INVALID_KEY", "ops[1].key must be valid Unicode")
	second("key twice", `{"op":"delete","key":"g\u006fod"}`, invalid, "ops[1].key is the same as ops[0].key")
	second("unknown member", `{"op":"set","key":"k","value":1,"version":1}`, invalid, "unknown member", `"ops[1].version"`)
	second("set without value", `{"op":"set","key":"k"}`, "VALUE_REQUIRED", "ops[1].value is required")
	second("set with bad ttl", `{"op":"set","key":"k","value":1,"ttl":-1}`, "INVALID_TTL", "ops[1].ttl must be from 0")
	second("set with null ttl", `{"op":"set","key":"k","value":1,"ttl":null}`, "INVALID_TTL", "ops[1].ttl must be a number")
	second("set with bad version", `{"op":"set","key":"k","value":1,"expectedVersion":-1}`, invalid, "ops[1].expectedVersion must be an integer")
	second("set with null version", `{"op":"set","key":"k","value":1,"expectedVersion":null}`, invalid, "ops[1].expectedVersion must be an integer")
	second("delete with value", `{"op":"delete","key":"k","value":1}`, invalid, "ops[1].value", "for set only")
	second("delete with ttl", `{"op":"delete","key":"k","ttl":1}`, invalid, "ops[1].ttl", "for set only")
	second("check with value", `{"op":"check","key":"k","value":1,"expectedVersion":1}`, invalid, "ops[1].value", "for set only")
	second("check without version", `{"op":"check","key":"k"}`, invalid, "ops[1].expectedVersion is required for check")
	return bads
}

func manyOps(n int) string {
	ops := make([]string, n)
	for i := range ops {
		ops[i] = fmt.Sprintf(`{"op":"set","key":"k%d","value":%d}`, i, i)
	}
	return strings.Join(ops, ",")
}

func short(s string) string {
	if len(s) > 60 {
		return s[:60] + "…"
	}
	return s
}

// Every limit: what is just inside is taken, what is just outside refused.
func TestLimits(t *testing.T) {
	const maxValue = 100
	set := func(value string) string { return `{"value":` + value + `}` }
	str := func(n int) string { return `"` + strings.Repeat("v", n-2) + `"` } // of n bytes
	tests := []struct {
		name         string
		method, path string
		body         string
		want         int
	}{
		{"workflow", "POST", "/v1/state/" + strings.Repeat("w", 256) + "/k", set("1"), 200},
		{"key", "POST", "/v1/state/wf/" + strings.Repeat("é", 256), set("1"), 200},
		{"value", "POST", "/v1/state/wf/k", set(str(maxValue)), 200},
		{"value over", "POST", "/v1/state/wf/k", set(str(maxValue + 1)), 413},
		{"value with white space", "POST", "/v1/state/wf/k", set("[" + strings.Repeat(" ", 5000) + "]"), 200},
		{"versioned value", "POST", "/v1/state/wf/new/version", `{"expectedVersion":0,"value":` + str(maxValue) + `}`, 200},
		{"versioned value over", "POST", "/v1/state/wf/new2/version", `{"expectedVersion":0,"value":` + str(maxValue+1) + `}`, 413},
		{"body", "POST", "/v1/state/wf/k", pad(set("1"), maxValue+bodySlack), 200},
		{"body over", "POST", "/v1/state/wf/k", pad(set("1"), maxValue+bodySlack+1), 413},
		{"ops", "POST", "/v1/state/wf", `{"ops":[` + manyOps(128) + `]}`, 200},
		{"value of an op", "POST", "/v1/state/wf", `{"ops":[{"op":"set","key":"k","value":` + str(maxValue) + `}]}`, 200},
		{"value of an op over", "POST", "/v1/state/wf", `{"ops":[{"op":"set","key":"k","value":` + str(maxValue+1) + `}]}`, 413},
		{"atomic body", "POST", "/v1/state/wf", pad(`{"ops":[{"op":"delete","key":"k"}]}`, 4<<20), 200},
		{"atomic body over", "POST", "/v1/state/wf", pad(`{"ops":[{"op":"delete","key":"k"}]}`, 4<<20+1), 413},
		{"small body", "DELETE", "/v1/state/wf/k", pad("{}", maxSmallBody), 200},
		{"small body over", "DELETE", "/v1/state/wf/k", pad("{}", maxSmallBody+1), 413},
		{"list limit", "GET", "/v1/state/wf?values=true&limit=10000", "", 200},
		{"list limit without values", "GET", "/v1/state/wf?limit=10001", "", 200},
		{"prefix", "GET", "/v1/state/wf?prefix=" + strings.Repeat("a", 512), "", 200},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x := newAPI(t, func(c *Config) { c.MaxValueBytes = maxValue })
			a := x.do(tt.method, tt.path, tt.body)
			if tt.want == 200 {
				x.ok(a, "")
				return
			}
			x.refused(a, 413, "TOO_LARGE")
			if message := a.json["message"].(string); !strings.Contains(message, "at most") {
				t.Errorf("message %q does not tell the limit", message)
			}
			if a.json["outcome"] != "not_applied" || x.revision() != 0 {
				t.Errorf("outcome %v, revision %d", a.json["outcome"], x.revision())
			}
		})
	}
	x := newAPI(t)
	x.ok(x.post(valuePath, set(str(DefaultMaxValueBytes))), "")
	x.refused(x.post(valuePath, set(str(DefaultMaxValueBytes+1))), 413, "TOO_LARGE")
	x.ok(x.post(valuePath, set("1"), headerIdempotency, strings.Repeat("~", 255)), "")
	x.ok(x.post(valuePath, set("1"), headerTimeout, "60"), "")
	x.ok(x.get(valuePath, headerTimeout, "0.000001"), "")
}

// pad makes body n bytes long with white space.
func pad(body string, n int) string { return body + strings.Repeat(" ", n-len(body)) }

// A body without a length is bounded as it is read.
func TestChunkedBody(t *testing.T) {
	x := newAPI(t, func(c *Config) { c.MaxValueBytes = 100 })
	send := func(body string) answer {
		return x.do("POST", valuePath, body, "Transfer-Encoding", "chunked")
	}
	x.ok(send(pad(`{"value":1}`, 100+bodySlack)), "")
	x.refused(send(pad(`{"value":1}`, 101+bodySlack)), 413, "TOO_LARGE")
}
