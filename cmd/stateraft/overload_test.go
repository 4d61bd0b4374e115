package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// Ensure that of many clients that heed no Retry-After, with large values,
// those that are admitted do not wait for long, the others are refused and
// nothing else, memory is bounded, and health and reads go on. With
// STATERAFT_TEST_FULL there are 2,000 clients for a minute.
func TestOverload(t *testing.T) {
	const (
		mostMemory = 1 << 30 // of a node, less the pages of its files; clients' bodies alone may take 256 MiB
		mostProbe  = 5 * time.Second
	)
	clients, duration, mostP99 := "1000", 6*time.Second, 5000.0 // ms; the machine may have other work
	if os.Getenv("STATERAFT_TEST_FULL") != "" {
		clients, duration, mostP99 = "2000", time.Minute, 1000
	}
	plain := plainBuild(t)
	if err := despiteStalls(t, func() (err error) {
		t.Run("cluster", func(t *testing.T) {
			c := startClusterOf(t, plain)
			var asking sync.WaitGroup
			defer asking.Wait() // also where the bench fails
			var took time.Duration
			var failed error
			asking.Go(func() { took, failed = probe(c, time.Now().Add(duration)) })
			run := bench(t, c, "--mode", "write", "--value-bytes", "64KiB", "--keys", "100", "--clients", clients, "--duration", duration.String())
			asking.Wait()
			t.Logf("%d writes, p50 %v ms, p99 %v ms, at most %v ms; others: %v; slowest probe %v", run.Ops, run.P50Ms, run.P99Ms, run.MaxMs, run.Errors, took)
			var memory float64
			for _, n := range c.nodes {
				memory = max(memory, n.metric(t, "go_memstats_sys_bytes"))
			}
			switch {
			case memory > mostMemory:
				err = fmt.Errorf("a node has taken %.0f MB", memory/1e6)
			case failed != nil:
				err = failed
			case run.Errors["OVERLOADED"] == 0 || len(run.Errors) != 1:
				err = fmt.Errorf("errors are %v, want refusals for overload alone", run.Errors)
			case run.P99Ms > mostP99 || took > mostProbe:
				err = fmt.Errorf("p99 of the admitted is %v ms, the slowest probe %v; want at most %v ms, %v", run.P99Ms, took, mostP99, mostProbe)
			}
		})
		return err
	}); err != nil {
		t.Error(err)
	}
}

func bench(t *testing.T, c *processCluster, args ...string) benchFigures {
	t.Helper()
	var urls []string
	for _, n := range c.nodes {
		urls = append(urls, n.url)
	}
	args = append([]string{"bench", "--output", "json", "--keep", "--endpoints", strings.Join(urls, ",")}, args...)
	out, err := c.nodes[0].runs.command(nil, args...).Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var told struct{ Runs []benchRun }
	if err := json.Unmarshal(out, &told); err != nil || len(told.Runs) != 1 {
		t.Fatalf("%v: %s", err, out)
	}
	return told.Runs[0].Total
}

// probe asks each node for its health and a key until the deadline, and returns
// the longest time that an answer took, and an error for answers that are wrong.
func probe(c *processCluster, until time.Time) (slowest time.Duration, err error) {
	for time.Now().Before(until) {
		for _, n := range c.nodes {
			for path, want := range map[string]int{"/health": http.StatusOK, "/v1/state/none/none": http.StatusNotFound} {
				took, failed := timed(n.url+path, want)
				slowest = max(slowest, took)
				if failed != nil {
					err = failed
				}
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	return slowest, err
}

func timed(url string, want int) (time.Duration, error) {
	begin := time.Now()
	resp, err := (&http.Client{Timeout: testTimeout}).Get(url)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	if resp.StatusCode != want {
		err = fmt.Errorf("%s: status %d", url, resp.StatusCode)
	}
	return time.Since(begin), err
}
