package httpapi

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stateraft/stateraft/fsm"
	"github.com/stateraft/stateraft/httpapi/auth"
)

const rootToken = "root-token-of-the-tests"

func withAuth(c *Config) { c.Auth, c.RootToken = true, rootToken }

// as is the header of whoever has a token.
func as(token string) []string { return []string{"Authorization", "Bearer " + token} }

// newKey makes a key as the root; members are those of the request's body.
func (x *api) newKey(members string) (token, id string) {
	x.tb.Helper()
	a := x.ok(x.post("/v1/keys", "{"+members+"}", as(rootToken)...), "")
	return a.json["token"].(string), a.json["id"].(string)
}

// onlyAPIKey returns the id of the one key that there is.
func (x *api) onlyAPIKey() string {
	x.tb.Helper()
	entries := x.cluster.state.List(auth.Namespace, fsm.Query{}).Entries
	if len(entries) != 1 {
		x.tb.Fatalf("%d API keys, want 1", len(entries))
	}
	return entries[0].Key
}

// workflowNamespace is where the keys of a workflow are when no key is asked
// for.
func workflowNamespace(workflow string) string {
	return namespaceOf("w", auth.DefaultProject, workflow)
}

// denied fails the test unless a is an error of this status and code, in the
// form of whichever API.
func (x *api) denied(what string, a answer, status int, code string) {
	x.tb.Helper()
	got, _ := a.json["error"].(string)
	if a.status != status || strings.ToUpper(got) != code {
		x.tb.Errorf("%s: got %d %s, want %d %s", what, a.status, a.body, status, code)
	}
	if challenge := a.header.Get("WWW-Authenticate"); (challenge == "Bearer") != (status == 401) {
		x.tb.Errorf("%s: WWW-Authenticate = %q with %d", what, challenge, status)
	}
	if message, _ := a.json["message"].(string); message == "" || strings.Contains(a.body, "sr_") {
		x.tb.Errorf("%s: %s", what, a.body)
	}
}

// admitted fails the test if a is a refusal of whoever asked.
func (x *api) admitted(what string, a answer) {
	x.tb.Helper()
	if a.status == 401 || a.status == 403 {
		x.tb.Errorf("%s: got %d %s", what, a.status, a.body)
	}
}

var allScopes = []auth.Scope{auth.StateRead, auth.StateWrite, auth.ChatWrite, auth.Admin}

// Every route but those of health asks for a key, and for its scope.
func TestEveryRouteAsks(t *testing.T) {
	x := newAPI(t, withAuth, withUpstream(t, echo))
	tokens := map[auth.Scope]string{}
	for _, s := range allScopes {
		tokens[s], _ = x.newKey(`"scopes":["` + s.String() + `"]`)
	}
	unknown, _, _ := auth.NewToken()
	var public []string
	for _, rt := range x.server.table {
		path, body := fill(rt, "wf", "k"), goodBody(rt)
		what := rt.method + " " + path
		ask := func(headers ...string) answer { return x.do(rt.method, path, body, headers...) }
		if rt.scope == auth.Public {
			public = append(public, rt.pattern)
			x.admitted(what, ask())
			x.admitted(what, ask(as(unknown)...))
			continue
		}
		x.denied(what, ask(), 401, "UNAUTHORIZED")
		for _, headers := range [][]string{
			as(unknown), as(rootToken + "x"), as(""), as(tokens[auth.Admin][:40]),
			{"Authorization", rootToken}, {"Authorization", "Basic " + rootToken},
			{auth.HeaderKey, unknown}, {auth.HeaderKey, ""},
			{auth.HeaderKey, unknown, "Authorization", "Bearer " + rootToken},
			{auth.HeaderKey, unknown, auth.HeaderCntrlNodeKey, rootToken},
			{auth.HeaderCntrlNodeKey, ""},
			{"Authorization", "Bearer " + rootToken, "Authorization", "Bearer " + rootToken},
		} {
			x.denied(what, ask(headers...), 401, "UNAUTHORIZED")
		}
		x.denied(what, x.do(rt.method, path+"?nonsense=1", body), 401, "UNAUTHORIZED")
		if rt.method == http.MethodGet {
			if a := x.do(http.MethodHead, path, ""); a.status != 401 {
				t.Errorf("HEAD %s: %d", path, a.status)
			}
		}
		for scope, token := range tokens {
			if (scope == rt.scope || scope == auth.Admin) && !rt.root {
				x.admitted(what+" with "+scope.String(), ask(as(token)...))
				x.admitted(what+" with "+scope.String(), ask(auth.HeaderKey, token, "Authorization", "Bearer of-a-provider"))
				x.admitted(what+" with "+scope.String(), ask(auth.HeaderCntrlNodeKey, token))
			} else {
				x.denied(what+" with "+scope.String(), ask(as(token)...), 403, "FORBIDDEN")
			}
		}
		x.admitted(what, ask(as(rootToken)...))
		if a := x.do("OPTIONS", path, ""); a.status != 204 {
			t.Errorf("OPTIONS %s: %d", path, a.status)
		}
	}
	if want := []string{"/health", "/livez", "/ready", "/readyz"}; !slices.Equal(public, want) {
		t.Errorf("public are %q, want %q", public, want)
	}
}

// A route of which nobody has decided who may use it is no route.
func TestRouteWithoutScope(t *testing.T) {
	table := newAPI(t).server.routes()
	if err := checkScopes(table); err != nil {
		t.Error(err)
	}
	for _, scope := range []auth.Scope{auth.Undecided, auth.Admin + 1} {
		undecided := &route{method: "GET", pattern: "/v1/new", scope: scope}
		if err := checkScopes(append(table, undecided)); err == nil || err.Error() != "GET /v1/new has no scope" {
			t.Errorf("%s: %v", scope, err)
		}
	}
}

func TestRootTokenNeedsAuth(t *testing.T) {
	c := newFakeCluster(t)
	for _, config := range []Config{
		{Cluster: c, RootToken: rootToken},
		{Cluster: c, RootToken: "short", Auth: true},
	} {
		if _, err := New(config); err == nil || strings.Contains(err.Error(), config.RootToken) {
			t.Errorf("New = %v", err)
		}
	}
}

// Without keys everything is as it was, whatever a client sends.
func TestNoAuth(t *testing.T) {
	x := newAPI(t)
	unknown, _, _ := auth.NewToken()
	x.ok(x.post("/v1/state/wf/k", `{"value":1}`, as(unknown)...), `{"version":1}`)
	x.ok(x.get("/v1/state/wf/k", auth.HeaderKey, unknown), "")
	x.ok(x.get(streamPath+"?access_token="+unknown), "")
	if a := x.get("/v1/state/wf/k"); a.header.Get("Cache-Control") != "" {
		t.Errorf("Cache-Control = %q", a.header.Get("Cache-Control"))
	}
}

// What caches must not share, they are told.
func TestAnswersArePrivate(t *testing.T) {
	x := newAPI(t, withAuth)
	for path, want := range map[string]string{"/v1/state/wf": "private", "/v1/keys": "no-store", "/health": ""} {
		a := x.ok(x.get(path, as(rootToken)...), "")
		if got := a.header.Get("Cache-Control"); got != want {
			t.Errorf("%s: Cache-Control = %q, want %q", path, got, want)
		}
		if got := slices.Contains(a.header["Vary"], "X-Mnexium-Key, X-Cntrlnode-Key, Authorization"); got != (want != "") {
			t.Errorf("%s: Vary = %q", path, a.header["Vary"])
		}
	}
}

// What one project has, no route shows to another, and nothing that another
// does changes it.
func TestProjectsAreApart(t *testing.T) {
	const mine = "of-project-a-alone"
	x := newAPI(t, withAuth, withUpstream(t, echo))
	a, _ := x.newKey(`"project":"a","scopes":["state:read","state:write","chat:write","admin"]`)
	b, _ := x.newKey(`"project":"b","scopes":["state:read","state:write","chat:write"]`)
	bAdmin, _ := x.newKey(`"project":"b","scopes":["admin"]`)
	x.ok(x.post("/v1/state/wf/k", `{"value":"`+mine+`"}`, as(a)...), "")
	x.ok(x.post("/v1/state/wf/"+mine, `{"value":1}`, as(a)...), "")
	x.ok(x.as("wf", "PUT", "/api/v1/state/k", `{"value":"`+mine+`"}`, as(a)...), "")
	x.ok(x.as("wf", "PUT", "/api/v1/state/"+mine, `{"value":1}`, as(a)...), "")
	x.ok(x.post("/v1/keys", `{"name":"`+mine+`","scopes":["state:read"]}`, as(a)...), "")
	ofA := func() string {
		entries := slices.Concat(
			x.cluster.state.List(namespaceOf(workflows, "a", "wf"), fsm.Query{}).Entries,
			x.cluster.state.List(namespaceOf(subjects, "a", "wf"), fsm.Query{}).Entries)
		for _, e := range x.cluster.state.List(auth.Namespace, fsm.Query{}).Entries {
			if strings.Contains(string(e.Value), `"project":"a"`) {
				entries = append(entries, e)
			}
		}
		return fmt.Sprint(entries)
	}
	before := ofA()
	for _, rt := range x.server.table {
		if rt.scope == auth.Public || strings.HasPrefix(rt.pattern, "/v1/cluster") {
			continue // they tell of nodes
		}
		for _, token := range []string{b, bAdmin} {
			for _, key := range []string{"k", mine} {
				if key == mine && rt.method != http.MethodGet {
					continue // or it were a key of b, too
				}
				for _, query := range []string{"", "?snapshot=true", "?values=true", "?returnCurrent=true", "?consistency=stale"} {
					headers := append(as(token), "X-Subject-ID", "wf")
					if query == "?snapshot=true" {
						headers = append(headers, acceptEvents...)
					}
					body := goodBody(rt)
					if rt.proxied {
						body = `{"messages":[],"mnx":{"state":{"load":true,"key":"k"}}}`
					}
					answer := x.do(rt.method, fill(rt, "wf", key)+query, body, headers...)
					if strings.Contains(answer.body, mine) {
						t.Errorf("%s %s%s shows %s", rt.method, rt.pattern, query, answer.body)
					}
				}
			}
		}
	}
	if ofA() != before {
		t.Error("project a was changed by project b")
	}
}

// The same request in two projects: neither meets the other's versions, nor
// the answers that are kept for the other.
func TestProjectsDoNotMeet(t *testing.T) {
	x := newAPI(t, withAuth)
	a, _ := x.newKey(`"project":"a","scopes":["state:read","state:write"]`)
	b, _ := x.newKey(`"project":"b","scopes":["state:read","state:write"]`)
	once := func(token string) []string { return append(as(token), headerIdempotency, "once") }
	create := func(headers []string) answer {
		return x.post("/v1/state/wf/k/version", `{"value":1,"expectedVersion":0}`, headers...)
	}
	x.ok(create(once(a)), `{"version":1}`)
	x.ok(create(once(b)), `{"version":1}`)
	x.ok(create(once(a)), `{"version":1}`) // its own first answer
	x.refused(create(as(a)), 409, "VERSION_CONFLICT")
	x.ok(x.delete("/v1/state/wf/k", as(b)...), `{"deleted":true,"ok":true}`)
	x.ok(x.get("/v1/state/wf/k", as(a)...), "")
	x.refused(x.get("/v1/state/wf/k", as(b)...), 404, "NOT_FOUND")
	x.ok(x.get("/v1/state/wf", as(b)...), `{"keys":[]}`)
	x.ok(x.get("/v1/state/wf", as(rootToken)...), `{"keys":[]}`) // default is a project as others are

	// Two keys of one project see the same, and have answers of their own.
	second, _ := x.newKey(`"project":"a","scopes":["state:read","state:write"]`)
	x.ok(x.get("/v1/state/wf", as(second)...), `{"keys":["k"]}`)
	x.refused(create(once(second)), 409, "VERSION_CONFLICT")
}

func TestProjectsStreamApart(t *testing.T) {
	x := newAPI(t, withAuth)
	addr := x.serve()
	a, _ := x.newKey(`"project":"a","scopes":["state:read","state:write"]`)
	b, _ := x.newKey(`"project":"b","scopes":["state:read","state:write"]`)
	key := open(t, addr, streamPath, as(b)...)
	all := open(t, addr, listPath, append(as(b), acceptEvents...)...)
	x.ok(x.post("/v1/state/wf/k", `{"value":"a"}`, as(a)...), "")
	x.ok(x.post(listPath, `{"ops":[{"op":"set","key":"k","value":"a"}]}`, as(a)...), "")
	x.ok(x.delete("/v1/state/wf/k", as(a)...), "")
	x.ok(x.post("/v1/state/wf/k", `{"value":"b"}`, as(b)...), `{"version":1}`)
	for _, r := range []*reader{key, all} {
		if e, ok := r.event(); !ok || string(e.json.NewValue) != `"b"` || e.json.Version != 1 || e.json.WorkflowID != "wf" {
			t.Errorf("got %s, want b's event first", e.data)
		}
	}
}

// Every route that names a workflow or a subject obeys the key's prefixes.
func TestPrefixes(t *testing.T) {
	x := newAPI(t, withAuth)
	token, _ := x.newKey(`"scopes":["state:read","state:write"],"prefixes":["team/","ci-"]`)
	routes := 0
	for _, rt := range x.server.table {
		if !strings.Contains(rt.pattern, ":"+segWorkflow) && !strings.HasPrefix(rt.pattern, "/api/v1/state") {
			continue
		}
		routes++
		for name, allowed := range map[string]bool{
			"team/a": true, "ci-": true, "team": false, "ci": false, "other": false, "xci-1": false, "Ci-1": false,
		} {
			for _, accept := range []string{"", "text/event-stream"} {
				path := fill(rt, url.PathEscape(name), "k")
				what := rt.method + " " + path + " " + accept
				answer := x.do(rt.method, path, goodBody(rt), append(as(token), "Accept", accept, headerSubject, name)...)
				if allowed {
					x.admitted(what, answer)
				} else {
					x.denied(what, answer, 403, "FORBIDDEN")
				}
			}
		}
	}
	if routes < 7 {
		t.Errorf("only %d routes name a workflow or a subject", routes)
	}
	x.admitted("another escape", x.get("/v1/state/c%69-1", as(token)...))
	for _, e := range x.cluster.state.List(workflowNamespace("other"), fsm.Query{}).Entries {
		t.Errorf("%s was written", e.Key)
	}
}

// Who may not read is not told a value by a conflict.
func TestCurrentValueNeedsRead(t *testing.T) {
	x := newAPI(t, withAuth)
	write, _ := x.newKey(`"scopes":["state:write"]`)
	both, _ := x.newKey(`"scopes":["state:write","state:read"]`)
	x.ok(x.post("/v1/state/wf/k", `{"value":"told"}`, as(write)...), "")
	conflict := func(query, token string) answer {
		return x.post("/v1/state/wf/k/version"+query, `{"value":1,"expectedVersion":9}`, as(token)...)
	}
	x.refused(conflict("?returnCurrent=true", write), 403, "FORBIDDEN")
	if a := x.refused(conflict("", write), 409, "VERSION_CONFLICT"); strings.Contains(a.body, "told") {
		t.Error(a.body)
	}
	if a := x.refused(conflict("?returnCurrent=true", both), 409, "VERSION_CONFLICT"); !strings.Contains(a.body, "told") {
		t.Error(a.body)
	}
}

// Streams, and nothing else, take the key as a query parameter.
func TestAccessToken(t *testing.T) {
	x := newAPI(t, withAuth, withUpstream(t, echo))
	token, _ := x.newKey(`"scopes":["state:read","state:write","admin"]`)
	unknown, _, _ := auth.NewToken()
	query := "?access_token=" + token
	events := append([]string{"X-Subject-ID", "s"}, acceptEvents...)
	for _, rt := range x.server.table {
		if rt.scope == auth.Public {
			continue
		}
		what := rt.method + " " + rt.pattern
		path, body := fill(rt, "wf", "k"), goodBody(rt)
		a := x.do(rt.method, path+query, body, events...)
		if slices.Contains(rt.query, queryAccessToken) {
			x.ok(a, "")
			x.denied(what, x.do(rt.method, path+"?access_token="+unknown, body, events...), 401, "UNAUTHORIZED")
			x.denied(what, x.do(rt.method, path+query+"&access_token="+token, body, events...), 401, "UNAUTHORIZED")
			x.denied(what, x.do(rt.method, path+query, body, append(as(unknown), events...)...), 401, "UNAUTHORIZED")
		} else {
			x.denied(what, a, 401, "UNAUTHORIZED")
			a = x.do(rt.method, path+query, body, as(token)...)
			if a.status != 400 && !(rt.root && a.status == 403) || strings.Contains(a.body, token) {
				t.Errorf("%s: got %d %s", what, a.status, a.body)
			}
		}
	}
	if a := x.refused(x.get(listPath+query), 400, "INVALID_REQUEST"); strings.Contains(a.body, token) {
		t.Errorf("a list: %s", a.body)
	}
}

// A stream ends with its sender's key, however it is served.
func TestStreamEndsWithItsKey(t *testing.T) {
	ends := map[string]func(x *api, id string){
		"revoked": func(x *api, id string) {
			x.ok(x.delete("/v1/keys/"+id, as(rootToken)...), `{"ok":true}`)
		},
		"run out": func(x *api, _ string) { x.cluster.advance(x.tb, time.Minute) },
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			x := newAPI(t, withAuth)
			addr := x.serve()
			token, id := x.newKey(`"scopes":["state:read"],"ttl":60`)
			other, _ := x.newKey(`"scopes":["state:read"]`)
			wrapped := httptest.NewTLSServer(x.server.Handler()) // the handler keeps its goroutine
			defer wrapped.Close()
			request, err := http.NewRequest("GET", wrapped.URL+streamPath, nil)
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Authorization", "Bearer "+token)
			handled, err := wrapped.Client().Do(request)
			if err != nil {
				t.Fatal(err)
			}
			defer handled.Body.Close()
			mine := []*reader{
				open(t, addr, streamPath, as(token)...),
				open(t, addr, listPath, append(as(token), acceptEvents...)...),
				open(t, addr, streamPath+"?access_token="+token),
				handledStream(t, handled),
			}
			others := open(t, addr, streamPath, as(other)...)
			roots := open(t, addr, streamPath, as(rootToken)...)

			end(x, id)
			for i, r := range mine {
				if e, ok := r.event(); ok {
					t.Errorf("stream %d: got %s", i, e.data)
				}
			}
			x.denied("after its end", x.get(streamPath, as(token)...), 401, "UNAUTHORIZED")
			x.ok(x.post("/v1/state/wf/k", `{"value":1}`, as(rootToken)...), "")
			for _, r := range []*reader{others, roots} {
				if _, ok := r.event(); !ok {
					t.Error("another key's stream ended")
				}
			}
		})
	}
}

// What comes from a language model ends with the sender's key, whether it has
// begun or not.
func TestProxyEndsWithItsKey(t *testing.T) {
	for _, begun := range []bool{true, false} {
		reached, left := make(chan struct{}), make(chan struct{}) // the upstream
		x := newAPI(t, withAuth, withUpstream(t, func(w http.ResponseWriter, r *http.Request) {
			defer close(left)
			_, _ = io.Copy(io.Discard, r.Body)
			if begun {
				w.Header().Set("Content-Type", "text/event-stream")
				_, _ = io.WriteString(w, "data: 1\n\n")
				_ = http.NewResponseController(w).Flush()
			}
			close(reached)
			<-r.Context().Done()
		}))
		token, id := x.newKey(`"scopes":["chat:write"]`)
		request, err := http.NewRequest("POST", "http://"+x.serve()+"/api/v1/chat/completions", strings.NewReader(`{"stream":true,"messages":[]}`))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+token)
		revoke := func() { x.ok(x.delete("/v1/keys/"+id, as(rootToken)...), "") }
		if !begun {
			go func() { <-reached; revoke() }()
		}
		res, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		if begun {
			if _, err := io.ReadFull(res.Body, make([]byte, len("data: 1\n\n"))); err != nil {
				t.Error(err)
			}
			revoke()
		}
		rest, err := io.ReadAll(res.Body)
		res.Body.Close()
		if begun && (err == nil || len(rest) > 0) {
			t.Errorf("got %q, %v, want an answer that is cut off", rest, err)
		}
		if !begun && (res.StatusCode != 401 || !strings.Contains(string(rest), `"unauthorized"`)) {
			t.Errorf("got %s %s", res.Status, rest)
		}
		<-left
		x.denied("after its end", x.post("/api/v1/chat/completions", `{}`, as(token)...), 401, "UNAUTHORIZED")
		http.DefaultClient.CloseIdleConnections()
	}
}

// handledStream reads an answer that net/http's client has opened.
func handledStream(t *testing.T, res *http.Response) *reader {
	t.Helper()
	if res.StatusCode != 200 {
		t.Fatal(res.Status)
	}
	conn, _ := net.Pipe() // only for the deadlines that readers set
	t.Cleanup(func() { conn.Close() })
	return &reader{tb: t, conn: conn, buf: bufio.NewReader(res.Body)}
}
