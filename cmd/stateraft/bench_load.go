package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/stateraft/stateraft/client"
)

// benchKind is what a request of the load does.
type benchKind int

const (
	benchWrite benchKind = iota
	benchRead
	benchStale
	benchDelete
	benchKinds
)

type benchRequest struct {
	kind benchKind
	key  int
}

// benchTarget is an endpoint, with all of a request to it that does not depend
// on the key.
type benchTarget struct {
	url       *url.URL
	timeout   time.Duration // of a request
	workflows int
	heads     [benchKinds]string // up to the workflow's number
	tails     [benchKinds]string // from the end of the key on
}

// newBenchTarget makes requests that keep to workflows of that name and a
// number, and carry value.
func newBenchTarget(c benchConfig, endpoint, workflow, value string) (*benchTarget, error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return nil, err
	}
	t := &benchTarget{url: u, timeout: c.timeout, workflows: int(c.workflows)}
	header := " HTTP/1.1\r\nHost: " + u.Host + "\r\n"
	if c.token != "" {
		header += "Authorization: Bearer " + c.token + "\r\n"
	}
	path := strings.TrimRight(u.EscapedPath(), "/") + "/v1/state/" + workflow + "-"
	for kind, method := range [...]string{benchWrite: "POST ", benchRead: "GET ", benchStale: "GET ", benchDelete: "DELETE "} {
		t.heads[kind], t.tails[kind] = method+path, header+"\r\n"
	}
	t.tails[benchWrite] = header + "Content-Type: application/json\r\n"
	t.setValue([]byte(value))
	t.tails[benchStale] = "?consistency=stale" + header + "\r\n"
	return t, nil
}

func (t *benchTarget) append(b []byte, r benchRequest) []byte {
	b = append(b, t.heads[r.kind]...)
	b = strconv.AppendInt(b, int64(r.key%t.workflows), 10)
	b = append(b, "/k"...)
	b = strconv.AppendInt(b, int64(r.key), 10)
	return append(b, t.tails[r.kind]...)
}

// benchWorker is one client: it has one request on its way at a time.
type benchWorker struct {
	target  *benchTarget
	conn    *benchConn // nil: to be dialled
	request []byte
	stats   benchStats
}

// benchStats is what clients have counted.
type benchStats struct {
	inTime  uint64 // successes before the end of the run
	latency histogram
	errors  map[string]uint64 // by code
}

func newBenchStats() benchStats { return benchStats{errors: map[string]uint64{}} }

func (s *benchStats) merge(other *benchStats) {
	s.inTime += other.inTime
	s.latency.merge(&other.latency)
	for code, n := range other.errors {
		s.errors[code] += n
	}
}

// benchNext tells a worker what to ask next; false: nothing more. It hears
// whether the request before failed.
type benchNext func(failed bool) (benchRequest, bool)

// benchPause keeps a worker from spinning where all its requests fail at once.
const benchPause = 20 * time.Millisecond

// run asks until that time, or until ctx or the requests end. A request on its
// way then is still waited for.
func (w *benchWorker) run(ctx context.Context, until time.Time, next benchNext) {
	failed := false
	for now := time.Now(); now.Before(until) && ctx.Err() == nil; {
		r, more := next(failed)
		if !more {
			return
		}
		code := w.ask(ctx, r, now)
		end := time.Now()
		if failed = code != ""; failed {
			w.stats.errors[code]++
			time.Sleep(benchPause)
			now = time.Now()
			continue
		}
		w.stats.latency.add(end.Sub(now))
		if end.Before(until) {
			w.stats.inTime++
		}
		now = end
	}
}

// ask returns the code of a failure, or "".
func (w *benchWorker) ask(ctx context.Context, r benchRequest, now time.Time) string {
	if err := w.connect(ctx); err != nil {
		return string(client.ErrUnreachable)
	}
	w.request = w.target.append(w.request[:0], r)
	status, body, err := w.conn.do(w.request, now)
	if err != nil {
		w.disconnect()
	}
	switch {
	case err != nil && !errors.Is(err, errConnectionClose):
		return string(client.ErrNoAnswer)
	case status/100 == 2:
		return ""
	default:
		return benchCode(status, body)
	}
}

func (w *benchWorker) connect(ctx context.Context) (err error) {
	if w.conn == nil {
		w.conn, err = dialBench(ctx, w.target.url, w.target.timeout)
	}
	return err
}

func (w *benchWorker) disconnect() {
	if w.conn != nil {
		w.conn.close()
		w.conn = nil
	}
}

// benchCode is the contract's code of an error, else its status.
func benchCode(status int, body []byte) string {
	var b struct{ Code string }
	if json.Unmarshal(body, &b) == nil && b.Code != "" {
		return b.Code
	}
	return strconv.Itoa(status) + " " + http.StatusText(status)
}

// benchWorkers is all clients of a load.
type benchWorkers []*benchWorker

// newBenchWorkers spreads n connected clients over the targets.
func newBenchWorkers(ctx context.Context, n int, targets []*benchTarget) (benchWorkers, error) {
	workers := make(benchWorkers, n)
	failed := make([]error, n)
	var g sync.WaitGroup
	for i := range workers {
		workers[i] = &benchWorker{target: targets[i%len(targets)]}
		g.Go(func() { failed[i] = workers[i].connect(ctx) })
	}
	g.Wait()
	for i, err := range failed {
		if err != nil {
			workers.close()
			return nil, fmt.Errorf("connect client %d of %d to %s: %w", i+1, n, workers[i].target.url, err)
		}
	}
	return workers, nil
}

func (ws benchWorkers) close() {
	for _, w := range ws {
		w.disconnect()
	}
}

// run has all clients ask for what next tells each, for at most that long.
func (ws benchWorkers) run(ctx context.Context, limit time.Duration, next func(worker int) benchNext) {
	until := time.Now().Add(limit)
	var g sync.WaitGroup
	for i, w := range ws {
		w.stats = newBenchStats()
		g.Go(func() { w.run(ctx, until, next(i)) })
	}
	g.Wait()
}

// stats sums up the clients of one target; nil: of all.
func (ws benchWorkers) stats(target *benchTarget) *benchStats {
	sum := newBenchStats()
	for _, w := range ws {
		if target == nil || target == w.target {
			sum.merge(&w.stats)
		}
	}
	return &sum
}
