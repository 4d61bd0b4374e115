package proxy

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/stateraft/stateraft/httpapi/inject"
)

// The official clients, unmodified but for the base URL, make the same calls at
// an upstream and, through the proxy, at the same upstream. What reaches it, and
// what comes back, may differ only in what the contract says.

func TestPythonClients(t *testing.T) {
	python := os.Getenv("STATERAFT_TEST_PYTHON")
	if python == "" {
		t.Skip("STATERAFT_TEST_PYTHON names no interpreter with openai and anthropic installed: see scripts/test.sh")
	}
	compareClients(t, 13, python, "testdata/clients.py")
}

// The client mnexium asks for much under mnx, but for no state: its requests go
// on without mnx.
func TestMnexiumClient(t *testing.T) {
	python := os.Getenv("STATERAFT_TEST_PYTHON")
	if python == "" {
		t.Skip("STATERAFT_TEST_PYTHON names no interpreter with mnexium installed: see scripts/test.sh")
	}
	b := newBench(t, serveModel)
	front := httptest.NewServer(http.HandlerFunc(b.serve))
	defer front.Close()
	out, err := exec.CommandContext(t.Context(), python, "testdata/mnexium_client.py", front.URL).CombinedOutput()
	want := "\"Book \\u00e9 / \\ud83c\\udfe8 <hotel>\"\n[\"Book \\u00e9 \\ud83c\\udfe8\", \"user_123\", 21]\nRateLimitError\n"
	if err != nil || string(out) != want {
		t.Errorf("%v, the client got\n%s, want\n%s", err, out, want)
	}
	for _, seen := range b.upstream.seen {
		if strings.Contains(seen.body, "mnx") || seen.header.Get("Authorization") != "Bearer provider-key" || seen.header.Get("X-Mnexium-Key") != "" {
			t.Errorf("upstream saw %+v", seen)
		}
	}
}

func TestNodeClient(t *testing.T) {
	if os.Getenv("STATERAFT_TEST_NODE_MODULES") == "" {
		t.Skip("STATERAFT_TEST_NODE_MODULES names no folder that has openai in it: see scripts/test.sh")
	}
	compareClients(t, 6, "node", "testdata/client.cjs")
}

// An exchange is one request as an upstream saw it, and the answer as the
// client saw it.
type exchange struct {
	recorded
	answer string
}

func compareClients(t *testing.T, calls int, command ...string) {
	t.Helper()
	model := &recorder{answer: serveModel}
	want, direct := runClient(t, model, model, command...)
	b := newBench(t, serveModel)
	got, proxied := runClient(t, http.HandlerFunc(b.serve), b.upstream, command...)
	if len(direct) != calls || len(proxied) != calls {
		t.Fatalf("%d calls directly and %d through the proxy, want %d", len(direct), len(proxied), calls)
	}
	for i, name := range want {
		checkRequest(t, name.Call, direct[i], proxied[i])
		checkAnswer(t, name.Call, direct[i], proxied[i])
		dropMnx(got[i].Result)
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Errorf("%s: the client got\n%v, want\n%v", name.Call, got[i], want[i])
		}
	}
}

// A result is what a client's script prints of one call.
type result struct {
	Call   string
	Result any
}

// runClient runs a client against a server, and returns what it printed and, in
// the same order, what reached the upstream and what the server sent.
func runClient(t *testing.T, server http.Handler, upstream *recorder, command ...string) ([]result, []exchange) {
	t.Helper()
	tap := &wiretap{next: server}
	front := httptest.NewServer(tap)
	defer front.Close()
	results := runScript(t, append(command, front.URL))
	if len(tap.sent) != len(results) || len(upstream.seen) != len(results) {
		t.Fatalf("%d results of %d answers to %d requests", len(results), len(tap.sent), len(upstream.seen))
	}
	var all []exchange
	for i, seen := range upstream.seen {
		all = append(all, exchange{seen, tap.sent[i].body.String()})
	}
	return results, all
}

func runScript(t *testing.T, command []string) (results []result) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.Bytes())
	}
	for line := range bytes.Lines(out) {
		var r result
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatal(err)
		}
		results = append(results, r)
	}
	return results
}

// checkRequest compares what reached the upstream through the proxy with what
// reaches it directly.
func checkRequest(t *testing.T, name string, direct, proxied exchange) {
	t.Helper()
	got, want := proxied.body, direct.body
	if strings.Contains(want, `"mnx"`) {
		checkInjected(t, got, []string{"current_task"})
		got = withoutBlock(t, got)
		want = withoutMember(t, want)
	}
	if got != want {
		t.Errorf("%s: upstream saw\n%s, want\n%s", name, got, want)
	}
	if got, want := afterV1(proxied.path), afterV1(direct.path); got != want {
		t.Errorf("%s: upstream saw the path %s, want %s", name, got, want)
	}
	asks := strings.Contains(direct.body, `"mnx"`) && !strings.Contains(direct.body, `"stream":true`)
	if h := proxied.header; !reflect.DeepEqual(shared(h, asks), shared(direct.header, asks)) {
		t.Errorf("%s: upstream saw the header\n%v, want\n%v", name, h, direct.header)
	}
	if key := proxied.header.Get("X-Api-Key") + proxied.header.Get("Authorization"); strings.TrimPrefix(key, "Bearer ") != "provider-key" {
		t.Errorf("%s: upstream saw the key %q", name, key)
	}
}

// shared returns the headers that must be the same.
func shared(h http.Header, asks bool) http.Header {
	h = h.Clone()
	for _, name := range []string{"Authorization", "X-Openai-Key", "X-Mnexium-Key", "X-Api-Key", "Content-Length", "Connection", "X-Stainless-Retry-Count"} {
		h.Del(name)
	}
	if asks {
		h.Del("Accept-Encoding")
	}
	return h
}

// withoutBlock takes the injected text out of a body again.
func withoutBlock(t *testing.T, body string) string {
	t.Helper()
	text, err := inject.Render([]inject.Entry{saved["current_task"]}, inject.DefaultBudget)
	if err != nil {
		t.Fatal(err)
	}
	var quoted bytes.Buffer
	e := json.NewEncoder(&quoted)
	e.SetEscapeHTML(false)
	_ = e.Encode(text.Text)
	inner := strings.TrimSuffix(strings.TrimPrefix(quoted.String(), `"`), "\"\n")
	for _, around := range [][2]string{
		{`{"role":"system","content":"`, `"},`}, {`,{"role":"system","content":"`, `"}`}, {`{"role":"system","content":"`, `"}`},
		{`,{"type":"text","text":"`, `"}`}, {`\n\n`, ``}, {`,"system":"`, `"`}, {`,"instructions":"`, `"`},
	} {
		if before, after, found := strings.Cut(body, around[0]+inner+around[1]); found {
			return before + after
		}
	}
	t.Fatalf("%q does not hold %q", body, inner)
	return ""
}

// withoutMember takes mnx out of the body of a client, which writes no white
// space and puts it behind the rest.
func withoutMember(t *testing.T, body string) string {
	t.Helper()
	before, _, found := strings.Cut(body, `,"mnx":`)
	if !found || !json.Valid([]byte(before+"}")) {
		t.Fatalf("mnx is not the last member of %s", body)
	}
	return before + "}"
}

// checkAnswer compares what came back: a JSON object that was asked for with
// state has one member more, all else is the same bytes.
func checkAnswer(t *testing.T, name string, direct, proxied exchange) {
	t.Helper()
	want := direct.answer
	if strings.HasPrefix(want, "{") && !strings.Contains(want, "refused") && strings.Contains(direct.body, `"mnx"`) {
		want = strings.TrimSuffix(want, "}\n") + `,"mnx":{"state":{"loaded":true,"key":"current_task","version":3,"bytes":22,"truncated":false}}}` + "\n"
	}
	if proxied.answer != want {
		t.Errorf("%s: the answer is\n%q, want\n%q", name, proxied.answer, want)
	}
}

func dropMnx(result any) {
	if m, ok := result.(map[string]any); ok {
		delete(m, "mnx")
	}
}

func afterV1(path string) string {
	_, after, _ := strings.Cut(path, "/v1/")
	return after
}

// A wiretap notes what a handler sends.
type wiretap struct {
	next http.Handler

	mu   sync.Mutex
	sent []*tapped
}

func (w *wiretap) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	t := &tapped{ResponseWriter: out}
	w.mu.Lock()
	w.sent = append(w.sent, t)
	w.mu.Unlock()
	w.next.ServeHTTP(t, r)
}

type tapped struct {
	http.ResponseWriter
	body strings.Builder
}

func (w *tapped) Write(b []byte) (int, error) {
	w.body.Write(b)
	return w.ResponseWriter.Write(b)
}

func (w *tapped) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// serveModel answers like the vendors do, with the file for the path.
func serveModel(w http.ResponseWriter, r *http.Request) {
	name := strings.ReplaceAll(afterV1(r.URL.Path), "/", "_")
	read, _ := io.ReadAll(r.Body)
	body := string(read)
	status, kind := http.StatusOK, "application/json"
	switch {
	case strings.Contains(body, `"refused"`):
		status, name = http.StatusTooManyRequests, "refused.json"
	case strings.Contains(body, `"stream":true`):
		name, kind = name+".sse", "text/event-stream; charset=utf-8"
	default:
		name += ".json"
	}
	answer, err := os.ReadFile("testdata/" + name)
	if err != nil {
		status, answer = http.StatusNotImplemented, []byte(err.Error())
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("X-Request-Id", "req_1")
	w.WriteHeader(status)
	for part := range bytes.SplitAfterSeq(answer, []byte("\n\n")) {
		_, _ = w.Write(part)
		_ = http.NewResponseController(w).Flush()
	}
}
