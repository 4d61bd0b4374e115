package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stateraft/stateraft/client"
)

// expiryLoad is how many keys end, over how long.
type expiryLoad struct {
	keys    int
	window  time.Duration
	writers int // of sets beside, 100 a second each
}

// expiryLoadOfTest is small, or with STATERAFT_TEST_FULL what is promised of.
func expiryLoadOfTest() expiryLoad {
	if os.Getenv("STATERAFT_TEST_FULL") != "" {
		return expiryLoad{100_000, 10 * time.Second, 20}
	}
	return expiryLoad{5000, 2 * time.Second, 5}
}

// An ending is one key's: not before notBefore, by the client's clock, and due
// at expiresAt, as the cluster says.
type ending struct {
	notBefore, expiresAt time.Time
}

// Ensure keys end when their time is up, never early, as a subscriber of
// another node than the leader sees it while writes go on; also those whose
// time is up while a leader dies. How late is measured where no stall of the
// machine, and no other election, disturbs it.
func TestExpiryLateness(t *testing.T) {
	load := expiryLoadOfTest()
	for _, tt := range []struct {
		name string
		run  expiryRun
	}{
		{"undisturbed", expiryRun{load: load, median: 500 * time.Millisecond}},
		{"leader killed", expiryRun{load: load, median: longestLateness, kill: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := retry(t, func() (spoilt bool, err error) {
				t.Run("cluster", func(t *testing.T) { spoilt, err = tt.run.try(t) })
				return spoilt, err
			}); err != nil {
				t.Error(err)
			}
		})
	}
}

// longestLateness bounds the 99th percentile. It is loose, for machines under
// load.
const longestLateness = 2 * time.Second

// expiryRun is keys that end in a cluster of their own.
type expiryRun struct {
	load   expiryLoad
	median time.Duration // of the lateness, at most
	kill   bool          // whether the leader dies in the middle
}

// try returns an error if keys end late, and whether the machine may be why.
func (r expiryRun) try(t *testing.T) (spoilt bool, err error) {
	c := startClusterOf(t, plainBuild(t))
	stalls := startStallMeter()
	leader := c.leader(t)
	term := c.nodes[leader].view(t).Term
	err = r.measure(t, c, leader)
	spoilt = stalls.end() >= longStall || errors.Is(err, errSetLate)
	if !r.kill && c.nodes[leader].view(t).Term != term {
		spoilt = true
	}
	return spoilt, err
}

var errSetLate = errors.New("the keys were set too late")

func (r expiryRun) measure(t *testing.T, c *processCluster, leader int) error {
	t.Helper()
	load := r.load
	near, far := c.nodes[(leader+1)%3], c.nodes[(leader+2)%3]
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()

	begin := time.Now().Add(2*time.Second + time.Duration(load.keys/10)*time.Millisecond) // all are there by then
	arrivals := subscribeExpiry(t, ctx, near, "ends", load.keys)
	var beside sync.WaitGroup
	defer func() { // also where a wait fails
		cancel()
		beside.Wait()
		for range arrivals {
		}
	}()
	endings, err := setEndings(t, far, "ends", load, begin)
	if err != nil {
		return err
	}
	if late := time.Since(begin); late > 0 {
		return fmt.Errorf("%w: by %v", errSetLate, late)
	}
	failed := make([]error, load.writers)
	for w := range load.writers {
		cl := far.client(t)
		beside.Go(func() { failed[w] = writeBeside(ctx, cl, w) })
	}
	if r.kill {
		time.Sleep(time.Until(begin.Add(load.window / 2)))
		c.nodes[leader].stop(t, syscall.SIGKILL)
	}
	late, err := lateness(t, arrivals, endings, begin.Add(load.window+10*time.Second))
	cancel()
	beside.Wait()
	if err := errors.Join(append(failed, err)...); err != nil {
		return err
	}
	slices.Sort(late)
	p50, p99 := late[len(late)/2], late[len(late)*99/100]
	t.Logf("%d keys ended within %v, %d writes/s beside: late p50 %v, p99 %v, worst %v",
		len(late), load.window, 100*load.writers, p50, p99, late[len(late)-1])
	if p50 > r.median || p99 > longestLateness {
		return fmt.Errorf("late by p50 %v, p99 %v, want at most %v, %v; the logs since:%s", p50, p99, r.median, longestLateness, c.logsSince(begin))
	}
	return nil
}

// setEndings sets keys whose time is up within the window from begin on,
// evenly, and reads when that is. It gives up when begin is near.
func setEndings(t *testing.T, n *processNode, workflow string, load expiryLoad, begin time.Time) (map[string]ending, error) {
	t.Helper()
	const batch, workers = 100, 4
	cl := n.client(t)
	endings := make(map[string]ending, load.keys)
	var failed [workers]error
	var mu sync.Mutex
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for from := w * batch; from < load.keys; from += workers * batch {
				var ops []client.Op
				sent := time.Now()
				if begin.Sub(sent) < 10*time.Millisecond {
					return
				}
				mu.Lock()
				for i := from; i < min(from+batch, load.keys); i++ {
					ttl := begin.Add(load.window * time.Duration(i) / time.Duration(load.keys)).Sub(sent)
					key := fmt.Sprintf("k%06d", i)
					ops = append(ops, client.SetOp(key, i).TTL(ttl))
					endings[key] = ending{notBefore: sent.Add(ttl)}
				}
				mu.Unlock()
				if _, err := cl.State.Atomic(t.Context(), workflow, ops); err != nil {
					failed[w] = err
					return
				}
			}
		})
	}
	wg.Wait()
	if err := errors.Join(failed[:]...); err != nil {
		return nil, err
	}
	for after := ""; ; {
		page, err := cl.State.List(t.Context(), workflow, client.Query{After: after, Values: true, Limit: 10_000})
		if err != nil {
			return nil, err
		}
		for _, e := range page.Entries {
			end := endings[e.Key]
			end.expiresAt = e.ExpiresAt
			endings[e.Key] = end
		}
		if after = page.Next; after == "" {
			return endings, nil
		}
	}
}

// An arrival is the event that a key has ended.
type arrival struct {
	key string
	at  time.Time
}

// subscribeExpiry streams a workflow until ctx ends.
func subscribeExpiry(t *testing.T, ctx context.Context, n *processNode, workflow string, keys int) <-chan arrival {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.url+"/v1/state/"+workflow, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if got := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || !strings.HasPrefix(got, "text/event-stream") {
		t.Fatalf("a stream: %s, %s", resp.Status, got)
	}
	arrivals := make(chan arrival, keys)
	go func() {
		defer close(arrivals)
		defer resp.Body.Close()
		lines := bufio.NewScanner(resp.Body)
		for lines.Scan() {
			data, ok := strings.CutPrefix(lines.Text(), "data: ")
			if !ok || !strings.HasPrefix(data, `{"type":"expire"`) {
				continue
			}
			at := time.Now()
			var event struct{ Key string }
			if err := json.Unmarshal([]byte(data), &event); err != nil {
				t.Error(err)
				return
			}
			select {
			case arrivals <- arrival{event.Key, at}:
			case <-ctx.Done():
				return
			}
		}
	}()
	return arrivals
}

// lateness waits until all have ended and returns how late each was told. The
// machine excuses none that ends early or twice.
func lateness(t *testing.T, arrivals <-chan arrival, endings map[string]ending, deadline time.Time) ([]time.Duration, error) {
	t.Helper()
	timeout := time.After(time.Until(deadline))
	var late []time.Duration
	early, total := 0, len(endings)
	defer func() {
		if early > 0 {
			t.Errorf("%d keys ended early", early)
		}
	}()
	for len(late) < total {
		select {
		case a, ok := <-arrivals:
			end, once := endings[a.key]
			if !ok {
				return nil, fmt.Errorf("the stream has ended, and %d of %d keys", len(late), total)
			}
			if !once {
				t.Fatalf("%q has ended twice", a.key)
			}
			delete(endings, a.key)
			if a.at.Before(end.notBefore) {
				early++
			}
			late = append(late, a.at.Sub(end.expiresAt))
		case <-timeout:
			return nil, fmt.Errorf("%d of %d keys have ended", len(late), total)
		}
	}
	return late, nil
}

// writeBeside sets 100 keys a second.
func writeBeside(ctx context.Context, cl *client.Client, writer int) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		if _, err := cl.State.Set(ctx, "beside", fmt.Sprint("w", writer), i); err != nil && ctx.Err() == nil {
			return fmt.Errorf("a write beside: %w", err)
		}
	}
}
