package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stateraft/stateraft/client"
)

// Handlers that fail in one way each. The body has been read before they act:
// a node that breaks off has taken the request.

func answer(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

func refusal(status int, code, outcome string) http.HandlerFunc {
	return answer(status, fmt.Sprintf(`{"error":%q,"code":%q,"message":"m","outcome":%q}`, code, code, outcome))
}

// broken answers with some bytes and closes the connection.
func broken(bytes string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		io.WriteString(conn, bytes)
	}
}

// moved redirects to where any call is answered as if it had succeeded.
func moved(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	if r.URL.Path == "/moved" {
		success(w, r)
		return
	}
	w.Header().Set("Location", "/moved")
	w.WriteHeader(http.StatusMovedPermanently)
}

// hang answers only when the client has gone.
func hang(_ http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

var success = answer(200, `{"version":1,"value":1,"deleted":true}`)

// closedEndpoint refuses connections.
func closedEndpoint(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	return "http://" + l.Addr().String()
}

// The four kinds of calls, in the order of the table in retry.go.
var calls = []struct {
	name string
	do   func(context.Context, *client.Client) error
}{
	{"read", func(ctx context.Context, c *client.Client) error {
		_, err := c.State.Get(ctx, "wf", "k")
		return err
	}},
	{"write", func(ctx context.Context, c *client.Client) error {
		_, err := c.State.Set(ctx, "wf", "k", 1)
		return err
	}},
	{"versioned", func(ctx context.Context, c *client.Client) error {
		_, err := c.State.SetWithVersion(ctx, "wf", "k", 1, 7)
		return err
	}},
	{"keyed", func(ctx context.Context, c *client.Client) error {
		_, err := c.State.Set(ctx, "wf", "k", 1, client.WithIdempotencyKey("key"))
		return err
	}},
}

const noAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"version\""

// Ensure that each failure of the first endpoint sends each kind of call to the
// second, or ends it with the outcome that is true.
func TestRetryTable(t *testing.T) {
	const (
		moves   = "" // the second endpoint has answered
		refused = client.OutcomeNotApplied
		unknown = client.OutcomeUnknown
	)
	tests := []struct {
		name string
		node http.HandlerFunc  // nil: nobody listens
		want [4]client.Outcome // of read, write, versioned, keyed
		code client.Code       // where the call failed
	}{
		{"connection refused", nil, [4]client.Outcome{}, ""},
		{"503 NO_LEADER", refusal(503, "NO_LEADER", "not_applied"), [4]client.Outcome{}, ""},
		{"503 BEHIND", refusal(503, "BEHIND", "not_applied"), [4]client.Outcome{}, ""},

		{"closed without an answer", broken(""), [4]client.Outcome{moves, unknown, moves, moves}, client.ErrNoAnswer},
		{"closed within the head", broken("HTTP/1.1 200 OK\r\nConte"), [4]client.Outcome{moves, unknown, moves, moves}, client.ErrNoAnswer},
		{"closed within the body", broken(noAnswer), [4]client.Outcome{moves, unknown, moves, moves}, client.ErrNoAnswer},
		{"no answer in time", hang, [4]client.Outcome{moves, unknown, moves, moves}, client.ErrNoAnswer},
		{"504 OUTCOME_UNKNOWN", refusal(504, "OUTCOME_UNKNOWN", "unknown"), [4]client.Outcome{moves, unknown, moves, moves}, client.ErrOutcomeUnknown},
		// A proxy's word says nothing of what the node behind it did.
		{"502 of a proxy", answer(502, "<html>"), [4]client.Outcome{moves, unknown, moves, moves}, client.ErrBadResponse},
		{"503 of a proxy", answer(503, "<html>"), [4]client.Outcome{moves, unknown, moves, moves}, client.ErrBadResponse},

		{"429", refusal(429, "OVERLOADED", "not_applied"), [4]client.Outcome{refused, refused, refused, refused}, client.ErrOverloaded},
		{"400", refusal(400, "INVALID_REQUEST", "not_applied"), [4]client.Outcome{refused, refused, refused, refused}, client.ErrInvalidRequest},
		{"301 of a proxy", moved, [4]client.Outcome{refused, refused, refused, refused}, client.ErrBadResponse},
		{"404 of another server", answer(404, "<html>"), [4]client.Outcome{refused, refused, refused, refused}, client.ErrBadResponse},
		{"409", refusal(409, "VERSION_CONFLICT", "not_applied"), [4]client.Outcome{refused, refused, refused, refused}, client.ErrVersionConflict},
		{"507", refusal(507, "DISK_FULL", "not_applied"), [4]client.Outcome{refused, refused, refused, refused}, client.ErrDiskFull},
		{"500", refusal(500, "INTERNAL", "unknown"), [4]client.Outcome{refused, unknown, unknown, unknown}, client.ErrInternal},
		{"200 of another server", answer(200, "<html>"), [4]client.Outcome{refused, unknown, unknown, unknown}, client.ErrBadResponse},
	}
	for _, tt := range tests {
		for i, call := range calls {
			t.Run(tt.name+"/"+call.name, func(t *testing.T) {
				config := client.Config{AttemptTimeout: 5 * time.Second, MaxAttempts: 2}
				if strings.Contains(tt.name, "in time") {
					t.Parallel()
					config.AttemptTimeout = 2 * time.Second // the second endpoint's, too
				}
				handlers := []http.Handler{tt.node, success}
				if tt.node == nil {
					config.Endpoints, handlers = []string{closedEndpoint(t)}, handlers[1:]
				}
				err := call.do(t.Context(), connect(t, config, handlers...))
				if tt.want[i] == moves {
					if err != nil {
						t.Errorf("got %v, want the second endpoint's answer", err)
					}
					return
				}
				var e *client.Error
				if !errors.As(err, &e) || e.Outcome != tt.want[i] || e.Code != tt.code {
					t.Errorf("got %#v, want outcome %q, code %q", err, tt.want[i], tt.code)
				}
				if got, want := errors.Is(err, client.ErrOutcomeUnknown), tt.want[i] == unknown; got != want {
					t.Errorf("outcome unknown = %v, want %v", got, want)
				}
			})
		}
	}
}

// inTurn hands each request to the next of the handlers; the last one stays.
func inTurn(handlers ...http.HandlerFunc) http.HandlerFunc {
	var n atomic.Int64
	return func(w http.ResponseWriter, r *http.Request) {
		i := min(n.Add(1), int64(len(handlers)))
		handlers[i-1](w, r)
	}
}

// Ensure the outcome is that of all attempts together.
func TestOutcomeOfAllAttempts(t *testing.T) {
	lost := broken("")
	conflict := refusal(409, "VERSION_CONFLICT", "not_applied")
	noLeader := refusal(503, "NO_LEADER", "not_applied")
	versioned, keyed := calls[2].do, calls[3].do
	tests := []struct {
		name string
		do   func(context.Context, *client.Client) error
		node http.HandlerFunc
		code client.Code
		want client.Outcome
	}{
		{"keyed, lost, done", keyed, inTurn(lost, success), "", ""},
		{"versioned, lost, done", versioned, inTurn(lost, success), "", ""},
		// What is kept under the key is the answer to the attempt that was lost.
		{"keyed, lost, conflict", keyed, inTurn(lost, conflict), client.ErrVersionConflict, client.OutcomeNotApplied},
		// It may be the lost attempt itself that took the version.
		{"versioned, lost, conflict", versioned, inTurn(lost, conflict), client.ErrOutcomeUnknown, client.OutcomeUnknown},
		{"versioned, no leader, conflict", versioned, inTurn(noLeader, conflict), client.ErrVersionConflict, client.OutcomeNotApplied},
		{"keyed, lost, no leader", keyed, inTurn(lost, noLeader), client.ErrNoLeader, client.OutcomeUnknown},
		{"keyed, lost, refused", keyed, inTurn(lost, refusal(401, "UNAUTHORIZED", "not_applied")), client.ErrUnauthorized, client.OutcomeUnknown},
		{"keyed, no leader, lost", keyed, inTurn(noLeader, lost), client.ErrNoAnswer, client.OutcomeUnknown},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.do(t.Context(), connect(t, client.Config{MaxAttempts: 3}, tt.node))
			var e *client.Error
			switch {
			case tt.code == "" && err != nil:
				t.Errorf("got %v, want success", err)
			case tt.code != "" && (!errors.As(err, &e) || e.Code != tt.code || e.Outcome != tt.want):
				t.Errorf("got %#v, want code %q, outcome %q", err, tt.code, tt.want)
			}
		})
	}
}

// Ensure calls stay with the endpoint that answers, and that those which fail
// together move one place together.
func TestStickyEndpoint(t *testing.T) {
	var bad, good, never atomic.Int64
	count := func(n *atomic.Int64, h http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { n.Add(1); h(w, r) }
	}
	const callers = 20
	var arrived sync.WaitGroup // every caller fails at the first endpoint before any moves
	arrived.Add(callers)
	together := func(w http.ResponseWriter, r *http.Request) {
		arrived.Done()
		arrived.Wait()
		refusal(503, "NO_LEADER", "not_applied")(w, r)
	}
	c := connect(t, client.Config{}, count(&bad, together), count(&good, success), count(&never, success))
	var callersDone sync.WaitGroup
	for range callers {
		callersDone.Go(func() {
			for range 3 {
				if _, err := c.State.Set(t.Context(), "wf", "k", 1); err != nil {
					t.Error(err)
				}
			}
		})
	}
	callersDone.Wait()
	if bad.Load() != callers || good.Load() != 3*callers || never.Load() != 0 {
		t.Errorf("asked %d, %d, %d times, want %d, %d, 0", bad.Load(), good.Load(), never.Load(), callers, 3*callers)
	}
}

// Ensure a node is drained only if it is the first, however the client fares.
func TestDrainsTheFirstEndpoint(t *testing.T) {
	const unknown, refused = client.OutcomeUnknown, client.OutcomeNotApplied
	tests := []struct {
		name string
		node http.HandlerFunc
		want client.Outcome // "": it succeeds
	}{
		{"200", success, ""},
		{"503", refusal(503, "NO_LEADER", "not_applied"), refused},
		{"429", refusal(429, "OVERLOADED", "not_applied"), refused},
		{"409", refusal(409, "REFUSED", "unknown"), unknown},
		{"lost", broken(""), unknown},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			second := func(w http.ResponseWriter, r *http.Request) {
				if r.Method == "POST" {
					t.Error("the second node was drained")
				}
				success(w, r)
			}
			var drains atomic.Int64
			first := func(w http.ResponseWriter, r *http.Request) {
				if r.Method == "GET" {
					refusal(503, "NO_LEADER", "not_applied")(w, r)
					return
				}
				drains.Add(1)
				tt.node(w, r)
			}
			c := connect(t, client.Config{}, http.HandlerFunc(first), http.HandlerFunc(second))
			if _, err := c.State.Get(t.Context(), "wf", "k"); err != nil {
				t.Fatal(err) // it has moved to the second
			}
			err := c.Cluster.Drain(t.Context())
			var e *client.Error
			if tt.want == "" && err != nil || tt.want != "" && (!errors.As(err, &e) || e.Outcome != tt.want) {
				t.Errorf("got %#v, want outcome %q", err, tt.want)
			}
			if drains.Load() != 1 {
				t.Errorf("sent %d times, want once", drains.Load())
			}
		})
	}
}

// Ensure a backup that no node has begun is asked for at the next one, and no
// other.
func TestBackupAsksTheNext(t *testing.T) {
	node := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Stateraft-Revision", "7")
		io.WriteString(w, "backup")
	}
	breaksOff := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Stateraft-Revision", "7")
		w.Header().Set("Content-Length", "6")
		io.WriteString(w, "back")
	}
	for _, tt := range []struct {
		name  string
		first http.HandlerFunc
		want  string // of the error; empty: the next has answered
	}{
		{"no leader, and no outcome, as for a read", answer(503, `{"error":"NO_LEADER","code":"NO_LEADER","message":"m"}`), ""},
		{"at another backup", refusal(429, "OVERLOADED", "not_applied"), ""},
		{"a proxy without a node", answer(502, "<html>"), ""},
		{"closed without an answer", broken(""), ""},
		{"no answer in time", hang, ""},
		{"it may not", refusal(403, "FORBIDDEN", "not_applied"), "FORBIDDEN"},
		{"it has begun", breaksOff, "NO_ANSWER"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			config := client.Config{AttemptTimeout: 5 * time.Second}
			if strings.Contains(tt.name, "in time") {
				t.Parallel()
				config.AttemptTimeout = 2 * time.Second // the second endpoint's, too
			}
			c := connect(t, config, tt.first, http.HandlerFunc(node))
			var b strings.Builder
			revision, err := c.Cluster.Backup(t.Context(), &b)
			if tt.want == "" && (err != nil || revision != 7 || b.String() != "backup") {
				t.Errorf("got %q at %d, %v", b.String(), revision, err)
			}
			if e := (*client.Error)(nil); tt.want != "" && (!errors.As(err, &e) || string(e.Code) != tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

// Ensure nothing is read of a backup after a restore was refused: whoever gave it
// may go on with it. The race detector tells.
func TestRestoreLeavesItsReader(t *testing.T) {
	refuses := func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusForbidden) }
	c := connect(t, client.Config{}, http.HandlerFunc(refuses))
	read := 0
	endless := reader(func(p []byte) (int, error) { read++; return len(p), nil })
	if _, err := c.Cluster.Restore(t.Context(), endless, false); !errors.Is(err, client.ErrBadResponse) && !errors.Is(err, client.ErrNoAnswer) {
		t.Errorf("got %v, want a refusal", err)
	}
	if read == 0 {
		t.Error("nothing was read")
	}
}

type reader func([]byte) (int, error)

func (f reader) Read(p []byte) (int, error) { return f(p) }

// Ensure a caller that gives up does not drive the others from a good endpoint.
func TestCancelKeepsEndpoint(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var other atomic.Bool
	first := inTurn(func(w http.ResponseWriter, r *http.Request) { cancel(); hang(w, r) }, success)
	second := func(w http.ResponseWriter, r *http.Request) { other.Store(true) }
	c := connect(t, client.Config{}, first, http.HandlerFunc(second))

	_, err := c.State.Set(ctx, "wf", "k", 1)
	if !errors.Is(err, context.Canceled) || !errors.Is(err, client.ErrOutcomeUnknown) {
		t.Errorf("got %v, want canceled, outcome unknown", err)
	}
	if _, err := c.State.Set(ctx, "wf", "k", 1); !errors.Is(err, context.Canceled) || errors.Is(err, client.ErrOutcomeUnknown) {
		t.Errorf("got %v, want canceled before anything was sent", err)
	}
	if _, err := c.State.Set(t.Context(), "wf", "k", 1); err != nil || other.Load() {
		t.Errorf("got %v, second endpoint asked: %v", err, other.Load())
	}
}

// Ensure a redial of a connection that the node closed meanwhile is no failure.
func TestNodeRestarts(t *testing.T) {
	node := httptest.NewServer(success)
	defer node.Close()
	c := connect(t, client.Config{Endpoints: []string{node.URL}})
	for range 3 {
		if _, err := c.State.Get(t.Context(), "wf", "k"); err != nil {
			t.Fatal(err)
		}
		node.CloseClientConnections()
	}
}

// transport answers in process, so that time can be synctest's.
type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// attempts makes a read of a node that always fails so, and returns when it was
// asked, from the first time on, and how the call ended.
func attempts(t *testing.T, config client.Config, status int, retryAfter string) (at []time.Duration, err error) {
	t.Helper()
	start := time.Now()
	config.HTTPClient = &http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
		at = append(at, time.Since(start))
		w := httptest.NewRecorder()
		w.Header().Set("Retry-After", retryAfter)
		w.WriteHeader(status)
		io.WriteString(w, `{"code":"SOME_CODE","message":"m","outcome":"not_applied"}`)
		return w.Result(), nil
	})}
	_, err = connect(t, config).State.Get(t.Context(), "wf", "k")
	return at, err
}

func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at, err := attempts(t, client.Config{Endpoints: []string{"http://a", "http://b"}, MaxAttempts: 10}, 503, "")
		if len(at) != 10 || err == nil {
			t.Fatalf("%d attempts, %v; want 10 and an error", len(at), err)
		}
		if at[1] != 0 {
			t.Errorf("second endpoint asked after %v, want at once", at[1])
		}
		longest := 50 * time.Millisecond
		for i := 2; i < len(at); i++ {
			if pause := at[i] - at[i-1]; pause <= longest/2 || pause > longest {
				t.Errorf("pause %d is %v, want within (%v, %v]", i, pause, longest/2, longest)
			}
			longest = min(2*longest, 2*time.Second)
		}
	})
}

func TestRetryAfter(t *testing.T) {
	for _, tt := range []struct {
		name, retryAfter string
		timeout          time.Duration
		want             int // attempts
	}{
		{"waits in full, and half as long again at most", "4", time.Minute, 3},
		{"ends at once if that outlasts the call", "5", 9 * time.Second, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				at, err := attempts(t, client.Config{MaxAttempts: 3, Timeout: tt.timeout}, 429, tt.retryAfter)
				if len(at) != tt.want {
					t.Fatalf("asked at %v, want %d attempts", at, tt.want)
				}
				var e *client.Error
				if !errors.As(err, &e) || e.RetryAfter == 0 || e.Attempts != tt.want {
					t.Fatalf("got %#v", err)
				}
				for i := 1; i < len(at); i++ {
					if pause := at[i] - at[i-1]; pause < e.RetryAfter || pause > e.RetryAfter*3/2 {
						t.Errorf("asked at %v: pause %d is not within %v and half as much again", at, i, e.RetryAfter)
					}
				}
				if got, want := time.Since(start), at[len(at)-1]; got != want {
					t.Errorf("ended after %v, want %v", got, want)
				}
			})
		})
	}
}

// Ensure a backup, whose context may have no end, waits no longer than a minute for a
// proxy that asks for more.
func TestBackupRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		c := connect(t, client.Config{MaxAttempts: 2, HTTPClient: &http.Client{
			Transport: transport(func(*http.Request) (*http.Response, error) {
				w := httptest.NewRecorder()
				w.Header().Set("Retry-After", "3600")
				w.WriteHeader(503)
				return w.Result(), nil
			})}})
		if _, err := c.Cluster.Backup(t.Context(), io.Discard); err == nil || time.Since(start) > time.Minute {
			t.Errorf("ended after %v with %v", time.Since(start), err)
		}
	})
}

// Ensure a write whose time is over before it has a connection goes on elsewhere, and
// is known not to have happened if there is nowhere else.
func TestNoConnection(t *testing.T) {
	next := httptest.NewServer(success)
	t.Cleanup(next.Close)
	alive := next.Listener.Addr().String()
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		if address == alive {
			return (&net.Dialer{}).DialContext(ctx, network, address)
		}
		<-ctx.Done() // as where packets are dropped
		return nil, ctx.Err()
	}
	for _, tt := range []struct {
		name      string
		endpoints []string
		want      client.Code
	}{
		{"another endpoint answers", []string{"http://dropped", next.URL}, ""},
		{"there is no other", []string{"http://dropped"}, client.ErrUnreachable},
		{"not even to begin TLS", []string{"https://dropped"}, client.ErrUnreachable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := connect(t, client.Config{
				Endpoints: tt.endpoints, AttemptTimeout: 2 * time.Second, MaxAttempts: 2,
				HTTPClient: &http.Client{Transport: &http.Transport{DialContext: dial}},
			})
			_, err := c.State.Set(t.Context(), "wf", "k", 1)
			if tt.want == "" && err == nil {
				return
			}
			var e *client.Error
			if !errors.As(err, &e) || e.Code != tt.want || e.Outcome != client.OutcomeNotApplied {
				t.Errorf("got %#v, want code %q", err, tt.want)
			}
		})
	}
}

// Ensure no call outlasts its timeout, and that nodes get to know it.
func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var told []string
		c := connect(t, client.Config{Timeout: 12 * time.Second, HTTPClient: &http.Client{
			Transport: transport(func(r *http.Request) (*http.Response, error) {
				told = append(told, r.Header.Get("X-Stateraft-Timeout"))
				<-r.Context().Done()
				return nil, r.Context().Err()
			})}})
		_, err := c.State.Get(t.Context(), "wf", "k")
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 12*time.Second {
			t.Errorf("ended after %v with %v, want 12s and deadline exceeded", time.Since(start), err)
		}
		if len(told) != 3 || told[0] != "4.500" || told[2] >= "1.9" {
			t.Errorf("told %q, want 4.500 twice and the rest of the time", told)
		}
	})
}
