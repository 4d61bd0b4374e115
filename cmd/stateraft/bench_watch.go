package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/pflag"

	"github.com/stateraft/stateraft/client"
)

// benchStreamsConfig is what the modes for streams can be told beside the rest.
type benchStreamsConfig struct {
	subscribers     uint64
	writesPerSecond uint64
}

func (c *benchStreamsConfig) bind(fs *pflag.FlagSet) {
	c.subscribers, c.writesPerSecond = 1000, 50
	fs.Var(countValue(&c.subscribers, 1, 1_000_000), "subscribers", "streams in watch and idle")
	fs.Var(countValue(&c.writesPerSecond, 1, 100_000), "writes-per-second", "writes in watch")
}

const (
	// benchIdleWorkflow is the same in all runs, so that they share events.
	benchIdleWorkflow = "bench-idle"
	benchIdleBytes    = 64
	// benchSettle is how long events may take after the last write.
	benchSettle = 10 * time.Second
)

// runStreams measures the streams of one key and shows what it found.
func runStreams(ctx context.Context, c benchConfig, out *output, say func(string, ...any)) error {
	c.workflows = 1
	if c.mode == benchModeIdle {
		c.valueBytes = benchIdleBytes
	}
	feeds, err := c.feeds(ctx)
	if err != nil {
		return err
	}
	say("opening %d streams", c.streams.subscribers)
	start := time.Now()
	streams, err := openBenchStreams(ctx, int(c.streams.subscribers), feeds)
	if err != nil {
		return err
	}
	run := benchStreamsRun{Mode: c.mode, Subscribers: c.streams.subscribers, ValueBytes: c.valueBytes}
	run.OpensPerSecond = float64(len(streams)) / time.Since(start).Seconds()
	say("%s, %s", c.mode, formatDuration(c.duration))
	run.measure(ctx, c, feeds, streams)
	if err := showStreams(out, run); err != nil {
		return err
	}
	if run.Total.Ops == 0 {
		return errors.New("no event arrived")
	}
	return nil
}

// measure has the streams follow what one client writes through the first
// endpoint. It closes them.
func (r *benchStreamsRun) measure(ctx context.Context, c benchConfig, feeds []*benchFeed, streams benchStreams) {
	stop := streams.follow(ctx)
	defer stop()
	writer := &benchWorker{target: feeds[0].target, stats: newBenchStats()}
	defer writer.disconnect()
	writes := int(c.duration.Seconds() * float64(c.streams.writesPerSecond))
	if c.mode == benchModeIdle {
		wait(ctx, c.duration)
		writes = 1
	}
	begin := time.Now()
	r.Writes = writer.ticks(ctx, feeds[0].tag, c, begin, writes)
	settle(ctx, feeds, r.Writes*len(streams))
	elapsed := time.Since(begin)
	stop()
	r.sum(elapsed, feeds, writer)
	if !c.keep {
		writer.ask(context.WithoutCancel(ctx), benchRequest{kind: benchDelete}, time.Now())
	}
}

// feeds asks each endpoint whether it leads, and prepares its streams.
func (c benchConfig) feeds(ctx context.Context) ([]*benchFeed, error) {
	tag := fmt.Sprintf("%08x", rand.Uint32())
	workflow := "bench-" + tag
	if c.mode == benchModeIdle {
		workflow = benchIdleWorkflow
	}
	var feeds []*benchFeed
	for _, endpoint := range c.endpoints {
		target, err := newBenchTarget(c, endpoint, workflow, "null")
		if err != nil {
			return nil, err
		}
		f := &benchFeed{target: target, tag: benchTag(tag), most: 512 + 3*int(c.valueBytes), stats: newBenchStats()}
		f.request = target.stream()
		if f.leads, err = leads(ctx, c, endpoint); err != nil {
			return nil, err
		}
		feeds = append(feeds, f)
	}
	return feeds, nil
}

// stream is the request for the stream of the key.
func (t *benchTarget) stream() []byte {
	path := string(t.append(nil, benchRequest{kind: benchRead}))
	return []byte(strings.Replace(path, " HTTP/1.1\r\n", "/stream HTTP/1.1\r\nAccept: text/event-stream\r\n", 1))
}

// leads reports whether the node at an endpoint is the leader.
func leads(ctx context.Context, c benchConfig, endpoint string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, endpoint+"/v1/cluster", nil)
	if err != nil {
		return false, err
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return false, err
	}
	defer res.Body.Close()
	var status client.ClusterStatus
	if err := json.NewDecoder(res.Body).Decode(&status); err != nil || res.StatusCode != http.StatusOK {
		return false, fmt.Errorf("ask %s who leads: status %d, %v", endpoint, res.StatusCode, err)
	}
	return status.Leader == res.Header.Get("X-Stateraft-Node"), nil
}

// follow has all subscribers note ticks until the function that it returns is
// called.
func (ss benchStreams) follow(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var g sync.WaitGroup
	for _, s := range ss {
		g.Go(func() { s.follow(ctx) })
	}
	return sync.OnceFunc(func() {
		cancel()
		ss.close()
		g.Wait()
	})
}

// ticks writes n numbered values at the rate of c, or as fast as it can where
// that is slower, and returns how many there were. A write that fails is made
// again.
func (w *benchWorker) ticks(ctx context.Context, tag benchTag, c benchConfig, begin time.Time, n int) int {
	interval := time.Second / time.Duration(c.streams.writesPerSecond)
	until := begin.Add(c.duration + benchSettle)
	written := 0
	for ; written < n && time.Now().Before(until); written++ {
		wait(ctx, time.Until(begin.Add(time.Duration(written)*interval)))
		if !w.tick(ctx, tag, written+1, int(c.valueBytes), until) {
			break
		}
	}
	return written
}

// tick insists until a value is written.
func (w *benchWorker) tick(ctx context.Context, tag benchTag, number, length int, until time.Time) bool {
	for ctx.Err() == nil {
		now := time.Now()
		w.target.setValue(tag.tick(number, now, length))
		code := w.ask(ctx, benchRequest{kind: benchWrite}, now)
		if code == "" {
			w.stats.latency.add(time.Since(now))
			return true
		}
		w.stats.errors[code]++
		if now.After(until) {
			return false
		}
		wait(ctx, benchPause)
	}
	return false
}

// setValue says what writes carry from now on.
func (t *benchTarget) setValue(value []byte) {
	head, _, _ := strings.Cut(t.tails[benchWrite], "Content-Length: ")
	body := `{"value":` + string(value) + `}`
	t.tails[benchWrite] = head + "Content-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body
}

// settle waits until subscribers have heard that many events, or have had the
// time to.
func settle(ctx context.Context, feeds []*benchFeed, events int) {
	for deadline := time.Now().Add(benchSettle); time.Now().Before(deadline) && ctx.Err() == nil; wait(ctx, 5*time.Millisecond) {
		heard := int64(0)
		for _, f := range feeds {
			heard += f.heard.Load()
		}
		if heard >= int64(events) {
			return
		}
	}
}

// wait returns early if ctx ends.
func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
