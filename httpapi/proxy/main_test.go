package proxy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/stateraft/stateraft/httpapi/inject"
	"github.com/stateraft/stateraft/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// patience is how long the package waits for what must come about.
const patience = 20 * time.Second

// A bench is a proxy between a caller and an upstream that records what
// reaches it.
type bench struct {
	url      string // of the proxy, /api/v1 included
	proxy    *Proxy
	upstream *recorder
	log      *log
	metrics  *prometheus.Registry

	writeTimeout time.Duration // that the server in front sets, if above 0
}

// A log is written by many goroutines.
type log struct {
	mu   sync.Mutex // guards text
	text strings.Builder
}

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// errNoLeader stands for any error of a lookup.
var errNoLeader = errors.New("no leader")

// saved are the states that the lookup finds, for every subject. One under
// "unreadable" is not.
var saved = map[string]inject.Entry{
	"current_task": {Key: "current_task", Version: 3, Value: []byte(`{"next":"book_hotels"}`), UpdatedAt: time.Unix(1795262400, 7e6)},
	"flow/é,1 %":   {Key: "flow/é,1 %", Version: 1, Value: []byte(`"<b>"`), UpdatedAt: time.Unix(1795262400, 0), ExpiresAt: time.Unix(1795266000, 0)},
	"big":          {Key: "big", Version: 9, Value: []byte(`"` + strings.Repeat("x", 100<<10) + `"`)},
}

func lookup(_ context.Context, subject string, keys []string) ([]inject.Entry, error) {
	entries := make([]inject.Entry, len(keys))
	for i, k := range keys {
		if k == "unreadable" || subject == "" {
			return nil, errNoLeader
		}
		entries[i] = saved[k]
		entries[i].Key = k
	}
	return entries, nil
}

func newBench(t testing.TB, answer http.HandlerFunc, options ...func(*Config)) *bench {
	t.Helper()
	b := &bench{upstream: &recorder{answer: answer}, log: new(log), metrics: prometheus.NewRegistry()}
	up := httptest.NewServer(b.upstream)
	t.Cleanup(up.Close)
	c := Config{
		OpenAIURL: up.URL + "/openai/v1/", AnthropicURL: up.URL + "/anthropic/v1",
		Logger: slog.New(slog.NewTextHandler(b.log, nil)), Metrics: b.metrics,
	}
	for _, o := range options {
		o(&c)
	}
	var err error
	if b.proxy, err = New(c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.proxy.Close)
	front := httptest.NewServer(http.HandlerFunc(b.serve))
	t.Cleanup(front.Close)
	t.Cleanup(up.CloseClientConnections) // or what was not ended would hold the others up
	b.url = front.URL + "/api/v1"
	return b
}

func (b *bench) serve(w http.ResponseWriter, r *http.Request) {
	var api inject.API
	switch r.URL.Path {
	case "/api/v1/chat/completions":
		api = inject.Chat
	case "/api/v1/responses":
		api = inject.Responses
	case "/api/v1/messages":
		api = inject.Messages
	default:
		w.WriteHeader(http.StatusNotFound)
		return
	}
	rc := http.NewResponseController(w)
	if b.writeTimeout > 0 {
		_ = rc.SetWriteDeadline(time.Now().Add(b.writeTimeout))
	}
	w.Header().Set("X-Stateraft-Node", "n1")
	if err := b.proxy.Serve(w, r, api, lookup); err != nil {
		writeError(w, err)
	}
}

func writeError(w http.ResponseWriter, err error) {
	e := &Error{Status: http.StatusServiceUnavailable, Code: "no_leader", Message: err.Error()}
	errors.As(err, &e)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(e.Status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": e.Code, "message": e.Message})
}

// awaitEnd waits until the upstream has seen the end of its request.
func awaitEnd(t *testing.T, ended <-chan struct{}) {
	t.Helper()
	select {
	case <-ended:
	case <-time.After(patience):
		t.Fatal("the upstream was not told that its caller has gone")
	}
}

// A recorder is an upstream.
type recorder struct {
	answer http.HandlerFunc

	mu   sync.Mutex
	seen []recorded
}

type recorded struct {
	path, body string
	header     http.Header
}

func (u *recorder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	u.mu.Lock()
	u.seen = append(u.seen, recorded{r.URL.RequestURI(), string(body), r.Header})
	u.mu.Unlock()
	r.Body = io.NopCloser(bytes.NewReader(body))
	u.answer(w, r)
}

// last returns what reached the upstream last, and how many requests did.
func (u *recorder) last() (recorded, int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.seen) == 0 {
		return recorded{}, 0
	}
	return u.seen[len(u.seen)-1], len(u.seen)
}

// answerWith answers every request alike.
func answerWith(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// post sends a body with headers given as name, value, …, and returns the
// answer with its body read. Nothing is added: no Accept-Encoding.
func (b *bench) post(t testing.TB, path, body string, header ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, b.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	res, err := bare.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(got)
}

// bare is a transport that neither compresses nor keeps connections.
var bare = &http.Transport{DisableCompression: true, DisableKeepAlives: true}
