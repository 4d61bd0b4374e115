package main

import (
	"bufio"
	"context"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Ensure each write by one client reaches another's subscription, and tell how long
// that takes, next to a plain HTTP stream of the same key: 300 writes, or with
// STATERAFT_TEST_FULL 1,000.
func TestEventLatency(t *testing.T) {
	writes := 300
	if os.Getenv("STATERAFT_TEST_FULL") != "" {
		writes = 1000
	}
	c := startClusterOf(t, plainBuild(t))
	reader := c.nodes[1]
	heard, raw := make(chan string, writes), make(chan string, writes)
	sub, err := reader.client(t).State.Subscribe(t.Context(), "latency", "key")
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	go func() {
		for event, err := range sub.Events() {
			if err != nil {
				return // what is missing is waited for
			}
			heard <- string(event.NewValue)
		}
	}()
	var reading sync.WaitGroup
	defer reading.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	reading.Go(func() { readRaw(ctx, t, reader.url+"/v1/state/latency/key/stream", raw) })
	select {
	case <-raw:
	case <-time.After(testTimeout):
		t.Fatal("the plain stream does not begin")
	}

	writer := c.nodes[0].client(t)
	var subscribed, plain []time.Duration
	for i := range writes {
		begin := time.Now()
		if _, err := writer.State.Set(t.Context(), "latency", "key", i); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			select {
			case got := <-heard:
				subscribed = append(subscribed, time.Since(begin))
				wantTold(t, "the subscription", got, i)
			case got := <-raw:
				plain = append(plain, time.Since(begin))
				wantTold(t, "the plain stream", got, i)
			case <-time.After(testTimeout):
				t.Fatalf("write %d is not told", i)
			}
		}
	}
	for name, took := range map[string][]time.Duration{"subscription": subscribed, "plain HTTP": plain} {
		slices.Sort(took)
		t.Logf("%s of %d writes: p50 %v, p99 %v", name, len(took), took[len(took)/2], took[len(took)*99/100])
	}
}

func wantTold(t *testing.T, who, got string, want int) {
	t.Helper()
	if got != strconv.Itoa(want) {
		t.Fatalf("%s is told %s, want %d", who, got, want)
	}
}

// readRaw tells "" once the stream has begun, and then each new value.
func readRaw(ctx context.Context, t *testing.T, url string, values chan<- string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Error(err)
		return
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Error(err)
		return
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("plain stream: status %d", resp.StatusCode)
		return
	}
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "retry: ") {
			values <- ""
		}
		if _, after, ok := strings.Cut(line, `"newValue":`); ok {
			value, _, _ := strings.Cut(after, ",")
			values <- value
		}
	}
}
