package httpapi

import (
	"strings"
	"testing"
)

// A key's prefixes bound the subjects that it may act on, wherever they are
// named, and its project keeps them apart from all others.
func TestAgentPrefixesAndProjects(t *testing.T) {
	x := newAPI(t, withAuth, withUpstream(t, echo))
	const scopes = `"scopes":["state:read","state:write","chat:write"]`
	mine, _ := x.newKey(scopes + `,"prefixes":["user_"]`)
	other, _ := x.newKey(scopes + `,"project":"other"`)
	do := func(token, subject, method, path, body string) answer {
		return x.as(subject, method, path, body, as(token)...)
	}
	const loads = `{"messages":[],"mnx":{"state":{"load":true}}}`
	x.ok(do(mine, "user_1", "PUT", agentPath, `{"value":"of mine"}`), "")
	x.ok(do(mine, "user_1", "GET", "/api/v1/state", ""), "")
	if a := x.ok(do(mine, "user_1", "POST", "/api/v1/chat/completions", loads), ""); !strings.Contains(a.body, "of mine") {
		t.Errorf("upstream got %s", a.body)
	}
	for _, subject := range []string{"admin_1", "User_1", "user"} {
		for _, a := range []answer{
			do(mine, subject, "PUT", agentPath, `{"value":1}`),
			do(mine, subject, "GET", agentPath, ""),
			do(mine, subject, "DELETE", agentPath, ""),
			do(mine, subject, "GET", "/api/v1/state", ""),
			do(mine, subject, "POST", "/api/v1/chat/completions", loads),
			do(mine, "user_1", "POST", "/api/v1/messages", `{"mnx":{"subject_id":"`+subject+`","state":{"load":true}}}`),
		} {
			x.refused(a, 403, "forbidden")
		}
	}

	x.refused(do(other, "user_1", "GET", agentPath, ""), 404, "not_found")
	if a := x.ok(do(other, "user_1", "PUT", agentPath, `{"value":"of another project"}`), ""); a.number("version") != 1 {
		t.Errorf("projects meet in a version: %s", a.body)
	}
	if a := x.ok(do(other, "user_1", "POST", "/api/v1/responses", loads), ""); strings.Contains(a.body, "mine") {
		t.Errorf("upstream got %s", a.body)
	}
	x.ok(do(other, "user_1", "DELETE", agentPath, ""), "")
	x.ok(do(mine, "user_1", "GET", agentPath, ""), "")
}

// To have state put into a request one must be allowed to read it; to send
// requests alone, not.
func TestProxyNeedsReadForState(t *testing.T) {
	x := newAPI(t, withAuth, withUpstream(t, echo))
	chat, _ := x.newKey(`"scopes":["chat:write"]`)
	const path = "/api/v1/chat/completions"
	x.ok(x.as("s", "POST", path, `{"messages":[],"mnx":{"state":{"load":false}}}`, as(chat)...), "")
	a := x.refused(x.as("s", "POST", path, `{"messages":[],"mnx":{"state":{"load":true}}}`, as(chat)...), 403, "forbidden")
	if !strings.Contains(a.json["message"].(string), "state:read") {
		t.Errorf("message: %s", a.body)
	}
}

// The published client sends its key in a header of its own.
func TestAgentKeyHeader(t *testing.T) {
	x := newAPI(t, withAuth)
	token, _ := x.newKey(`"scopes":["state:write"]`)
	x.ok(x.as("s", "PUT", agentPath, `{"value":1}`, "x-mnexium-key", token), "")
	a := x.refused(x.as("s", "PUT", agentPath, `{"value":1}`), 401, "unauthorized")
	if a.header.Get("WWW-Authenticate") != "Bearer" {
		t.Errorf("headers: %v", a.header)
	}
	x.refused(x.as("s", "GET", agentPath, "", "x-mnexium-key", token), 403, "forbidden")
}
