package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// metric returns a figure of /metrics.
func (n *processNode) metric(t *testing.T, name string) float64 {
	t.Helper()
	resp, err := http.Get(n.url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			f, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				t.Fatal(err)
			}
			return f
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// setKeyed sets a key under each of n idempotency keys, over all nodes.
func setKeyed(t *testing.T, c *processCluster, n int) {
	t.Helper()
	const connections = 96
	var next atomic.Int64
	var wg sync.WaitGroup
	for w := range connections {
		endpoint, err := url.Parse(c.nodes[w%len(c.nodes)].url)
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			conn, err := dialBench(t.Context(), endpoint, testTimeout)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.close()
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				request := fmt.Sprintf("POST /v1/state/keyed/k%d HTTP/1.1\r\nHost: n\r\nContent-Length: 11\r\nIdempotency-Key: id-%d\r\n\r\n"+`{"value":1}`, i%1000, i)
				status, body, err := conn.do([]byte(request), time.Now())
				if err != nil || status != http.StatusOK {
					t.Errorf("set %d: %d, %s, %v", i, status, body, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// keyedSet sets a key under one idempotency key; again has no second effect.
func keyedSet(t *testing.T, n *processNode, id string) (status int, retryAfter string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, n.url+"/v1/state/keyed/k", strings.NewReader(`{"value":1}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Idempotency-Key", id)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode, resp.Header.Get("Retry-After")
}

// Ensure every node keeps the answers to all idempotency keys, also over its
// death. With STATERAFT_TEST_FULL there are as many as the cluster keeps, and
// one more is refused until there is room; what needs none goes on.
func TestManyIdempotencyKeys(t *testing.T) {
	t.Parallel()
	const most = 1_000_000
	records := 5000
	if os.Getenv("STATERAFT_TEST_FULL") != "" {
		records = most
	}
	c := startCluster(t)
	var before []float64
	for _, n := range c.nodes {
		before = append(before, n.metric(t, "process_resident_memory_bytes"))
	}
	begin := time.Now()
	setKeyed(t, c, records)
	t.Logf("%d keyed sets took %v", records, time.Since(begin))
	for i, n := range c.nodes {
		grown := n.metric(t, "process_resident_memory_bytes") - before[i]
		t.Logf("n%d: resident memory grew by %.1f MB, that is %.0f B a record with all else; heap %.1f MB", i+1,
			grown/1e6, grown/float64(records), n.metric(t, "go_memstats_heap_alloc_bytes")/1e6)
	}
	if records == most {
		for i, n := range c.nodes {
			if status, after := keyedSet(t, n, "one-more"); status != http.StatusTooManyRequests || after == "" {
				t.Errorf("one more at n%d: status %d, Retry-After %q", i+1, status, after)
			}
			if _, err := n.client(t).State.Set(t.Context(), "keyed", "free", 1); err != nil {
				t.Error(err)
			}
			if _, err := n.client(t).State.Delete(t.Context(), "keyed", "free"); err != nil {
				t.Error(err)
			}
		}
	}
	n := c.nodes[c.leader(t)]
	n.stop(t, syscall.SIGKILL)
	begin = time.Now()
	n.start(t)
	n.waitReady(t)
	t.Logf("the leader was ready again %v after its restart", time.Since(begin))
	for i, n := range c.nodes {
		if got := n.status("/v1/state/keyed/k1"); got != http.StatusOK { // which waits for all that was acknowledged
			t.Errorf("a read at n%d: status %d", i+1, got)
		}
		if got := n.metric(t, "stateraft_idempotency_records"); int(got) != records {
			t.Errorf("n%d keeps %.0f records, want %d", i+1, got, records)
		}
	}
}
