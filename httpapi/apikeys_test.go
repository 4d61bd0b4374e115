package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/stateraft/stateraft/cluster"
	"github.com/stateraft/stateraft/cluster/clustertest"
	"github.com/stateraft/stateraft/fsm"
	"github.com/stateraft/stateraft/httpapi/auth"
)

const apiKeysPath = "/v1/keys"

// apiKeyNames lists the names of the keys that the holder of a token sees.
func (x *api) apiKeyNames(token string) (names []string) {
	x.tb.Helper()
	var list struct{ Keys []apiKey }
	if err := json.Unmarshal([]byte(x.ok(x.get(apiKeysPath, as(token)...), "").body), &list); err != nil {
		x.tb.Fatal(err)
	}
	for _, k := range list.Keys {
		names = append(names, k.Name)
	}
	return names
}

func TestAPIKeys(t *testing.T) {
	x := newAPI(t, withAuth)
	a := x.ok(x.post(apiKeysPath, `{"name":"CI","project":"shop","scopes":["state:write","state:read"],"prefixes":["wf-"],"ttl":60}`, as(rootToken)...), "")
	token, id := a.json["token"].(string), a.json["id"].(string)
	rest := `"name":"CI","project":"shop","scopes":["state:read","state:write"],"prefixes":["wf-"],` +
		`"createdAt":"2026-11-21T12:00:01.000Z","expiresAt":"2026-11-21T12:01:01.000Z"}`
	if want := `{"id":"` + id + `","token":"` + token + `",` + rest; a.body != want {
		t.Errorf("got %s, want %s", a.body, want)
	}
	if a.header.Get("Cache-Control") != "no-store" || !strings.HasPrefix(token, "sr_"+id+"_") {
		t.Errorf("Cache-Control %q, id %s", a.header.Get("Cache-Control"), id)
	}
	x.ok(x.get(apiKeysPath, as(rootToken)...), `{"keys":[{"id":"`+id+`",`+rest+`]}`)

	x.ok(x.post("/v1/state/wf-1/k", `{"value":1}`, as(token)...), "")
	if got := x.cluster.commands[1].Namespace; got != namespaceOf("w", "shop", "wf-1") {
		t.Errorf("namespace %q", got)
	}
	x.cluster.advance(t, time.Minute)
	x.refused(x.get("/v1/state/wf-1", as(token)...), 401, "UNAUTHORIZED")
	x.ok(x.get(apiKeysPath, as(rootToken)...), `{"keys":[]}`)
	x.refused(x.delete(apiKeysPath+"/"+id, as(rootToken)...), 404, "NOT_FOUND")

	token, id = x.newKey(`"scopes":["state:read"]`)
	x.ok(x.get("/v1/state/wf", as(token)...), "")
	x.ok(x.delete(apiKeysPath+"/"+id, append(as(rootToken), headerIdempotency, "once")...), `{"ok":true}`)
	x.ok(x.delete(apiKeysPath+"/"+id, append(as(rootToken), headerIdempotency, "once")...), `{"ok":true}`)
	x.refused(x.delete(apiKeysPath+"/"+id, as(rootToken)...), 404, "NOT_FOUND")
	x.refused(x.get("/v1/state/wf", as(token)...), 401, "UNAUTHORIZED")
}

// An administrator sees to the keys of one project, the root to all.
func TestAPIKeysOfProjects(t *testing.T) {
	x := newAPI(t, withAuth)
	a, _ := x.newKey(`"name":"admin of a","project":"a","scopes":["admin"]`)
	b, bID := x.newKey(`"name":"admin of b","project":"b","scopes":["admin"]`)
	made := x.ok(x.post(apiKeysPath, `{"name":"reader of a","scopes":["state:read"]}`, as(a)...), "")
	if made.json["project"] != "a" {
		t.Errorf("project %v, want the maker's", made.json["project"])
	}
	x.ok(x.post(apiKeysPath, `{"name":"same project","project":"a","scopes":["state:read"]}`, as(a)...), "")
	x.refused(x.post(apiKeysPath, `{"project":"b","scopes":["state:read"]}`, as(a)...), 403, "FORBIDDEN")
	x.refused(x.post(apiKeysPath, `{"project":"default","scopes":["state:read"]}`, as(a)...), 403, "FORBIDDEN")
	ofA := []string{"admin of a", "reader of a", "same project"}
	for token, want := range map[string][]string{
		a: ofA, b: {"admin of b"}, rootToken: slices.Insert(slices.Clone(ofA), 1, "admin of b"),
	} {
		if got := x.apiKeyNames(token); !slices.Equal(got, want) {
			t.Errorf("sees %q, want %q", got, want)
		}
	}
	absent := x.refused(x.delete(apiKeysPath+"/aaaaaaaaaaaa", as(a)...), 404, "NOT_FOUND")
	if others := x.refused(x.delete(apiKeysPath+"/"+bID, as(a)...), 404, "NOT_FOUND"); others.body != absent.body {
		t.Errorf("another project's key is told from none: %s", others.body)
	}
	x.ok(x.delete(apiKeysPath+"/"+made.json["id"].(string), as(a)...), "")
	x.ok(x.delete(apiKeysPath+"/"+bID, as(rootToken)...), "")
}

// Without --auth the first key can be made, too.
func TestAPIKeysWithoutAuth(t *testing.T) {
	x := newAPI(t)
	x.ok(x.post(apiKeysPath, `{"project":"a","scopes":["admin"]}`), "")
	x.ok(x.get(apiKeysPath), "")
	x.ok(x.delete(apiKeysPath+"/"+x.onlyAPIKey()), "")
}

func TestBadAPIKeys(t *testing.T) {
	x := newAPI(t, withAuth)
	many := `"p"` + strings.Repeat(`,"p"`, 16)
	tests := []struct{ body, code, mention string }{
		{`{}`, "INVALID_REQUEST", "scopes must hold at least one of state:read, state:write, chat:write, admin"},
		{`{"scopes":[]}`, "INVALID_REQUEST", "scopes must hold at least one"},
		{`{"scopes":"admin"}`, "INVALID_REQUEST", "scopes must be an array of strings, not a string"},
		{`{"scopes":[1]}`, "INVALID_REQUEST", "scopes[0] must be a string, not a number"},
		{`{"scopes":["root"]}`, "INVALID_REQUEST", `not "root"`},
		{`{"scopes":["admin","admin"]}`, "INVALID_REQUEST", "scopes holds admin twice"},
		{`{"scopes":["admin"],"scope":1}`, "INVALID_REQUEST", `unknown member "scope"`},
		{`{"scopes":["admin"],"hash":"00"}`, "INVALID_REQUEST", `unknown member "hash"`},
		{`{"scopes":["admin"],"prefixes":["a"]}`, "INVALID_REQUEST", "prefixes are not for the scope admin"},
		{`{"scopes":["state:read"],"prefixes":"a"}`, "INVALID_REQUEST", "prefixes must be an array"},
		{`{"scopes":["state:read"],"prefixes":[""]}`, "INVALID_REQUEST", "prefixes[0] must be 1 to 256 bytes"},
		{`{"scopes":["state:read"],"prefixes":[` + many + `]}`, "INVALID_REQUEST", "prefixes must be at most 16, not 17"},
		{`{"scopes":["state:read"],"project":""}`, "INVALID_REQUEST", "project must be 1 to 64 bytes"},
		{`{"scopes":["state:read"],"project":"a\u0000b"}`, "INVALID_REQUEST", "project must be letters"},
		{`{"scopes":["state:read"],"project":null}`, "INVALID_REQUEST", "project must be a string"},
		{`{"scopes":["state:read"],"name":"a\u0007b"}`, "INVALID_REQUEST", "name must not hold control characters"},
		{`{"scopes":["state:read"],"ttl":-1}`, "INVALID_TTL", "ttl must be from 0"},
		{`{"scopes":["state:read"],"ttl":"1h"}`, "INVALID_TTL", "ttl must be a number of seconds"},
	}
	for _, tt := range tests {
		a := x.refused(x.post(apiKeysPath, tt.body, as(rootToken)...), 400, tt.code)
		if message := a.json["message"].(string); !strings.Contains(message, tt.mention) {
			t.Errorf("%s: %s", tt.body, message)
		}
	}
	a := x.refused(x.post(apiKeysPath, `{"scopes":["admin"]}`, append(as(rootToken), headerIdempotency, "a")...), 400, "INVALID_REQUEST")
	if !strings.Contains(a.body, "a token cannot be told twice") {
		t.Error(a.body)
	}
	x.refused(x.post(apiKeysPath, `{"scopes":["admin"]}`, append(as(rootToken), headerIfMatch, "*")...), 400, "INVALID_REQUEST")
	for _, id := range []string{"root", "x", "AAAAAAAAAAAA", "aaaaaaaaaaa1", "aaaaaaaaaaaaa", "%00"} {
		x.refused(x.delete(apiKeysPath+"/"+id, as(rootToken)...), 404, "NOT_FOUND")
	}
	if x.revision() != 0 {
		t.Error("a refused request reached the state")
	}
}

// A log that many goroutines write.
type log struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

// After traffic of every kind no secret is in the log, the figures, an error,
// the state or a snapshot of it.
func TestSecretsStaySecret(t *testing.T) {
	logged, upstream, figures := &log{}, &log{}, prometheus.NewRegistry()
	x := newAPI(t, withAuth, withUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		_ = r.Write(upstream)
		w.WriteHeader(http.StatusTeapot)
	}), func(c *Config) {
		c.Logger = slog.New(slog.NewTextHandler(logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
		c.Metrics = figures
	})
	addr := x.serve()
	token, id := x.newKey(`"scopes":["state:read","state:write","chat:write"]`)
	revoked, revokedID := x.newKey(`"scopes":["state:read"]`)
	unknown, _, _ := auth.NewToken()
	x.ok(x.delete(apiKeysPath+"/"+revokedID, as(rootToken)...), "")
	var told bytes.Buffer // all answers but those that make keys
	send := func(method, path, body string, headers ...string) {
		request, err := http.NewRequestWithContext(t.Context(), method, "http://"+addr+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(headers); i += 2 {
			request.Header.Add(headers[i], headers[i+1])
		}
		res, err := http.DefaultClient.Do(request)
		if err != nil {
			fmt.Fprintln(&told, errors.Unwrap(err)) // without the URL, which this client knows
			return
		}
		defer res.Body.Close()
		fmt.Fprintln(&told, res.Status, res.Header)
		if res.Header.Get("Content-Type") != "text/event-stream" {
			_, _ = io.Copy(&told, res.Body)
		}
	}
	traffic := func() {
		for _, secret := range []string{token, revoked, unknown, rootToken, rootToken + "-misspelt"} {
			for _, rt := range x.server.table {
				if rt.pattern == apiKeysPath && rt.method == "POST" || strings.HasSuffix(rt.pattern, "/drain") {
					continue
				}
				path, body := fill(rt, "wf", "k"), goodBody(rt)
				if rt.proxied {
					body = `{"messages":[]}`
				}
				send(rt.method, path, body, as(secret)...)
				send(rt.method, path+"?access_token="+secret, body, as(token)...)
				send(rt.method, path, body, auth.HeaderKey, secret, headerSubject, "wf")
				send(rt.method, path, body, "Authorization", "Basic "+secret)
				send(rt.method, path+"?access_token="+secret, body, acceptEvents...)
				send(rt.method, path+"?access_token="+secret+"&access_token="+secret, body)
				if !rt.proxied { // what is not known goes on to the upstream
					send(rt.method, path+"?access_tokn="+secret, body, as(token)...)
				}
				send(rt.method, path+"?access_token=%zz"+secret, body)
			}
			send("GET", "/nowhere?access_token="+secret, "")
			send("BREW", "/v1/state/wf?access_token="+secret, "", as(secret)...)
		}
	}
	traffic()
	x.cluster.proposeErr, x.cluster.readErr = errFake, errFake // logged as ours
	traffic()
	x.cluster.proposeErr, x.cluster.readErr, x.cluster.panics = nil, nil, true
	traffic()
	x.cluster.panics = false
	http.DefaultClient.CloseIdleConnections()

	var shown strings.Builder
	families, err := figures.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		shown.WriteString(f.String())
	}
	var image bytes.Buffer
	if err := x.cluster.state.Freeze().Save(&image); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(logged.String(), "handler panicked") || !strings.Contains(logged.String(), "request failed") ||
		!strings.Contains(upstream.String(), `{"messages":[]}`) || !strings.Contains(image.String(), id) || !strings.Contains(shown.String(), `value:"401"`) {
		t.Fatal("the traffic left no traces")
	}
	for _, secret := range []string{token, revoked, unknown, rootToken} {
		for place, text := range map[string]string{
			"log": logged.String(), "metrics": shown.String(), "answers": told.String(),
			"requests upstream": upstream.String(), "snapshot": image.String(), "history": fmt.Sprintf("%s", allChanges(x.cluster.state)),
		} {
			if i := strings.Index(text, secretOf(secret)); i >= 0 {
				t.Errorf("the %s hold a secret: …%.200s", place, text[max(0, i-100):])
			}
		}
	}
}

// secretOf is the part of a token that nobody may see.
func secretOf(token string) string { return token[strings.LastIndexByte(token[:16], '_')+1:] }

func allChanges(state *fsm.State) (values [][]byte) {
	changes, _ := state.Changes(0, 1<<20)
	for _, c := range changes {
		values = append(values, c.Old, c.New)
	}
	return values
}

// A key is refused by every node, and its streams at every node end, soon after
// any node was told to revoke it.
func TestRevocationAcrossNodes(t *testing.T) {
	const (
		rounds = 6
		atOnce = 2 * time.Second // without a notice, Raft tells of a commit 10 to 20 s later
	)
	c := clustertest.New(t, 3, func(cfg *cluster.Config) { cfg.Tuning.CommitTimeout = 10 * time.Second })
	var addrs []string
	for _, n := range c.Nodes {
		addrs = append(addrs, serveNode(t, n, withAuth))
	}
	var lasts []time.Duration
	for round := range rounds {
		k := createOn(t, addrs[round%3])
		var streams []*reader
		for _, addr := range addrs { // the key works everywhere at once
			streams = append(streams, open(t, addr, streamPath, as(k.Token)...), open(t, addr, listPath+"?access_token="+k.Token, acceptEvents...))
		}
		start := time.Now()
		took := make(chan time.Duration)
		for _, r := range streams {
			go func() {
				defer func() { took <- time.Since(start) }() // also if block fails the test
				for r.block() != "" && time.Since(start) < patience {
				}
			}()
		}
		for _, addr := range addrs {
			go func() {
				for statusOf("GET", addr, "/v1/state/wf/k?consistency=stale", k.Token) != 401 && time.Since(start) < patience {
					time.Sleep(time.Millisecond) // the node has more to do than to answer this
				}
				took <- time.Since(start)
			}()
		}
		status := statusOf("DELETE", addrs[(round+1)%3], apiKeysPath+"/"+k.ID, rootToken)
		var last time.Duration
		for range len(streams) + len(addrs) {
			last = max(last, <-took)
		}
		if status != 200 || last >= patience {
			t.Fatalf("revoke: %d, and the last learns of it after %v", status, last)
		}
		lasts = append(lasts, last)
	}
	slices.Sort(lasts)
	t.Logf("from the request until the last of 3 nodes and 6 streams: quickest %v, median %v, slowest %v of %d", lasts[0], lasts[rounds/2], lasts[rounds-1], rounds)
	if lasts[0] > atOnce { // what is not told at once is late in every round
		t.Errorf("all of %d revocations took more than %v", rounds, atOnce)
	}
	http.DefaultClient.CloseIdleConnections()
	c.WaitEqual()
}

// A node that was cut off and is back refuses a key that was revoked meanwhile
// before it has caught up.
func TestRevokedWhileCutOff(t *testing.T) {
	c, addrs := threeNodes(t, withAuth)
	large := strings.Repeat("x", 1<<16)
	for range 2 {
		k := createOn(t, addrs[0])
		i := slices.Index(c.Nodes, c.Follower())
		back, other := addrs[i], addrs[(i+1)%3]
		if status := statusOf("DELETE", back, valuePath, k.Token); status != 200 {
			t.Fatalf("a write before: %d", status)
		}
		c.Partition(c.Nodes[i:i+1], slices.Concat(c.Nodes[:i], c.Nodes[i+1:]))
		for n := range 100 { // which it takes a while to fetch
			c.Leader().Set(t, workflowNamespace("wf"), fmt.Sprint("k", n), large)
		}
		if status := statusOf("DELETE", other, apiKeysPath+"/"+k.ID, rootToken); status != 200 {
			t.Fatalf("revoke: %d", status)
		}
		var asked sync.WaitGroup
		for _, method := range []string{"GET", "DELETE"} {
			asked.Go(func() {
				status := 503
				for deadline := time.Now().Add(patience); status == 503 && time.Now().Before(deadline); {
					status = statusOf(method, back, valuePath, k.Token)
				}
				if status != 401 {
					t.Errorf("%s: %d", method, status)
				}
			})
		}
		if statusOf("GET", back, valuePath+"?consistency=stale", k.Token) == 401 {
			t.Error("the node was not behind")
		}
		c.Heal()
		asked.Wait()
	}
	http.DefaultClient.CloseIdleConnections()
	c.WaitEqual()
}

func createOn(t *testing.T, addr string) (k apiKey) {
	t.Helper()
	request, err := http.NewRequestWithContext(context.Background(), "POST", "http://"+addr+apiKeysPath, strings.NewReader(`{"scopes":["state:read","state:write"]}`))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+rootToken)
	res, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&k); err != nil || k.Token == "" {
		t.Fatalf("%s, %v", res.Status, err)
	}
	return k
}

// statusOf sends a request without a body; 0 if there is no answer.
func statusOf(method, addr, path, token string) int {
	request, err := http.NewRequest(method, "http://"+addr+path, nil)
	if err != nil {
		return 0
	}
	request.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode
}
