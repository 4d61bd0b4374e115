package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stateraft/stateraft/client"
)

const testRootToken = "root-token-of-the-tests"

// rootTokenFile returns the path of a root token that is kept as it must be.
func rootTokenFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "root-token")
	if err := os.WriteFile(path, []byte(testRootToken+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func startClusterWithAuth(t *testing.T, runs program) *processCluster {
	t.Helper()
	return startClusterOf(t, runs, "--auth", "--log-level", "debug", "--root-token-file", rootTokenFile(t))
}

func (n *processNode) clientOf(t *testing.T, token string) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{Endpoints: []string{n.url}, Token: token, AttemptTimeout: testTimeout, Timeout: 2 * testTimeout})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestRootTokenFile(t *testing.T) {
	tests := []struct {
		name, content string
		mode          os.FileMode
		want, err     string
	}{
		{"good", testRootToken, 0o600, testRootToken, ""},
		{"read-only", " " + testRootToken + "\r\n", 0o400, testRootToken, ""},
		{"group may read", testRootToken, 0o640, "", "must be for its owner alone: its mode is 0640, not 0600"},
		{"all may read", testRootToken, 0o604, "", "its mode is 0604"},
		{"empty", " \n", 0o600, "", "is empty"},
		{"short", "short", 0o600, "", "must be 16 to 1024 bytes"},
		{"not ASCII", testRootToken + "ü", 0o600, "", "must be visible ASCII characters"},
	}
	for _, tt := range tests {
		path := filepath.Join(t.TempDir(), tt.name)
		if err := os.WriteFile(path, []byte(tt.content), tt.mode); err != nil {
			t.Fatal(err)
		}
		got, err := loadRootToken(path)
		if got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: got %q, %v", tt.name, got, err)
		}
		if err != nil && strings.Contains(err.Error(), testRootToken) {
			t.Errorf("%s: the error holds the token", tt.name)
		}
	}
	if got, err := loadRootToken(""); got != "" || err != nil {
		t.Errorf("no file: %q, %v", got, err)
	}
	if _, err := loadRootToken("no/such"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no such file: %v", err)
	}
}

// Ensure a node does not start with a root token that is none.
func TestServeRefusesRootToken(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "short")
	if err := os.WriteFile(path, []byte("short-secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := startProcess(t, "serve", "--data-dir", t.TempDir(), "--http-addr", "127.0.0.1:0", "--raft-addr", "127.0.0.1:0",
		"--gossip-addr", "127.0.0.1:0", "--auth", "--root-token-file", path)
	p.waitEnd(t)
	if code := p.cmd.ProcessState.ExitCode(); code != exitUsage || !strings.Contains(p.log.String(), "short: must be 16 to 1024 bytes") ||
		strings.Contains(p.log.String(), "short-secret") {
		t.Errorf("exit code %d: %s", code, p.log)
	}
}

// Ensure the commands of docs/auth.md do what it says.
func TestDocumentedKeys(t *testing.T) {
	t.Parallel()
	n := startNode(t, t.TempDir(), "--auth", "--root-token-file", rootTokenFile(t))
	doc, err := os.ReadFile("../../docs/auth.md")
	if err != nil {
		t.Fatal(err)
	}
	var script strings.Builder
	for line := range strings.Lines(string(doc)) {
		command, isCommand := strings.CutPrefix(line, "    ")
		switch {
		case !isCommand, strings.HasPrefix(command, "stateraft serve"), strings.HasPrefix(command, "new EventSource"):
		case strings.Contains(command, "urandom"): // the node has one already
			script.WriteString("(umask 077; echo " + testRootToken + " > root-token)\n")
		case strings.HasPrefix(command, "curl"):
			script.WriteString(strings.TrimSuffix(command, "\n") + "; echo\n")
		default:
			script.WriteString(command)
		}
	}
	cmd := exec.Command("bash", "-euo", "pipefail", "-c", strings.ReplaceAll(script.String(), "http://localhost:7474", n.url))
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "STATERAFT_ENDPOINTS="+n.url)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s\n%s", err, out, script.String())
	}
	answers := string(out)
	for _, want := range []string{
		`{"version":1}`, `{"keys":["status"]}`, `{"error":"FORBIDDEN",`, `{"error":"UNAUTHORIZED",`, " was revoked", `{"error":"UNAUTHORIZED",`,
		`"token":"sr_`, `"name":"reader"`, `"expiresAt":"2`, `{"keys":[{"id":"`,
	} {
		_, rest, found := strings.Cut(answers, want)
		if !found {
			t.Fatalf("%s is not in what is left of the answers, %s, of\n%s", want, answers, out)
		}
		answers = rest
	}
}

// Ensure a revoked key is refused by three processes, and its streams at all of
// them end, soon after one was told, whether anything else happens or not.
func TestRevocationAcrossProcesses(t *testing.T) {
	const (
		rounds = 10
		atOnce = 40 * time.Millisecond // without a notice, Raft tells of a commit some 50 to 100 ms later
	)
	c := startClusterWithAuth(t, plainBuild(t))
	for _, polled := range []bool{false, true} {
		if err := retry(t, func() (slow bool, err error) {
			var took []time.Duration
			for round := range rounds {
				d, err := c.revocation(t, round, polled)
				if err != nil {
					return false, err
				}
				took = append(took, d)
			}
			slices.Sort(took)
			t.Logf("polled %v: from the answer to the last of 3 nodes and 6 streams: quickest %v, median %v, slowest %v of %d",
				polled, took[0], took[rounds/2], took[rounds-1], rounds)
			if took[0] > atOnce { // what is not told at once is late in every round of every try, else the machine is slow
				return true, fmt.Errorf("all of %d revocations took more than %v", rounds, atOnce)
			}
			return false, nil
		}); err != nil {
			t.Error(err)
		}
	}
}

// revocation makes a key, opens streams with it at every node, revokes it and
// returns how long after the answer all of them had ended. polled: and until every
// node, asked all the time, refused it.
func (c *processCluster) revocation(t *testing.T, round int, polled bool) (time.Duration, error) {
	t.Helper()
	ctx := context.Background()
	key, token, err := c.nodes[round%3].clientOf(t, testRootToken).Keys.Create(ctx, client.NewKey{Scopes: []string{"state:read"}})
	if err != nil {
		return 0, err
	}
	var ending sync.WaitGroup
	for _, n := range c.nodes {
		for _, path := range []string{"/v1/state/wf/k/stream?access_token=" + token, "/v1/state/wf?access_token=" + token} {
			body, err := dialStream(t, n.url+path)
			if err != nil {
				return 0, err
			}
			ending.Go(func() {
				_, _ = io.Copy(io.Discard, body)
				body.Close()
			})
		}
	}
	start := time.Now()
	if polled {
		for _, n := range c.nodes {
			ending.Go(func() {
				for getWith(n.url+"/v1/state/wf/k?consistency=stale", token) != http.StatusUnauthorized && time.Since(start) < testTimeout {
					time.Sleep(time.Millisecond) // which leaves the nodes some of the machine
				}
			})
		}
	}
	if err := c.nodes[(round+1)%3].clientOf(t, testRootToken).Keys.Revoke(ctx, key.ID); err != nil {
		return 0, err
	}
	answered := time.Now() // what comes before is the disks'
	ending.Wait()
	took := time.Since(answered)
	for i, n := range c.nodes {
		if status := getWith(n.url+"/v1/state/wf/k?consistency=stale", token); status != http.StatusUnauthorized {
			return 0, fmt.Errorf("node %d gave %d", i+1, status)
		}
	}
	return took, nil
}

// Ensure streams end soon after their key has run out, at every node, and
// never before.
func TestStreamsEndWhenKeyRunsOut(t *testing.T) {
	const soon = 500 * time.Millisecond
	c := startClusterWithAuth(t, plainBuild(t))
	if err := retry(t, func() (spoilt bool, err error) {
		stalls := startStallMeter()
		lateness, err := c.runOut(t, 5)
		spoilt = stalls.end() >= longStall || errors.Is(err, errOpenedLate)
		if err != nil {
			return spoilt, err
		}
		slices.Sort(lateness)
		t.Logf("the last of three streams was late by %v", lateness)
		if lateness[0] > soon { // what is not told at once is late with every key
			return spoilt, fmt.Errorf("streams ended %v late at least, want %v", lateness[0], soon)
		}
		return spoilt, nil
	}); err != nil {
		t.Error(err)
	}
}

var errOpenedLate = errors.New("the key ran out before its streams were open")

// runOut makes n keys, opens streams with each at every node and returns how
// late the last one of each ended.
func (c *processCluster) runOut(t *testing.T, n int) ([]time.Duration, error) {
	t.Helper()
	lateness, errs := make([]time.Duration, n), make([]error, n)
	var keys sync.WaitGroup
	for i := range n {
		root := c.nodes[i%3].clientOf(t, testRootToken)
		keys.Go(func() { lateness[i], errs[i] = c.runOutOne(t, root) })
	}
	keys.Wait()
	return lateness, errors.Join(errs...)
}

func (c *processCluster) runOutOne(t *testing.T, root *client.Client) (late time.Duration, err error) {
	const ttl = 2 * time.Second // streams must open in it
	before := time.Now()
	_, token, err := root.Keys.Create(context.Background(), client.NewKey{Scopes: []string{"state:read"}, TTL: ttl})
	if err != nil {
		return 0, err
	}
	after := time.Now()
	var ending sync.WaitGroup
	defer ending.Wait()
	for _, n := range c.nodes {
		body, err := dialStream(t, n.url+"/v1/state/wf?access_token="+token)
		if err != nil && time.Since(before) >= ttl {
			return 0, fmt.Errorf("%w: %w", errOpenedLate, err)
		}
		if err != nil {
			t.Errorf("a stream does not open, %v before its key runs out: %v", ttl-time.Since(before), err)
			return 0, nil
		}
		ending.Go(func() {
			_, _ = io.Copy(io.Discard, body)
			body.Close()
			if lasted := time.Since(before); lasted < ttl {
				t.Errorf("a stream ended after %v, before its key", lasted)
			}
		})
	}
	ending.Wait()
	late = time.Since(after) - ttl
	for i, n := range c.nodes {
		if status := getWith(n.url+"/v1/state/wf", token); status != http.StatusUnauthorized {
			t.Errorf("node %d gave %d", i+1, status)
		}
	}
	return late, nil
}

// openStream returns a stream whose head and first block have come. It lasts
// for testTimeout at most.
func openStream(t *testing.T, url string) io.ReadCloser {
	t.Helper()
	body, err := dialStream(t, url)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// dialStream is openStream for those who bear an error.
func dialStream(t *testing.T, url string) (io.ReadCloser, error) {
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "text/event-stream")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	if _, err := bufio.NewReader(res.Body).ReadString('\n'); err != nil || res.StatusCode != http.StatusOK {
		res.Body.Close()
		return nil, fmt.Errorf("%s, %v", res.Status, err)
	}
	return res.Body, nil
}

// getWith returns the status of a GET with a key, 0 for none.
func getWith(url, token string) int {
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return 0
	}
	req.Header.Set("x-mnexium-key", token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	_, _ = io.Copy(io.Discard, res.Body)
	res.Body.Close()
	return res.StatusCode
}

// Ensure that after real traffic no secret is in what processes leave behind:
// logs at their most talkative, figures, Raft logs and snapshots.
func TestProcessesKeepSecrets(t *testing.T) {
	t.Parallel()
	c := startClusterWithAuth(t, program{})
	ctx := context.Background()
	root := c.nodes[0].clientOf(t, testRootToken)
	var secrets []string
	ids := ""
	for range 3 {
		key, token, err := root.Keys.Create(ctx, client.NewKey{Name: "told", Scopes: []string{"state:read", "state:write"}})
		if err != nil {
			t.Fatal(err)
		}
		ids = key.ID
		secrets = append(secrets, token)
	}
	wrong := secrets[0][:len(secrets[0])-4] + "AAAA"
	for i, n := range c.nodes {
		holder := n.clientOf(t, secrets[i])
		for v := range 50 {
			if _, err := holder.State.Set(ctx, "wf", "k"+strconv.Itoa(v), v); err != nil {
				t.Fatal(err)
			}
		}
		openStream(t, n.url+"/v1/state/wf/k/stream?access_token="+secrets[i]).Close()
		for _, path := range []string{"/v1/state/wf?access_token=", "/v1/cluster?access_token=", "/no/such?access_token=", "/v1/state/wf/k/stream?access_token=%zz"} {
			getWith(n.url+path+wrong, wrong)
			getWith(n.url+path+secrets[i], testRootToken)
		}
	}
	secrets = append(secrets, wrong, testRootToken)
	for i, n := range c.nodes {
		if getWith(n.url+"/metrics", testRootToken) != http.StatusOK {
			t.Error("no metrics")
		}
		var figures bytes.Buffer
		if err := scrape(&figures, n.url+"/metrics"); err != nil {
			t.Fatal(err)
		}
		noSecret(t, "the metrics", figures.Bytes(), secrets)
		n.stop(t, syscall.SIGTERM)
		noSecret(t, "the log", []byte(n.log.String()), secrets)
		found := false
		err := filepath.WalkDir(n.flag("--data-dir"), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			content, err := os.ReadFile(path)
			found = found || bytes.Contains(content, []byte(ids))
			noSecret(t, path, content, secrets)
			return err
		})
		if err != nil || !found {
			t.Errorf("node %d: the data directory does not hold the key's id: %v", i+1, err)
		}
	}
}

func scrape(into io.Writer, url string) error {
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+testRootToken)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, err = io.Copy(into, res.Body)
	return err
}

// noSecret looks for what follows the id of a token, and for whole root tokens.
func noSecret(t *testing.T, where string, text []byte, secrets []string) {
	t.Helper()
	for _, s := range secrets {
		if parts := strings.SplitN(s, "_", 3); len(parts) == 3 {
			s = parts[2]
		}
		if i := bytes.Index(text, []byte(s)); i >= 0 {
			t.Errorf("%s holds a secret: …%.120q", where, text[max(0, i-60):])
		}
	}
}
