package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stateraft/stateraft/client"
)

// processCluster is three nodes that are processes of their own.
type processCluster struct {
	nodes []*processNode
}

// processNode is one of them; it keeps its addresses over restarts.
type processNode struct {
	*process
	runs  program
	flags []string
	netns string // network namespace that it runs in; empty: the test's
}

// startCluster takes flags beyond those that every node has.
func startCluster(t *testing.T, flags ...string) *processCluster {
	t.Helper()
	return startClusterOf(t, program{}, flags...)
}

func startClusterOf(t *testing.T, runs program, flags ...string) *processCluster {
	t.Helper()
	const size = 3
	addrs := freeAddrs(t, 3*size)
	http, raft, gossip := addrs[:size], addrs[size:2*size], addrs[2*size:]
	dir := t.TempDir()
	c := new(processCluster)
	for i := range size {
		name := fmt.Sprint("n", i+1)
		n := &processNode{runs: runs, flags: append([]string{
			"serve", "--node-id", name, "--data-dir", filepath.Join(dir, name), "--log-format", "json",
			"--http-addr", http[i], "--raft-addr", raft[i], "--gossip-addr", gossip[i],
			"--join", strings.Join(gossip, ","), "--bootstrap-expect", strconv.Itoa(size),
		}, flags...)}
		n.start(t)
		c.nodes = append(c.nodes, n)
	}
	for _, n := range c.nodes {
		n.waitReady(t)
	}
	return c
}

const (
	firstFreePort = 10_000
	freePortCount = 20_000
)

// freeAddrs tries one port after the other, from a random one on: other
// processes test too.
var (
	portOffset = rand.Uint32N(freePortCount)
	portsTried atomic.Uint32
)

// freeAddrs returns addresses that nobody listens at, below the ports that
// outgoing connections take: one of those could have it when a node restarts.
// For the same reason it returns none twice.
func freeAddrs(t *testing.T, n int) []string {
	t.Helper()
	var addrs []string
	for tries := 0; len(addrs) < n; tries++ {
		l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", firstFreePort+(portOffset+portsTried.Add(1))%freePortCount))
		if err == nil {
			defer l.Close()
			addrs = append(addrs, l.Addr().String())
		} else if tries >= 100 {
			t.Fatal(err)
		}
	}
	return addrs
}

func (n *processNode) start(t *testing.T) {
	t.Helper()
	n.process = startCommand(t, n.command())
	n.waitServing(t)
}

func (n *processNode) command() *exec.Cmd {
	if n.netns == "" {
		return n.runs.command(nil, n.flags...)
	}
	return n.runs.command([]string{"ip", "netns", "exec", n.netns}, n.flags...)
}

// client returns a client of the node alone that has patience, for machines
// under load.
func (n *processNode) client(t *testing.T) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{Endpoints: []string{n.url}, AttemptTimeout: testTimeout, Timeout: 2 * testTimeout})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Ensure every curl of the vendor's document works as printed there, but for
// the port, on every node.
func TestDocumentedCurls(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	for i, n := range c.nodes {
		script := strings.NewReplacer("http://localhost:7474", n.url, "wf-1", fmt.Sprint("wf-", i+1)).Replace(`
			curl -sS -X POST http://localhost:7474/v1/state/wf-1/status \
			  -H "Content-Type: application/json" \
			  -d '{"value": {"step": "researching"}, "ttl": 0}'
			curl -sS http://localhost:7474/v1/state/wf-1/status`)
		out, err := exec.Command("bash", "-ec", script).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		dec := json.NewDecoder(strings.NewReader(string(out)))
		var set struct{ Version int }
		var get struct {
			Value   map[string]string
			Version int
		}
		if err := errors.Join(dec.Decode(&set), dec.Decode(&get)); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if set.Version != 1 || get.Version != 1 || get.Value["step"] != "researching" {
			t.Errorf("node %d answered %s", i+1, out)
		}
	}
}

// Ensure the published Python client does everything it offers for state
// against each node.
func TestPublishedPythonClient(t *testing.T) {
	t.Parallel()
	python := os.Getenv("STATERAFT_TEST_PYTHON")
	if python == "" {
		t.Skip("STATERAFT_TEST_PYTHON names no interpreter with the published clients; scripts/test.sh sets it")
	}
	drive := func(n *processNode, args ...string) {
		args = append([]string{"testdata/cntrlnode_client.py", strings.TrimPrefix(n.url, "http://")}, args...)
		if out, err := exec.Command(python, args...).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", n.url, err, out)
		}
	}
	for i, n := range startCluster(t).nodes {
		drive(n, fmt.Sprint("wf-", i))
	}
	drive(startClusterWithAuth(t, program{}).nodes[0], "wf", testRootToken)
}

// Ensure a write on one node is read on another at once: linearizable by
// default, and with the revision's token when stale.
func TestReadElsewhereAtOnce(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	pairs := 2000
	switch {
	case os.Getenv("STATERAFT_TEST_FULL") != "":
		pairs = 10_000
	case testing.Short():
		pairs = 500
	}
	const workers = 16
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			key := fmt.Sprint("k", w)
			for i := range pairs / workers {
				writer, reader := c.nodes[rand.IntN(3)], c.nodes[rand.IntN(3)]
				revision, err := setInt(writer.url, "pairs", key, i)
				if err != nil {
					t.Error(err)
					return
				}
				var query, token string
				if i%2 == 1 {
					query, token = "?consistency=stale", revision
				}
				if got, err := getInt(reader.url+"/v1/state/pairs/"+key+query, token); err != nil || got != i {
					t.Errorf("wrote %d, read %d, %v", i, got, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// Ensure a leader that is drained leads no more and sends load balancers away,
// but serves whoever comes, and that a restart undoes it.
func TestClusterDrain(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	leader := c.nodes[c.leader(t)]
	for range 2 {
		for deadline := time.Now().Add(testTimeout); ; {
			code, out, errs := stateraft("cluster", "drain", "--endpoints", leader.url, "--output", "json")
			if code == exitOK && out == "{\"ok\":true}\n" {
				break
			}
			if !strings.Contains(errs, "REFUSED") && !strings.Contains(errs, "OUTCOME_UNKNOWN") || time.Now().After(deadline) { // a busy follower may not win its election
				t.Fatalf("drain: exit code %d, %q, %s", code, out, errs)
			}
		}
		if got := leader.status("/ready"); got != http.StatusServiceUnavailable {
			t.Errorf("/ready of a node that drains: %d, want 503", got)
		}
	}
	if next := c.nodes[c.leader(t)]; next == leader {
		t.Error("the node that drains leads")
	} else {
		next.waitReady(t)
	}
	if _, err := setInt(leader.url, "drain", "k", 7); err != nil {
		t.Error(err)
	}
	if got, err := getInt(leader.url+"/v1/state/drain/k", ""); err != nil || got != 7 {
		t.Errorf("read %d, %v, want 7", got, err)
	}
	leader.stop(t, syscall.SIGTERM)
	leader.start(t)
	leader.waitReady(t)
}

func setInt(url, workflow, key string, value int) (revision string, err error) {
	body := strings.NewReader(fmt.Sprintf(`{"value":%d}`, value))
	resp, err := http.Post(url+"/v1/state/"+workflow+"/"+key, "application/json", body)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("set: %s: %s", resp.Status, text)
	}
	return resp.Header.Get("X-Stateraft-Revision"), err
}

func getInt(url, minRevision string) (int, error) {
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	if minRevision != "" {
		req.Header.Set("X-Stateraft-Min-Revision", minRevision)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var entry struct{ Value int }
	if resp.StatusCode != http.StatusOK {
		return 0, errors.New(resp.Status)
	}
	return entry.Value, json.NewDecoder(resp.Body).Decode(&entry)
}

// Ensure that after kill -9 of any node, six times, under 16 writers spread
// over the nodes, every acknowledged write is there on every node, and that
// clients of the surviving nodes saw neither an error nor a second effect: the
// version of a key is the number of its writes.
func TestKillUnderLoad(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	rounds := 6
	if testing.Short() {
		rounds = 2
	}
	const writers = 16
	acked := make([]uint64, writers) // version acknowledged last, a writer
	tried := make([]uint64, writers) // writes sent, a writer
	down := make([]atomic.Int64, len(c.nodes))
	var stop atomic.Bool
	var wg sync.WaitGroup
	finish := func() {
		stop.Store(true)
		wg.Wait()
	}
	defer finish() // also where a node does not come back
	for w := range writers {
		n := w % len(c.nodes)
		cl := c.nodes[n].client(t)
		wg.Go(func() {
			for !stop.Load() {
				before := down[n].Load()
				tried[w]++
				version, err := cl.State.Set(context.Background(), "load", fmt.Sprint("w", w), tried[w])
				switch {
				case err == nil && (version <= acked[w] || version > tried[w]):
					t.Errorf("writer %d: write %d got version %d after %d", w, tried[w], version, acked[w])
					return
				case err == nil:
					acked[w] = version
				case before%2 == 0 && down[n].Load() == before:
					t.Errorf("writer %d: error at a node that lives: %v", w, err)
					return
				default:
					time.Sleep(10 * time.Millisecond) // its node is dead
				}
			}
		})
	}
	for range rounds {
		time.Sleep(300 * time.Millisecond) // of load
		victim := rand.IntN(len(c.nodes))
		down[victim].Add(1)
		c.nodes[victim].stop(t, syscall.SIGKILL)
		time.Sleep(500 * time.Millisecond) // of load on the others
		c.nodes[victim].start(t)
		c.nodes[victim].waitReady(t)
		down[victim].Add(1)
	}
	finish()
	total := uint64(0)
	for w := range writers {
		total += acked[w]
		for i, n := range c.nodes {
			e, err := n.client(t).State.Get(context.Background(), "load", fmt.Sprint("w", w))
			if err != nil {
				t.Fatal(err)
			}
			if e.Version < acked[w] || e.Version > tried[w] {
				t.Errorf("node %d: w%d is at version %d; %d writes sent, version %d acknowledged", i+1, w, e.Version, tried[w], acked[w])
			}
		}
	}
	t.Logf("%d kills, %d acknowledged writes", rounds, total)
}
