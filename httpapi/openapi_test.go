package httpapi

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stateraft/stateraft/cluster"
)

// A document is /openapi.json, decoded.
type document map[string]any

func loadDocument(t *testing.T, x *api) document {
	t.Helper()
	var doc document
	if err := json.Unmarshal([]byte(x.ok(x.get("/openapi.json"), "").body), &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

// resolve follows a $ref, if v is one.
func (d document) resolve(v any) map[string]any {
	m, _ := v.(map[string]any)
	ref, ok := m["$ref"].(string)
	if !ok {
		return m
	}
	var at any = map[string]any(d)
	for _, part := range strings.Split(strings.TrimPrefix(ref, "#/"), "/") {
		at = at.(map[string]any)[part]
	}
	return d.resolve(at)
}

// operation returns what the document says of a route; nil if nothing.
func (d document) operation(rt *route) map[string]any {
	path := d.resolve(d["paths"].(map[string]any)[documented(rt.pattern)])
	return d.resolve(path[strings.ToLower(rt.method)])
}

// documented turns :name and *name into {name}.
func documented(pattern string) string {
	parts := strings.Split(pattern, "/")
	for i, p := range parts {
		if strings.HasPrefix(p, ":") || strings.HasPrefix(p, "*") {
			parts[i] = "{" + p[1:] + "}"
		}
	}
	return strings.Join(parts, "/")
}

// Every route is documented with its parameters, and nothing else is.
func TestDocumentMatchesRoutes(t *testing.T) {
	x := newAPI(t)
	doc := loadDocument(t, x)
	routed := map[string]bool{}
	for _, rt := range x.server.table {
		routed[strings.ToLower(rt.method)+" "+documented(rt.pattern)] = true
		op := doc.operation(rt)
		if op == nil {
			t.Errorf("%s %s is not documented", rt.method, rt.pattern)
			continue
		}
		var segments, query []string
		params, _ := op["parameters"].([]any)
		for _, p := range params {
			switch param := doc.resolve(p); param["in"] {
			case "query":
				query = append(query, param["name"].(string))
			case "path":
				segments = append(segments, "{"+param["name"].(string)+"}")
			}
		}
		if want := slices.Sorted(slices.Values(rt.query)); !slices.Equal(slices.Sorted(slices.Values(query)), want) {
			t.Errorf("%s %s: documented query %v, routed %v", rt.method, rt.pattern, query, want)
		}
		for _, s := range segments {
			if !strings.Contains(documented(rt.pattern), s) {
				t.Errorf("%s %s has no segment %s", rt.method, rt.pattern, s)
			}
		}
		if len(segments) != strings.Count(documented(rt.pattern), "{") {
			t.Errorf("%s %s: documented segments %v", rt.method, rt.pattern, segments)
		}
	}
	for path, methods := range doc["paths"].(map[string]any) {
		for method := range methods.(map[string]any) {
			if !routed[method+" "+path] {
				t.Errorf("%s %s is documented and not routed", method, path)
			}
		}
	}
}

// Every error code has a place in the schema of errors.
func TestDocumentMatchesCodes(t *testing.T) {
	doc := loadDocument(t, newAPI(t))
	enum := func(schema, member string) []any {
		s := doc.resolve(map[string]any{"$ref": "#/components/schemas/" + schema})
		return s["properties"].(map[string]any)[member].(map[string]any)["enum"].([]any)
	}
	for _, row := range causes {
		if !slices.Contains(enum("Error", "code"), any(row.code.name)) {
			t.Errorf("code %s is not documented", row.code.name)
		}
		if !slices.Contains(enum("AgentError", "error"), any(row.code.agent)) {
			t.Errorf("code %s is not documented", row.code.agent)
		}
	}
}

// The handlers' answers are those that the document promises.
func TestAnswersMatchDocument(t *testing.T) {
	x := newAPI(t, withUpstream(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"id":"1"}`)
	}))
	doc := loadDocument(t, x)
	x.ok(x.post("/v1/state/wf/k", `{"value":{"n":1},"ttl":60}`), "")
	x.ok(x.post("/v1/state/wf/forever", `{"value":null}`), "")
	byName := map[string]*route{}
	for _, rt := range x.server.table {
		byName[rt.method+" "+rt.pattern] = rt
	}
	const (
		key  = "/v1/state/:workflow/:key"
		list = "/v1/state/:workflow"
	)
	var seen []string
	exchange := func(method, pattern, query, body string, want int, headers ...string) {
		t.Helper()
		rt := byName[method+" "+pattern]
		a := x.do(method, fill(rt, "wf", "k")+query, body, headers...)
		if a.status != want {
			t.Fatalf("%s %s%s gave %d %s, want %d", method, pattern, query, a.status, a.body, want)
		}
		seen = append(seen, method+" "+pattern)
		if err := doc.checkAnswer(rt, a); err != nil {
			t.Errorf("%s %s%s: %d %s: %v", method, pattern, query, a.status, a.body, err)
		}
	}
	exchange("GET", key, "", "", 200)
	exchange("GET", key, "", "", 304, headerIfNoneMatch, `"1"`)
	exchange("GET", key, "", "", 412, headerMinRevision, "99")
	exchange("GET", key, "?consistency=x", "", 400)
	exchange("GET", list, "", "", 200)
	exchange("GET", list, "?values=true&limit=1", "", 200)
	exchange("GET", list, "?keys=objects", "", 200)
	exchange("GET", list, "?limit=0", "", 400)
	exchange("GET", list, "?snapshot=true", "", 200, "Accept", "text/event-stream")
	exchange("GET", key+"/stream", "?snapshot=true", "", 200)
	exchange("GET", key+"/stream", "", "", 412, headerMinRevision, "99")
	exchange("GET", key+"/stream", "", "", 400, headerLastEventID, "x")
	exchange("POST", key, "", `{"value":1}`, 200, headerIdempotency, "a")
	exchange("POST", key, "", `{"value":2}`, 422, headerIdempotency, "a")
	exchange("POST", key, "", `{}`, 400)
	exchange("POST", key, "?returnCurrent=true", `{"value":2}`, 412, headerIfMatch, `"99"`)
	exchange("POST", key, "", `{"value":2}`, 412, headerIfNoneMatch, `*`)
	exchange("POST", key, "", `{"value":2}`, 403, "Origin", "https://evil.example")
	exchange("POST", key, "", pad(`{"value":2}`, DefaultMaxValueBytes+bodySlack+1), 413)
	exchange("POST", key+"/version", "", `{"value":2,"expectedVersion":2}`, 200)
	exchange("POST", key+"/version", "", `{"value":2,"expectedVersion":2}`, 409)
	exchange("POST", key+"/version", "?returnCurrent=true", `{"value":2,"expectedVersion":2}`, 409)
	exchange("POST", list, "", `{"ops":[{"op":"set","key":"k","value":1},{"op":"delete","key":"x"},{"op":"check","key":"y","expectedVersion":0}]}`, 200)
	exchange("POST", list, "?returnCurrent=true", `{"ops":[{"op":"check","key":"k","expectedVersion":9}]}`, 409)
	exchange("DELETE", key, "", "", 412, headerIfMatch, `"99"`)
	exchange("DELETE", key, "", "", 200)
	exchange("DELETE", key, "", "", 200)
	exchange("GET", key, "", "", 404)
	const (
		agentKey  = "/api/v1/state/*key"
		agentList = "/api/v1/state"
	)
	subject := []string{"X-Subject-ID", "s", "X-Session-ID", "t"}
	exchange("PUT", agentKey, "", `{"value":{"a":1},"ttl_seconds":60}`, 200, subject...)
	exchange("PUT", agentKey, "", `{"value":1}`, 400)
	exchange("PUT", agentKey, "", `{"value":1}`, 412, append(subject, headerIfNoneMatch, "*")...)
	exchange("PUT", agentKey, "", pad(`{"value":2}`, DefaultMaxValueBytes+bodySlack+1), 413, subject...)
	exchange("PUT", agentKey, "", `{"value":1}`, 403, append(subject, "Origin", "https://evil.example")...)
	exchange("GET", agentKey, "", "", 200, subject...)
	exchange("GET", agentKey, "", "", 304, append(subject, headerIfNoneMatch, `"1"`)...)
	exchange("GET", agentKey, "", "", 412, append(subject, headerMinRevision, "99")...)
	exchange("GET", agentKey, "?snapshot=true", "", 200, append(subject, "Accept", "text/event-stream")...)
	exchange("GET", agentList, "?limit=1", "", 200, subject...)
	exchange("GET", agentList, "?limit=x", "", 400, subject...)
	exchange("GET", agentList, "", "", 200, append(subject, "Accept", "text/event-stream")...)
	for _, p := range []string{"/api/v1/chat/completions", "/api/v1/responses", "/api/v1/messages"} {
		exchange("POST", p, "?beta=true", `{"messages":[],"input":[],"mnx":{"state":{"load":true}}}`, 200, subject...)
		exchange("POST", p, "", `[]`, 400, subject...)
		exchange("POST", p, "", `{}`, 415, "Content-Encoding", "gzip")
	}
	exchange("DELETE", agentKey, "", "", 412, append(subject, headerIfMatch, `"99"`)...)
	exchange("DELETE", agentKey, "", "", 200, subject...)
	exchange("GET", agentKey, "", "", 404, subject...)
	for _, p := range []string{"/health", "/livez", "/ready", "/readyz", "/metrics", "/openapi.json", "/v1/cluster"} {
		exchange("GET", p, "", "", 200)
	}
	exchange("POST", "/v1/cluster/leader/transfer", "", `{"to":"n2"}`, 200)
	exchange("DELETE", "/v1/cluster/members/:id", "", "", 200)
	exchange("POST", "/v1/cluster/drain", "", "", 200)
	exchange("GET", key+"/stream", "", "", 200)
	exchange("POST", "/v1/restore", "", "x", 400)
	exchange("GET", "/v1/backup", "?consistency=x", "", 400)
	exchange("POST", "/v1/restore", "?force=true", x.get("/v1/backup").body, 200)
	exchange("GET", "/v1/backup", "", "", 200)
	exchange("GET", "/v1/backup", "", "", 412, headerMinRevision, "1")

	exchange("GET", "/v1/keys", "", "", 200)
	exchange("GET", "/v1/keys", "?consistency=x", "", 400)
	exchange("POST", "/v1/keys", "", `{"scopes":["state:read"]}`, 200)
	exchange("POST", "/v1/keys", "", `{"scopes":[]}`, 400)
	exchange("GET", "/v1/keys", "", "", 200)
	exchange("DELETE", "/v1/keys/:id", "", "", 404)
	x.do("DELETE", "/v1/keys/"+x.onlyAPIKey(), "")

	x.cluster.adminErr = cluster.ErrRefused
	exchange("POST", "/v1/cluster/leader/transfer", "", "", 409)
	exchange("DELETE", "/v1/cluster/members/:id", "", "", 409)
	exchange("POST", "/v1/cluster/drain", "", "", 409)
	x.cluster.proposeErr, x.cluster.readErr = cluster.ErrOverloaded, cluster.ErrNoLeader
	x.cluster.setReady(cluster.ErrNoLeader)
	exchange("POST", key, "", `{"value":1}`, 429)
	exchange("GET", list, "", "", 503)
	exchange("PUT", agentKey, "", `{"value":1}`, 429, subject...)
	exchange("GET", agentList, "", "", 503, subject...)
	exchange("GET", "/ready", "", "", 503)
	exchange("GET", "/readyz", "", "", 503)
	x.cluster.proposeErr = cluster.ErrOutcomeUnknown
	exchange("POST", list, "", `{"ops":[{"op":"delete","key":"k"}]}`, 504)
	x.cluster.proposeErr = errFake
	exchange("DELETE", key, "", "", 500)

	for name := range byName {
		if !slices.Contains(seen, name) {
			t.Errorf("%s was not asked", name)
		}
	}
}

// The examples of request bodies are taken.
func TestDocumentExamples(t *testing.T) {
	x := newAPI(t)
	doc := loadDocument(t, x)
	x.ok(x.post("/v1/state/wf/k", `{"value":1}`), "")
	x.ok(x.post("/v1/state/wf/plan", `{"value":1}`), "")
	x.ok(x.post("/v1/state/wf/plan", `{"value":1}`), "")
	x.ok(x.post("/v1/state/wf", `{"ops":[{"op":"set","key":"lock","value":1}]}`), "")
	for range 3 {
		x.ok(x.post("/v1/state/wf/lock", `{"value":1}`), "")
	}
	examples := 0
	for _, rt := range slices.Backward(x.server.table) { // the versioned set expects version 1
		content := doc.content(doc.operation(rt)["requestBody"])
		if content["example"] == nil {
			continue
		}
		examples++
		body, err := json.Marshal(content["example"])
		if err != nil {
			t.Fatal(err)
		}
		if err := doc.check(content["schema"], content["example"], "example"); err != nil {
			t.Errorf("%s %s: %v", rt.method, rt.pattern, err)
		}
		x.ok(x.as("s", rt.method, fill(rt, "wf", "k"), string(body)), "")
	}
	if examples != 5 {
		t.Errorf("%d examples", examples)
	}
}

// content returns the JSON content of a body or response.
func (d document) content(v any) map[string]any {
	content, _ := d.resolve(v)["content"].(map[string]any)
	return d.resolve(content["application/json"])
}

// checkAnswer checks an answer against its operation's documented response.
func (d document) checkAnswer(rt *route, a answer) error {
	responses := d.operation(rt)["responses"].(map[string]any)
	response, ok := responses[fmt.Sprint(a.status)]
	if !ok {
		response = responses["default"]
	}
	headers, _ := d.resolve(response)["headers"].(map[string]any)
	for name := range headers {
		if a.header.Get(name) == "" {
			return fmt.Errorf("no header %s", name)
		}
	}
	content := d.content(response)
	if a.header.Get("Content-Type") == "text/event-stream" {
		content, _ = d.resolve(response)["content"].(map[string]any)
		return d.check(d.resolve(content["text/event-stream"])["schema"], a.body, "body")
	}
	if content == nil {
		return nil
	}
	var body any
	if err := json.Unmarshal([]byte(a.body), &body); err != nil {
		return err
	}
	return d.check(content["schema"], body, "body")
}

// check checks v against as much of JSON Schema as the document uses.
func (d document) check(schemaOrRef, v any, at string) error {
	schema := d.resolve(schemaOrRef)
	for _, rule := range []func(map[string]any, any, string) error{d.checkAny, d.checkType, d.checkObject, d.checkItems} {
		if err := rule(schema, v, at); err != nil {
			return err
		}
	}
	if want, ok := schema["const"]; ok && !reflect.DeepEqual(v, want) {
		return fmt.Errorf("%s is %v, want %v", at, v, want)
	}
	if enum, ok := schema["enum"].([]any); ok && !slices.Contains(enum, v) {
		return fmt.Errorf("%s is %v, want one of %v", at, v, enum)
	}
	return nil
}

func (d document) checkAny(schema map[string]any, v any, at string) error {
	for rule, most := range map[string]int{"anyOf": 99, "oneOf": 1} {
		options, ok := schema[rule].([]any)
		if !ok {
			continue
		}
		var errs []error
		for _, o := range options {
			if err := d.check(o, v, at); err != nil {
				errs = append(errs, err)
			}
		}
		if n := len(options) - len(errs); n < 1 || n > most {
			return fmt.Errorf("%s fits %d of %s: %v", at, n, rule, errs)
		}
	}
	return nil
}

func (d document) checkType(schema map[string]any, v any, at string) error {
	want, ok := schema["type"]
	if !ok {
		return nil
	}
	kinds, ok := want.([]any)
	if !ok {
		kinds = []any{want}
	}
	if !slices.ContainsFunc(kinds, func(kind any) bool { return isKind(kind.(string), v) }) {
		return fmt.Errorf("%s is %T, want %v", at, v, want)
	}
	return nil
}

func isKind(kind string, v any) bool {
	switch v := v.(type) {
	case nil:
		return kind == "null"
	case bool:
		return kind == "boolean"
	case string:
		return kind == "string"
	case float64:
		return kind == "number" || kind == "integer" && v == float64(int64(v))
	case []any:
		return kind == "array"
	}
	return kind == "object"
}

func (d document) checkObject(schema map[string]any, v any, at string) error {
	object, ok := v.(map[string]any)
	if !ok {
		return nil
	}
	required, _ := schema["required"].([]any)
	for _, name := range required {
		if _, ok := object[name.(string)]; !ok {
			return fmt.Errorf("%s has no %s", at, name)
		}
	}
	properties, _ := schema["properties"].(map[string]any)
	for name, member := range object {
		if p, ok := properties[name]; ok {
			if err := d.check(p, member, at+"."+name); err != nil {
				return err
			}
		} else if schema["additionalProperties"] == false {
			return fmt.Errorf("%s has a member %s that is not documented", at, name)
		}
	}
	return nil
}

func (d document) checkItems(schema map[string]any, v any, at string) error {
	array, ok := v.([]any)
	if !ok || schema["items"] == nil {
		return nil
	}
	for i, item := range array {
		if err := d.check(schema["items"], item, fmt.Sprintf("%s[%d]", at, i)); err != nil {
			return err
		}
	}
	return nil
}
