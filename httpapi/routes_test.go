package httpapi

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// Every path of the table refuses every method that it has no route for.
func TestMethods(t *testing.T) {
	x := newAPI(t)
	x.ok(x.post("/v1/state/wf/k", `{"value":1}`), "")
	allow := allowByPattern(x.server.table)
	all := []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW"}
	for _, rt := range x.server.table {
		path, want := fill(rt, "wf", "k"), strings.Join(allow[rt.pattern], ", ")
		for _, method := range all {
			a := x.do(method, path, "")
			if slices.Contains(allow[rt.pattern], method) {
				if a.status == http.StatusMethodNotAllowed || strings.Contains(a.body, "no such path") {
					t.Errorf("%s %s gave %d", method, path, a.status)
				}
				continue
			}
			code := "METHOD_NOT_ALLOWED"
			if rt.form == agentForm {
				code = "method_not_allowed"
			}
			x.refused(a, 405, code)
			if got := a.header.Get("Allow"); got != want {
				t.Errorf("%s %s: Allow = %q, want %q", method, path, got, want)
			}
		}
		a := x.do("OPTIONS", path, "")
		if a.status != 204 || a.header.Get("Allow") != want || a.body != "" {
			t.Errorf("OPTIONS %s gave %d, Allow %q, want %q", path, a.status, a.header.Get("Allow"), want)
		}
	}
}

func allowByPattern(table []*route) map[string][]string {
	allow := map[string][]string{}
	for _, rt := range table {
		methods := append(allow[rt.pattern], rt.method, "OPTIONS")
		if rt.method == "GET" {
			methods = append(methods, "HEAD")
		}
		slices.Sort(methods)
		allow[rt.pattern] = slices.Compact(methods)
	}
	for p, methods := range allow { // OPTIONS is told last
		i := slices.Index(methods, "OPTIONS")
		allow[p] = append(slices.Delete(methods, i, i+1), "OPTIONS")
	}
	return allow
}

func TestUnknownPaths(t *testing.T) {
	x := newAPI(t)
	paths := []string{
		"/", "/v1", "/v1/", "/v1/state", "/v1/state/", "/V1/state/wf/k", "/v1/state/wf/k/other", "/v1/state/wf/a/b/c",
		"/v1//state/wf/k", "//v1/state/wf/k", "/v1/./state/wf/k", "/v1/state/wf/../wf/k", "/v1%2Fstate/wf/k",
		"/v1/state/wf/k/version/", "/health/x", "/openapi",
	}
	for _, rt := range x.server.table {
		if rt.form == stateForm { // a key of Agent State may end with a slash
			paths = append(paths, fill(rt, "wf", "k")+"/")
		}
	}
	for _, path := range paths {
		for _, method := range []string{"GET", "POST", "DELETE", "OPTIONS"} {
			a := x.refused(x.do(method, path, ""), 404, "NOT_FOUND")
			message := a.json["message"].(string)
			if !strings.Contains(message, "no such path") || strings.HasSuffix(path, "/") && path != "/" && !strings.Contains(message, "ends with a slash") {
				t.Errorf("%s: %s", path, message)
			}
			if a.header.Get("Location") != "" {
				t.Errorf("%s was redirected", path)
			}
		}
	}
	// A query is no reason to call a wrong path a bad request.
	x.refused(x.get("/nowhere?x=%zz"), 404, "NOT_FOUND")
}

// Both forms of a path name one key, and what is stored is the decoded key.
func TestEscapedPaths(t *testing.T) {
	tests := []struct {
		key   string
		paths []string
	}{
		{"tool:weather:tc_123", []string{"tool:weather:tc_123", "tool%3Aweather%3Atc_123", "tool%3aweather:tc_123"}},
		{"a/b", []string{"a%2Fb", "a%2fb", "%61%2F%62"}},
		{`a/b"c`, []string{`a%2Fb"c`, "a%2Fb%22c"}}, // a byte that should have been escaped beside one that must be
		{"a b", []string{"a%20b"}},
		{"a+b", []string{"a+b", "a%2Bb"}},
		{"a%2Fb", []string{"a%252Fb"}},
		{"a%b", []string{"a%25b"}},
		{"%zz", []string{"%25zz"}},
		{"é😀", []string{"%C3%A9%F0%9F%98%80", "é😀"}},
		{"?#[]@!$&'()*,;=", []string{"%3F%23[]@!$&'()*,;=", "%3f%23%5B%5D%40%21%24%26%27%28%29%2A%2C%3B%3D"}},
		{`\`, []string{"%5C", `\`}},
		{"stream", []string{"stream"}},
		{"version", []string{"version", "%76ersion"}},
		{"a/version", []string{"a%2Fversion"}},
		{"...", []string{"..."}},
		{".a", []string{".a", "%2ea"}},
	}
	for _, tt := range tests {
		x := newAPI(t)
		for i, path := range tt.paths {
			a := x.ok(x.post("/v1/state/wf/"+path, `{"value":1}`), "")
			if a.number("version") != i+1 {
				t.Errorf("%s is another key than %s", path, tt.paths[0])
			}
			x.ok(x.get("/v1/state/wf/"+path), "")
			x.ok(x.post("/v1/state/"+path+"/k", `{"value":1}`), "") // as a workflow
		}
		if got := x.cluster.commands[0].Ops[0].Key; got != tt.key {
			t.Errorf("%s is key %q, want %q", tt.paths[0], got, tt.key)
		}
		if got, want := x.cluster.commands[1].Namespace, workflowNamespace(tt.key); got != want {
			t.Errorf("%s is namespace %q, want %q", tt.paths[0], got, want)
		}
	}
}

// The suffix of the versioned set is told from a key of that name.
func TestKeyNamedVersion(t *testing.T) {
	x := newAPI(t)
	x.ok(x.post("/v1/state/wf/version", `{"value":1}`), `{"version":1}`)
	x.ok(x.post("/v1/state/wf/version/version", `{"value":2,"expectedVersion":1}`), `{"version":2}`)
	x.refused(x.post("/v1/state/wf/version", `{"value":2,"expectedVersion":1}`), 400, "INVALID_REQUEST")
	x.refused(x.get("/v1/state/wf/k/version"), 405, "METHOD_NOT_ALLOWED")
}

func TestHead(t *testing.T) {
	x := newAPI(t)
	x.ok(x.post("/v1/state/wf/k", `{"value":1}`), "")
	ts := httptest.NewServer(x.server.Handler())
	defer ts.Close()
	for _, path := range []string{"/v1/state/wf/k", "/v1/state/wf/absent", "/v1/cluster", "/health", "/openapi.json"} {
		get, err := ts.Client().Get(ts.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		get.Body.Close()
		head, err := ts.Client().Head(ts.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		head.Body.Close()
		if head.StatusCode != get.StatusCode || head.ContentLength != get.ContentLength {
			t.Errorf("HEAD %s gave %d and %d bytes, GET %d and %d", path, head.StatusCode, head.ContentLength, get.StatusCode, get.ContentLength)
		}
		for _, name := range []string{"ETag", headerRevision, headerNode, "Content-Type"} {
			if head.Header.Get(name) != get.Header.Get(name) {
				t.Errorf("HEAD %s: %s = %q, GET %q", path, name, head.Header.Get(name), get.Header.Get(name))
			}
		}
	}
}
