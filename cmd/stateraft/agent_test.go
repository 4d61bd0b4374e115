package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// Ensure the published Python client does everything it offers for agent state
// against each node.
func TestPublishedMnexiumClient(t *testing.T) {
	t.Parallel()
	python := os.Getenv("STATERAFT_TEST_PYTHON")
	if python == "" {
		t.Skip("STATERAFT_TEST_PYTHON names no interpreter with the published clients; scripts/test.sh sets it")
	}
	c := startCluster(t)
	var bases []string
	for _, n := range c.nodes {
		bases = append(bases, n.url+"/api/v1")
	}
	for i, base := range bases {
		cmd := exec.Command(python, "testdata/mnexium_client.py", base, fmt.Sprint("user_", i), strings.Join(bases, ","))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("node %d: %v\n%s", i+1, err, out)
		}
	}
}

// A model is an upstream that tells what it was sent.
type model struct {
	*httptest.Server
	keys, bodies chan string // of each request
}

func startModel(t *testing.T) *model {
	m := &model{keys: make(chan string, 100), bodies: make(chan string, 100)}
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		m.keys <- r.Header.Get("Authorization")
		m.bodies <- string(body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"choices":[]}`)
	}))
	t.Cleanup(m.Close)
	return m
}

// Ensure every curl of the vendor's document works as printed there, but for
// the host, on every node, and that what it did is seen on every other.
func TestDocumentedAgentCurls(t *testing.T) {
	t.Parallel()
	model := startModel(t)
	c := startCluster(t, "--llm-openai-url", model.URL+"/v1")
	for i, n := range c.nodes {
		var put struct{ Ok bool }
		n.curl(t, &put, `curl -X PUT "https://www.mnexium.com/api/v1/state/current_task" \
-H "x-mnexium-key: $MNX_KEY" \
-H "Content-Type: application/json" \
-H "X-Subject-ID: user_123" \
-d '{
"value": {
"status": "in_progress",
"task": "Plan trip to Tokyo",
"steps_completed": ["research", "book_flights"],
"next_step": "book_hotels"
},
"ttl_seconds": 3600
}'`)
		if !put.Ok {
			t.Errorf("node %d: the put is not ok", i+1)
		}
		for _, reader := range c.nodes {
			var got struct {
				Key       string
				Value     map[string]any
				TTL       string
				UpdatedAt string `json:"updated_at"`
			}
			reader.curl(t, &got, `curl "https://www.mnexium.com/api/v1/state/current_task" \
-H "x-mnexium-key: $MNX_KEY" \
-H "X-Subject-ID: user_123"`)
			if got.Key != "current_task" || got.Value["next_step"] != "book_hotels" || got.TTL == "" || got.UpdatedAt == "" {
				t.Errorf("written at node %d, read at another: %+v", i+1, got)
			}
		}
		var answer struct {
			Mnx struct{ State struct{ Loaded bool } }
		}
		n.curl(t, &answer, `curl -X POST "https://www.mnexium.com/api/v1/chat/completions" \
-H "x-mnexium-key: $MNX_KEY" \
-H "x-openai-key: $OPENAI_KEY" \
-d '{ "model": "gpt-4o-mini", "messages": [{ "role": "user", "content": "What should I do next?" }], "mnx": { "subject_id": "user_123", "state": { "load": true, "key": "current_task" } } }'`)
		key, body := heard(t, model.keys), heard(t, model.bodies)
		if !answer.Mnx.State.Loaded || key != "Bearer sk-secret" || !strings.Contains(body, "book_hotels") || strings.Contains(body, "mnx") {
			t.Errorf("node %d: answer %+v, the model got %s with %s", i+1, answer, key, body)
		}
		var deleted struct{ Ok bool }
		n.curl(t, &deleted, `curl -X DELETE "https://www.mnexium.com/api/v1/state/current_task" -H "x-mnexium-key: $MNX_KEY" -H "X-Subject-ID: user_123"`)
		for _, reader := range c.nodes {
			var missing struct{ Error string }
			reader.curl(t, &missing, `curl "https://www.mnexium.com/api/v1/state/current_task" -H "x-mnexium-key: $MNX_KEY" -H "X-Subject-ID: user_123"`)
			if !deleted.Ok || missing.Error != "not_found" {
				t.Errorf("deleted at node %d, read at another: %+v", i+1, missing)
			}
		}
	}
}

// curl runs the vendor's command against n and decodes what it prints.
func (n *processNode) curl(t *testing.T, into any, command string) {
	t.Helper()
	cmd := exec.Command("bash", "-ec", strings.ReplaceAll(command, "https://www.mnexium.com", n.url))
	cmd.Env = append(os.Environ(), "MNX_KEY=mnx_any", "OPENAI_KEY=sk-secret")
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, into)
	}
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

var (
	fence   = regexp.MustCompile("(?ms)^```(\\w+)\n(.*?)^```$")
	instant = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z`)
)

// Ensure the tutorial's commands print what stands below them.
func TestAgentStateTutorial(t *testing.T) {
	t.Parallel()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3, which the tutorial's stand-in for a model needs")
	}
	c := startCluster(t, "--llm-openai-url", startStandIn(t, python))
	text, err := os.ReadFile("../../docs/agent-state.md")
	if err != nil {
		t.Fatal(err)
	}
	var ports []string
	for i, n := range c.nodes {
		ports = append(ports, fmt.Sprint("http://localhost:", 7474+i), n.url)
	}
	blocks := fence.FindAllStringSubmatch(strings.NewReplacer(ports...).Replace(string(text)), -1)
	setup, ran := "set -eu\n", 0
	for i, b := range blocks {
		if b[1] != "sh" {
			continue
		}
		if i+1 == len(blocks) || blocks[i+1][1] == "sh" { // it prints nothing
			setup += b[2]
			continue
		}
		ran++
		out, err := exec.Command("bash", "-c", setup+b[2]).CombinedOutput()
		if want := blocks[i+1][2]; err != nil || normalized(string(out)) != normalized(want) {
			t.Errorf("%v: %sgot\n%swant\n%s", err, b[2], out, want)
		}
	}
	if ran < 6 {
		t.Errorf("only %d commands were found", ran)
	}
}

// normalized makes equal what differs from run to run.
func normalized(output string) string {
	return strings.TrimSpace(instant.ReplaceAllString(output, "INSTANT"))
}

// startStandIn returns the base URL of the tutorial's stand-in for a model.
func startStandIn(t *testing.T, python string) string {
	t.Helper()
	cmd := exec.Command(python, "../../docs/standin.py", "0")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	url, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(url)
}

// Ensure a writer who slept through a delete at another node wins nowhere, and
// that what one node refuses is as it was on all of them.
func TestAgentStaleWriters(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	put := func(n *processNode, condition, value string) (status int, version string) {
		t.Helper()
		return n.agent(t, http.MethodPut, condition, fmt.Sprintf(`{"value":%q}`, value))
	}
	if status, version := put(c.nodes[0], "If-None-Match: *", "first"); status != 200 || version != `"1"` {
		t.Fatalf("create: %d, version %s", status, version)
	}
	if status, _ := c.nodes[1].agent(t, http.MethodDelete, `If-Match: "1"`, ""); status != 200 {
		t.Fatalf("delete: %d", status)
	}
	stale := func(conditions ...string) {
		t.Helper()
		for i, n := range c.nodes {
			for _, condition := range conditions {
				if status, _ := put(n, condition, "stale"); status != http.StatusPreconditionFailed {
					t.Errorf("node %d, %s: %d, want 412", i+1, condition, status)
				}
			}
		}
	}
	stale(`If-Match: "1"`, `If-Match: "2"`, "If-Match: *")
	if status, version := put(c.nodes[2], "If-None-Match: *", "second"); status != 200 || version != `"3"` {
		t.Fatalf("create anew: %d, version %s", status, version)
	}
	stale(`If-Match: "1"`, `If-Match: "2"`, "If-None-Match: *")
	for i, n := range c.nodes {
		if status, version := n.agent(t, http.MethodGet, "", ""); status != 200 || version != `"3"` {
			t.Errorf("node %d: %d, version %s", i+1, status, version)
		}
	}
}

// agent sends a request about one key of agent state and returns the status
// and the version that is told.
func (n *processNode) agent(t *testing.T, method, condition, body string) (status int, version string) {
	t.Helper()
	req, err := http.NewRequest(method, n.url+"/api/v1/state/flow/checkout", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Subject-ID", "user_123")
	if name, value, ok := strings.Cut(condition, ": "); ok {
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode, resp.Header.Get("ETag")
}
