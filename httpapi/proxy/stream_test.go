package proxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stateraft/stateraft/httpapi/inject"
)

// open sends a request and returns the answer as soon as its header is there.
func (b *bench) open(t testing.TB, ctx context.Context, path, body string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, b.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res, err := bare.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	return res
}

// streamer is an upstream that sends each event only when it is asked to.
func streamer(events <-chan string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		rc := http.NewResponseController(w)
		_ = rc.Flush()
		for e := range events {
			_, _ = io.WriteString(w, e)
			_ = rc.Flush()
		}
	}
}

// Every event arrives before the upstream sends the next.
func TestStream(t *testing.T) {
	for _, path := range []string{"/chat/completions", "/responses", "/messages"} {
		events := make(chan string)
		b := newBench(t, streamer(events))
		res := b.open(t, t.Context(), path, `{"stream":true,"messages":[],`+ask+`}`)
		if res.Header.Get("X-Mnx-State-Version") != "3" || res.Header.Get("Content-Type") != "text/event-stream; charset=utf-8" {
			t.Errorf("header before the first byte: %v", res.Header)
		}
		in := bufio.NewReader(res.Body)
		for i := range 50 {
			want := fmt.Sprintf("data: {\"i\":%d,\"e\":\"é\"}\r\n", i)
			events <- want
			if got, err := in.ReadString('\n'); got != want || err != nil {
				t.Fatalf("event %q, %v", got, err)
			}
		}
		events <- "data: [DONE]\n\n"
		close(events)
		if rest, err := io.ReadAll(in); string(rest) != "data: [DONE]\n\n" || err != nil {
			t.Errorf("rest %q, %v", rest, err)
		}
	}
}

// A caller who leaves ends the call upstream, whenever it is.
func TestDisconnect(t *testing.T) {
	t.Run("while the upstream thinks", func(t *testing.T) {
		arrived, ended := make(chan struct{}), make(chan struct{})
		b := newBench(t, func(_ http.ResponseWriter, r *http.Request) {
			close(arrived)
			<-r.Context().Done()
			close(ended)
		})
		ctx, leave := context.WithCancel(t.Context())
		go func() { <-arrived; leave() }()
		r, _ := http.NewRequestWithContext(ctx, http.MethodPost, b.url+"/messages", strings.NewReader(`{}`))
		if _, err := bare.RoundTrip(r); !errors.Is(err, context.Canceled) {
			t.Errorf("answer: %v", err)
		}
		awaitEnd(t, ended)
	})
	t.Run("inside a stream", func(t *testing.T) {
		ended := make(chan struct{})
		b := newBench(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "data: 1\n\n")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			close(ended)
		})
		ctx, leave := context.WithCancel(t.Context())
		defer leave()
		res := b.open(t, ctx, "/messages", `{"stream":true}`)
		if line, _ := bufio.NewReader(res.Body).ReadString('\n'); line != "data: 1\n" {
			t.Errorf("line %q", line)
		}
		start := time.Now()
		leave()
		awaitEnd(t, ended)
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("the upstream learned of it after %v", took)
		}
	})
}

// A context that the server ends, as when a key is revoked, ends a stream as a
// broken connection; before the answer, its cause is what Serve returns.
func TestContextEnds(t *testing.T) {
	revoked := errors.New("the key was revoked")
	for begun, want := range map[bool]any{true: http.ErrAbortHandler, false: revoked} {
		arrived := make(chan struct{})
		b := newBench(t, func(w http.ResponseWriter, r *http.Request) {
			if begun {
				_ = http.NewResponseController(w).Flush()
			}
			close(arrived)
			<-r.Context().Done()
		})
		ctx, cancel := context.WithCancelCause(t.Context())
		ended := make(chan any, 1)
		front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer func() { ended <- recover() }()
			panic(b.proxy.Serve(w, r.WithContext(ctx), inject.Chat, lookup))
		}))
		go func() {
			<-arrived
			if !begun {
				cancel(revoked)
			}
		}()
		res, err := front.Client().Post(front.URL, jsonType, strings.NewReader("{}"))
		cancel(revoked) // if it has begun
		if got := <-ended; got != want {
			t.Errorf("begun %v: Serve ended with %v", begun, got)
		}
		if err == nil {
			res.Body.Close()
		}
		front.Close()
	}
}

// A stream that breaks off reaches the caller as a broken connection.
func TestBreaksOff(t *testing.T) {
	b := newBench(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "data: 1\n\n")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	res := b.open(t, t.Context(), "/chat/completions", `{"stream":true}`)
	got, err := io.ReadAll(res.Body)
	if string(got) != "data: 1\n\n" || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%q, %v", got, err)
	}
}

// A stream outlives the deadlines that the server sets for requests.
func TestOutlivesDeadlines(t *testing.T) {
	events := make(chan string)
	b := newBench(t, streamer(events))
	b.writeTimeout = 50 * time.Millisecond
	res := b.open(t, t.Context(), "/chat/completions", `{"stream":true}`)
	in := bufio.NewReader(res.Body)
	for start := time.Now(); time.Since(start) < 200*time.Millisecond; time.Sleep(60 * time.Millisecond) {
		events <- "data: 1\n"
		if line, err := in.ReadString('\n'); line != "data: 1\n" || err != nil {
			t.Fatalf("%q, %v after %v", line, err, time.Since(start))
		}
	}
	close(events)
}

// Over HTTP/2 streams and departures pass as well.
func TestHTTP2(t *testing.T) {
	proto, ended := make(chan string, 1), make(chan struct{})
	up := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		proto <- r.Proto
		_, _ = io.WriteString(w, "data: 1\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		close(ended)
	}))
	up.EnableHTTP2 = true
	up.StartTLS()
	defer up.Close()
	b := newBench(t, nil, func(c *Config) { c.OpenAIURL = up.URL })
	b.proxy.upstream.transport.TLSClientConfig = up.Client().Transport.(*http.Transport).TLSClientConfig
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	res := b.open(t, ctx, "/responses", `{"stream":true}`)
	if line, err := bufio.NewReader(res.Body).ReadString('\n'); line != "data: 1\n" {
		t.Fatalf("line %q, %v; log %s", line, err, b.log)
	}
	if p := <-proto; p != "HTTP/2.0" {
		t.Errorf("the upstream was spoken to in %s", p)
	}
	leave()
	<-ended
}

// Each part that is sent gives the caller time anew, and none runs out while
// there is nothing to send.
func TestWriteDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &deadlines{ResponseWriter: httptest.NewRecorder()}
		a := newAnswer(w, time.Minute)
		if want := time.Now().Add(time.Minute + stallTimeout); !w.write.Equal(want) {
			t.Errorf("deadline %v before the answer, want %v", w.write, want)
		}
		for range 3 {
			time.Sleep(time.Hour)
			if err := a.send([]byte("x")); err != nil || !w.written.Equal(time.Now().Add(stallTimeout)) || !w.write.IsZero() {
				t.Errorf("deadline %v at %v, then %v, %v", w.written, time.Now(), w.write, err)
			}
		}
	})
}

type deadlines struct {
	http.ResponseWriter
	write   time.Time
	written time.Time // what it was at the last Write
}

func (d *deadlines) Write(b []byte) (int, error) {
	d.written = d.write
	return d.ResponseWriter.Write(b)
}

func (d *deadlines) Unwrap() http.ResponseWriter { return d.ResponseWriter }

func (d *deadlines) SetWriteDeadline(at time.Time) error {
	d.write = at
	return nil
}

func TestWatchdog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, dog := watch(t.Context(), time.Second)
		time.Sleep(time.Second - 1)
		body := &source{strings.NewReader("x"), dog}
		_, _ = body.Read(make([]byte, 1))
		time.Sleep(idleTimeout - 1)
		if ctx.Err() != nil {
			t.Error("a watchdog that was fed barked")
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if !errors.Is(context.Cause(ctx), errSilent) {
			t.Errorf("cause %v", context.Cause(ctx))
		}
		dog.stop()

		ctx, dog = watch(t.Context(), time.Second)
		dog.stop()
		time.Sleep(time.Hour)
		if context.Cause(ctx) != context.Canceled {
			t.Errorf("cause %v after stop", context.Cause(ctx))
		}
	})
}

// The body's bytes are given up once they have been sent.
func TestPayload(t *testing.T) {
	p := &payload{[]byte("body")}
	first, _ := p.open()
	second, _ := p.open()
	for _, r := range []io.ReadCloser{first, second} {
		if b, err := io.ReadAll(r); string(b) != "body" || err != nil {
			t.Errorf("%q, %v", b, err)
		}
		if left := r.(*payloadReader).left; left != nil {
			t.Errorf("%d bytes are held", cap(left))
		}
	}
}
