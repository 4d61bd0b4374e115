package proxy

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// question is a request of a usual size that asks for state.
var question = `{"stream":true,"messages":[{"role":"user","content":"` + strings.Repeat("x", 4<<10) + `"}],` + ask + `}`

// BenchmarkOverhead measures streams of 20 events, 64 at any time, at the
// upstream itself and through the proxy: the time to the first event, and the
// age of the later ones when they arrive. Events are sent 5 ms apart.
func BenchmarkOverhead(b *testing.B) {
	up := newBench(b, tick(20, 5*time.Millisecond))
	upstream := httptest.NewServer(up.upstream)
	defer upstream.Close()
	for name, url := range map[string]string{"direct": upstream.URL, "proxied": up.url} {
		b.Run(name, func(b *testing.B) {
			var first, later times
			tr := &http.Transport{MaxIdleConnsPerHost: 64}
			defer tr.CloseIdleConnections()
			one := func() {
				start := time.Now()
				res := ask1(b, tr, url)
				in := bufio.NewScanner(res.Body)
				for n := 0; in.Scan(); n++ {
					sent, err := time.Parse(time.RFC3339Nano, strings.TrimPrefix(in.Text(), "data: "))
					if err != nil {
						continue
					}
					if n == 0 {
						first.add(time.Since(start))
					} else {
						later.add(time.Since(sent))
					}
				}
				res.Body.Close()
			}
			inParallel(64, one) // opens the connections
			first, later = times{}, times{}
			var begun atomic.Int64
			b.ResetTimer()
			inParallel(64, func() {
				time.Sleep(time.Duration(begun.Add(1)) * 100 * time.Millisecond / 64) // spread over a stream's time
				for range b.N {
					one()
				}
			})
			first.report(b, "first")
			later.report(b, "event")
		})
	}
}

// tick streams events that carry the time.
func tick(n int, every time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		rc := http.NewResponseController(w)
		for i := range n {
			if i > 0 {
				time.Sleep(every)
			}
			_, _ = io.WriteString(w, "data: "+time.Now().Format(time.RFC3339Nano)+"\n\n")
			_ = rc.Flush()
		}
	}
}

func ask1(tb testing.TB, tr http.RoundTripper, url string) *http.Response {
	r, err := http.NewRequest(http.MethodPost, url+"/chat/completions", strings.NewReader(question))
	if err != nil {
		tb.Error(err)
		runtime.Goexit()
	}
	res, err := tr.RoundTrip(r)
	if err != nil {
		tb.Error(err)
		runtime.Goexit()
	}
	return res
}

func inParallel(n int, f func()) {
	var wg sync.WaitGroup
	for range n {
		wg.Go(f)
	}
	wg.Wait()
}

type times struct {
	mu  sync.Mutex
	all []time.Duration
}

func (t *times) add(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all = append(t.all, d)
}

func (t *times) report(b *testing.B, name string) {
	slices.Sort(t.all)
	for unit, q := range map[string]float64{"p50": .5, "p99": .99} {
		at := t.all[int(q*float64(len(t.all)-1))]
		b.ReportMetric(float64(at.Microseconds()), name+"-"+unit+"-µs")
	}
}

// The memory of many open streams is bounded: the proxy's part of 1,000, both
// its connections and its buffers included, is what they take beyond the same
// streams held at the upstream itself.
func TestManyStreams(t *testing.T) {
	if testing.Short() {
		t.Skip("it opens 3,000 connections")
	}
	const streams, limit = 1000, 100 << 10 // bytes a stream
	hold := func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "data: 1\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
	b := newBench(t, hold)
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		hold(w, r)
	}))
	defer upstream.Close()
	b.proxy.upstream.endpoints[0].Host = strings.TrimPrefix(upstream.URL, "http://") // one that keeps no record
	direct := memoryOf(t, streams, upstream.URL)
	proxied := memoryOf(t, streams, b.url)
	perStream := (proxied - direct) / streams
	t.Logf("a stream takes %d KiB of memory in the proxy (and %d KiB in the test)", perStream>>10, direct/streams>>10)
	if perStream > limit {
		t.Errorf("a stream takes %d bytes, want at most %d", perStream, limit)
	}
}

// memoryOf returns what n open streams take of heap and stacks.
func memoryOf(t *testing.T, n int, url string) int64 {
	t.Helper()
	ctx, leave := context.WithCancel(t.Context())
	tr := &http.Transport{}
	before := inUse()
	bodies := make(chan io.ReadCloser, n)
	inParallel(50, func() {
		for range n / 50 {
			r, _ := http.NewRequestWithContext(ctx, http.MethodPost, url+"/chat/completions", strings.NewReader(question))
			res, err := tr.RoundTrip(r)
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := io.ReadFull(res.Body, make([]byte, len("data: 1\n\n"))); err != nil {
				t.Error(err)
			}
			bodies <- res.Body
		}
	})
	took := inUse() - before
	leave()
	close(bodies)
	for body := range bodies {
		body.Close()
	}
	tr.CloseIdleConnections()
	return took
}

func inUse() int64 {
	runtime.GC()
	runtime.GC() // what pools held is gone only with the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}
