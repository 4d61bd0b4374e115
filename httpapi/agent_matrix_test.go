package httpapi

import (
	"slices"
	"strings"
)

// asAgent turns bad inputs of the State Store into those of Agent State.
func asAgent(bads []bad) []bad {
	for i := range bads {
		b := &bads[i]
		if !slices.Contains(b.headers, "X-Subject-ID") {
			b.headers = append([]string{"X-Subject-ID", "user_123"}, b.headers...)
		}
		if b.code = agentCode(b.code); strings.HasPrefix(b.name, "body: ") && slices.ContainsFunc(b.mention, ofWholeBody) {
			b.code = codeInvalidBody.agent
		}
	}
	return bads
}

func ofWholeBody(mention string) bool { return strings.HasPrefix(mention, "the body must be") }

func agentCode(name string) string {
	if name == codeInvalidTTL.name {
		return codeInvalidTTL.agent
	}
	return strings.ToLower(name)
}

// badAgentNames are bad keys, subjects and sessions.
func badAgentNames(rt *route) (bads []bad) {
	add := func(name, key, subject, code string, headers []string, mention ...string) {
		if subject != "" {
			headers = append([]string{"X-Subject-ID", subject}, headers...)
		}
		bads = append(bads, bad{name, rt.method, fill(rt, "", key), goodBody(rt), headers, 400, code, mention})
	}
	for _, n := range badNames {
		if takesKey(rt) {
			add("key: "+n.name, n.escaped, "s", "INVALID_KEY", nil, "key", n.mention)
		}
	}
	if takesKey(rt) {
		for _, dots := range []string{"a/./b", "a/..", "../a", "a/%2e/b", "a/.%2E/b"} {
			add("key: dots", dots, "s", "INVALID_KEY", nil, "path segment", "%2F")
		}
		add("key: too long", strings.Repeat("/", 513), "s", "INVALID_KEY", nil, "key", "at most 512 bytes, not 513")
	}
	for subject, mention := range map[string]string{
		".": `must not be "."`, "..": `must not be ".."`, "a\xff": "valid UTF-8", "a\x01": "control characters",
		"a\u0085": "control characters", strings.Repeat("s", 257): "at most 256 bytes, not 257",
	} {
		add("subject "+short(subject), "k", subject, "INVALID_KEY", nil, "X-Subject-ID", mention)
	}
	add("subject twice", "k", "a", "INVALID_REQUEST", []string{"X-Subject-ID", "b"}, "X-Subject-Id", "more than once")
	return bads
}

// badPuts are bad values, times to live, sessions and subjects of a put.
func badPuts() []bad {
	const path = "/api/v1/state/k"
	bads := slices.Clone(badSetMembers)
	for i := range bads {
		b := &bads[i]
		b.body = strings.ReplaceAll(b.body, `"ttl"`, `"ttl_seconds"`)
		b.mention = slices.Clone(b.mention)
		for j, m := range b.mention {
			b.mention[j] = strings.Replace(m, "ttl ", "ttl_seconds ", 1)
		}
	}
	bads = slices.DeleteFunc(bads, func(b bad) bool { return b.name == "ttl null" }) // the published client's
	bads = asAgent(each("PUT", path, "", append(bads,
		bad{"ttl", "", "", `"value":1,"ttl":1`, nil, 400, "INVALID_REQUEST", []string{"unknown member", `"ttl"`, "ttl_seconds"}},
		bad{"key", "", "", `"value":1,"key":"k"`, nil, 400, "INVALID_REQUEST", []string{"unknown member", `"key"`}},
	)))
	add := func(name, code string, headers []string, mention ...string) {
		bads = append(bads, bad{name, "PUT", path, `{"value":1}`, headers, 400, code, mention})
	}
	add("no subject", "missing_subject_id", nil, "X-Subject-ID is required")
	add("empty subject", "missing_subject_id", []string{"X-Subject-ID", ""}, "X-Subject-ID is required")
	session := func(s string, mention ...string) {
		add("session "+short(s), "invalid_request", []string{"X-Subject-ID", "s", "X-Session-ID", s}, mention...)
	}
	session(strings.Repeat("s", 257), "X-Session-ID", "at most 256 bytes, not 257")
	session("a\xff", "X-Session-ID", "valid UTF-8")
	session("a\x1b", "X-Session-ID", "control characters")
	add("session twice", "invalid_request", []string{"X-Subject-ID", "s", "X-Session-ID", "a", "X-Session-ID", "b"}, "X-Session-Id", "more than once")
	return bads
}
