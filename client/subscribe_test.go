package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stateraft/stateraft/client"
)

// fakeStreams answers the requests for streams in turn, the last one for ever,
// and notes what each asked for and when. It works in process, so that time can
// be synctest's.
type fakeStreams struct {
	answers []fakeAnswer
	asked   []string
	at      []time.Time
}

// fakeAnswer is a stream of that text, or else an error of that status.
type fakeAnswer struct {
	text   string
	stays  bool // the node says nothing more, but does not hang up
	status int
	code   string
}

func sends(text ...string) fakeAnswer { return fakeAnswer{text: strings.Join(text, "")} }
func stays(text ...string) fakeAnswer {
	return fakeAnswer{text: strings.Join(text, ""), stays: true}
}
func refuses(status int, code string) fakeAnswer { return fakeAnswer{status: status, code: code} }

func (f *fakeStreams) RoundTrip(r *http.Request) (*http.Response, error) {
	asked := r.URL.RequestURI()
	for _, name := range []string{"Last-Event-ID", "X-Stateraft-Min-Revision"} {
		if value := r.Header.Get(name); value != "" {
			asked += " " + name[:1] + value
		}
	}
	a := f.answers[min(len(f.asked), len(f.answers)-1)]
	f.asked, f.at = append(f.asked, r.Host+asked), append(f.at, time.Now())
	if a.code == "refused" {
		return nil, errors.New("connection refused")
	}
	res := &http.Response{StatusCode: a.status, Header: http.Header{}}
	body := fmt.Sprintf(`{"code":%q,"message":"m","outcome":"not_applied"}`, a.code)
	if a.status == 0 {
		res.StatusCode, body = 200, a.text
		res.Header.Set("Content-Type", "text/event-stream; charset=utf-8")
	}
	res.Body = &fakeBody{r.Context(), strings.NewReader(body), a.stays}
	return res, nil
}

type fakeBody struct {
	ctx   context.Context
	text  *strings.Reader
	stays bool
}

func (b *fakeBody) Read(p []byte) (int, error) {
	if b.text.Len() == 0 && b.stays {
		<-b.ctx.Done()
		return 0, b.ctx.Err()
	}
	return b.text.Read(p)
}

func (b *fakeBody) Close() error { return nil }

func (f *fakeStreams) client(t *testing.T, endpoints ...string) *client.Client {
	if endpoints == nil {
		endpoints = []string{"http://a", "http://b", "http://c"}
	}
	return connect(t, client.Config{Endpoints: endpoints, HTTPClient: &http.Client{Transport: f}})
}

// Blocks of a stream.

func opening(revision int) string { return fmt.Sprintf("retry: 1000\nid: %d\n\n", revision) }

func set(revision, version int) string {
	return fmt.Sprintf("id: %d\n"+`data: {"type":"set","workflowId":"wf","key":"k","oldValue":null,"newValue":%d,"value":%d,"version":%d,"revision":%d}`+"\n\n",
		revision, version, version, version, revision)
}

func snapshot(key string, version int) string {
	return fmt.Sprintf(`data: {"type":"snapshot","workflowId":"wf","key":%q,"oldValue":null,"newValue":1,"value":1,"version":%d}`+"\n\n", key, version)
}

func synced(revision int) string {
	return fmt.Sprintf("event: synced\nid: %d\ndata: {\"revision\":%d}\n\n", revision, revision)
}

const resync = "event: resync\ndata: {}\n\n"

func keepAlive(revision int) string { return fmt.Sprintf(": keep-alive\nid: %d\n\n", revision) }

func show(e client.Event) string {
	switch e.Type {
	case client.EventResync:
		return "resync"
	case client.EventSynced:
		return fmt.Sprint("synced@", e.Revision)
	case client.EventSnapshot:
		return fmt.Sprintf("%s=%d", e.Key, e.Version)
	}
	return fmt.Sprintf("%s %s=%d@%d", e.Type, e.Key, e.Version, e.Revision)
}

// drain returns what the subscription tells, and how it ends. It closes it when
// it is told nothing for a while, in which no node counts as dead.
func drain(sub *client.Subscription) (told []string, err error) {
	idle := time.AfterFunc(30*time.Second, sub.Close)
	defer idle.Stop()
	for e, err := range sub.Events() {
		if err != nil {
			return told, err
		}
		told = append(told, show(e))
		idle.Reset(30 * time.Second)
	}
	return told, nil
}

// Ensure each change is told once and in order, whatever becomes of streams, and
// that each stream is asked for from the right place.
func TestSubscribe(t *testing.T) {
	const path = "/v1/state/wf/k/stream"
	for _, tt := range []struct {
		name    string
		opts    []client.SubscribeOption
		answers []fakeAnswer
		told    string
		asked   []string
	}{
		{"one stream", nil,
			[]fakeAnswer{stays(opening(4), set(5, 1), keepAlive(9), set(10, 2))},
			"set k=1@5,set k=2@10",
			[]string{"a" + path}},
		{"resumes at the next endpoint", nil,
			[]fakeAnswer{sends(opening(4), set(5, 1)), stays(opening(5), set(7, 2))},
			"set k=1@5,set k=2@7",
			[]string{"a" + path, "b" + path + " L5"}},
		{"resumes before the first event", nil,
			[]fakeAnswer{sends(opening(4)), stays(opening(4), set(5, 1))},
			"set k=1@5",
			[]string{"a" + path, "b" + path + " L4"}},
		{"a stream that ends before it says where it begins", nil,
			[]fakeAnswer{sends("retry: 1000\n\n"), stays(opening(4), set(5, 1))},
			"set k=1@5",
			[]string{"a" + path, "b" + path}},
		{"resumes from a keep-alive", nil,
			[]fakeAnswer{sends(opening(4), set(5, 1), keepAlive(20)), stays(opening(20), set(21, 2))},
			"set k=1@5,set k=2@21",
			[]string{"a" + path, "b" + path + " L20"}},
		{"an event cut short is none", nil,
			[]fakeAnswer{sends(opening(4), strings.TrimSuffix(set(5, 1), "\n")), sends(opening(4), set(5, 1)[:20]), stays(opening(4), set(5, 1))},
			"set k=1@5",
			[]string{"a" + path, "b" + path + " L4", "c" + path + " L4"}},
		{"what was told is not told again", nil,
			[]fakeAnswer{sends(opening(4), set(5, 1), set(5, 1), set(6, 2)), stays(opening(3), set(5, 1), set(6, 2), set(7, 3))},
			"set k=1@5,set k=2@6,set k=3@7",
			[]string{"a" + path, "b" + path + " L6"}},
		{"nodes that cannot serve", nil,
			[]fakeAnswer{refuses(0, "refused"), refuses(503, "BEHIND"), refuses(429, "OVERLOADED"), refuses(500, "INTERNAL"), stays(opening(4), set(5, 1))},
			"set k=1@5",
			[]string{"a" + path, "b" + path, "c" + path, "a" + path, "b" + path}},
		{"a silent node", nil,
			[]fakeAnswer{stays(), stays(opening(4), set(5, 1))},
			"set k=1@5",
			[]string{"a" + path, "b" + path}},

		{"from a revision", []client.SubscribeOption{client.FromRevision(0)},
			[]fakeAnswer{stays(opening(0), set(1, 1))},
			"set k=1@1",
			[]string{"a" + path + " L0"}},
		{"with a snapshot", []client.SubscribeOption{client.Snapshot()},
			[]fakeAnswer{sends(snapshot("k", 3), synced(9), set(10, 4)), stays(opening(10), set(11, 5))},
			"k=3,synced@9,set k=4@10,set k=5@11",
			[]string{"a" + path + "?snapshot=true", "b" + path + " L10"}},
		{"a snapshot of nothing", []client.SubscribeOption{client.Snapshot()},
			[]fakeAnswer{stays(synced(9), set(10, 1))},
			"synced@9,set k=1@10",
			[]string{"a" + path + "?snapshot=true"}},
		{"a snapshot that never began", []client.SubscribeOption{client.Snapshot()},
			[]fakeAnswer{sends(snapshot("k", 3)[:9]), stays(snapshot("k", 3), synced(9))},
			"k=3,synced@9",
			[]string{"a" + path + "?snapshot=true", "b" + path + "?snapshot=true"}},
		{"a snapshot that broke off", []client.SubscribeOption{client.Snapshot()},
			[]fakeAnswer{sends(opening(8), snapshot("k", 3)), refuses(503, "BEHIND"), stays(snapshot("k", 3), synced(9))},
			"k=3,resync,k=3,synced@9",
			[]string{"a" + path + "?snapshot=true", "b" + path + "?snapshot=true", "c" + path + "?snapshot=true"}},
		{"resync", nil,
			[]fakeAnswer{sends(opening(4), set(5, 1)), stays(resync, snapshot("k", 7), synced(90), set(91, 8))},
			"set k=1@5,resync,k=7,synced@90,set k=8@91",
			[]string{"a" + path, "b" + path + " L5"}},
		{"resync from before a restore", []client.SubscribeOption{client.FromRevision(1000)},
			[]fakeAnswer{sends(resync, synced(90), set(91, 1)), stays(opening(91), set(92, 2))},
			"resync,synced@90,set k=1@91,set k=2@92",
			[]string{"a" + path + " L1000", "b" + path + " L91"}},
		// The piece that was told is no state to go on from, even if the next
		// node's history reaches back far enough.
		{"a resync that broke off", nil,
			[]fakeAnswer{sends(opening(4), set(5, 1)), sends(resync, snapshot("k", 7)), stays(snapshot("k", 8), synced(91))},
			"set k=1@5,resync,k=7,resync,k=8,synced@91",
			[]string{"a" + path, "b" + path + " L5", "c" + path + "?snapshot=true X5"}},
		{"an event of a kind to come", nil,
			[]fakeAnswer{stays(opening(4), "event: other\nid: 5\ndata: {}\n\n", set(6, 1))},
			"set k=1@6",
			[]string{"a" + path}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fakeStreams{answers: tt.answers}
				sub, err := f.client(t).State.Subscribe(t.Context(), "wf", "k", tt.opts...)
				if err != nil {
					t.Fatal(err)
				}
				told, err := drain(sub)
				if got := strings.Join(told, ","); got != tt.told {
					t.Errorf("told %s\nwant %s", got, tt.told)
				}
				if !slices.Equal(f.asked, tt.asked) {
					t.Errorf("asked for %q\nwant %q", f.asked, tt.asked)
				}
				if !errors.Is(err, client.ErrClosed) || !errors.Is(err, context.Canceled) {
					t.Errorf("ended with %v", err)
				}
			})
		})
	}
}

func TestSubscribeWorkflow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeStreams{answers: []fakeAnswer{
			stays(opening(1), `data: {"type":"expire","workflowId":"a b","key":"k/1","oldValue":{"x":1.10},"newValue":null,"value":null,"version":3,"revision":7,"tx":{"first":6,"last":8}}`+"\n\n"),
		}}
		sub, err := f.client(t).State.SubscribeWorkflow(t.Context(), "a b", client.Prefix("k/"))
		if err != nil {
			t.Fatal(err)
		}
		defer sub.Close()
		e, err := sub.Next()
		if err != nil || e.Type != client.EventExpire || e.Workflow != "a b" || e.Key != "k/1" || string(e.OldValue) != `{"x":1.10}` ||
			string(e.NewValue) != "null" || e.Version != 3 || e.Revision != 7 || e.Tx != (client.Tx{First: 6, Last: 8}) || !e.IsChange() {
			t.Errorf("got %+v, %v", e, err)
		}
		if want := []string{"a/v1/state/a%20b?prefix=k%2F"}; !slices.Equal(f.asked, want) {
			t.Errorf("asked for %q, want %q", f.asked, want)
		}
		if sub.Revision() != 7 {
			t.Errorf("revision %d, want 7", sub.Revision())
		}
	})
}

// Ensure that an answer which asking again would not change ends a subscription,
// before and after it began.
func TestSubscribeRefused(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer fakeAnswer
		want   client.Code
	}{
		{"400", refuses(400, "INVALID_KEY"), client.ErrInvalidKey},
		{"401", refuses(401, "UNAUTHORIZED"), client.ErrUnauthorized},
		{"404 of another server", refuses(404, ""), client.ErrBadResponse},
		{"200 of another server", refuses(200, ""), client.ErrBadResponse},
		{"204", refuses(204, ""), client.ErrBadResponse},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fakeStreams{answers: []fakeAnswer{tt.answer}}
				if _, err := f.client(t).State.Subscribe(t.Context(), "wf", "k"); !errors.Is(err, tt.want) || len(f.asked) != 1 {
					t.Errorf("got %v after %d attempts, want %s after 1", err, len(f.asked), tt.want)
				}
				f = &fakeStreams{answers: []fakeAnswer{sends(opening(4), set(5, 1)), tt.answer}}
				sub, err := f.client(t).State.Subscribe(t.Context(), "wf", "k")
				if err != nil {
					t.Fatal(err)
				}
				told, err := drain(sub)
				if !errors.Is(err, tt.want) || len(told) != 1 || len(f.asked) != 2 {
					t.Errorf("got %q, %v after %d attempts, want %s after 2", told, err, len(f.asked), tt.want)
				}
				if _, again := sub.Next(); again != err {
					t.Errorf("then %v, want the same error", again)
				}
			})
		})
	}
}

// Ensure that what is no event of the contract is an error, not a gap.
func TestSubscribeBadEvents(t *testing.T) {
	for _, data := range []string{"x", "[]", "{}", "null", `{"type":"set","version":-1}`} {
		synctest.Test(t, func(t *testing.T) {
			f := &fakeStreams{answers: []fakeAnswer{stays(opening(4), "id: 5\ndata: "+data+"\n\n")}}
			sub, err := f.client(t).State.Subscribe(t.Context(), "wf", "k")
			if err != nil {
				t.Fatal(err)
			}
			if told, err := drain(sub); !errors.Is(err, client.ErrBadResponse) || len(told) != 0 {
				t.Errorf("%s: got %q, %v", data, told, err)
			}
		})
	}
}

func TestSubscribeArguments(t *testing.T) {
	ctx := context.Background()
	f := &fakeStreams{answers: []fakeAnswer{stays(opening(1))}}
	s := f.client(t).State
	for i, do := range []func() (*client.Subscription, error){
		func() (*client.Subscription, error) { return s.Subscribe(ctx, "", "k") },
		func() (*client.Subscription, error) { return s.Subscribe(ctx, "wf", "..") },
		func() (*client.Subscription, error) { return s.SubscribeWorkflow(ctx, "") },
		func() (*client.Subscription, error) { return s.Subscribe(ctx, "wf", "k", client.Prefix("a")) },
		func() (*client.Subscription, error) {
			return s.SubscribeWorkflow(ctx, "wf", client.FromRevision(1), client.Snapshot())
		},
	} {
		if sub, err := do(); err == nil || sub != nil || len(f.asked) != 0 {
			t.Errorf("%d: got %v, %v, asked for %q", i, sub, err, f.asked)
		}
	}
}

// Ensure that endpoints are asked once each at nearly once, and then with pauses
// that grow from what the node asked for to a bound.
func TestSubscribePauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeStreams{answers: []fakeAnswer{
			sends("retry: 500\nid: 1\n\n"), refuses(503, "NO_LEADER"),
		}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		sub, err := f.client(t, "http://a", "http://b").State.Subscribe(ctx, "wf", "k")
		if err != nil {
			t.Fatal(err)
		}
		_, err = sub.Next()
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, client.ErrClosed) || time.Since(f.at[0]) != time.Minute {
			t.Errorf("ended with %v after %v", err, time.Since(f.at[0]))
		}
		least, most := time.Duration(0), 100*time.Millisecond
		for i := 1; i < len(f.at); i++ {
			if pause := f.at[i].Sub(f.at[i-1]); pause < least || pause > most {
				t.Errorf("pause %d is %v, want within [%v, %v]", i, pause, least, most)
			}
			least = min(500*time.Millisecond<<(i-1), 5*time.Second)
			most = least + least/2
		}
		if len(f.at) < 10 {
			t.Errorf("%d attempts in a minute", len(f.at))
		}
	})
}

// Ensure that a node is given up after three keep-alives that did not come, and
// that the time a slow caller takes is not the node's.
func TestSubscribeSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeStreams{answers: []fakeAnswer{stays(opening(4), set(5, 1)), stays(opening(5), set(6, 2))}}
		sub, err := f.client(t).State.Subscribe(t.Context(), "wf", "k")
		if err != nil {
			t.Fatal(err)
		}
		defer sub.Close()
		time.Sleep(time.Hour)
		if e, err := sub.Next(); err != nil || e.Version != 1 {
			t.Fatalf("got %v, %v", e, err)
		}
		start := time.Now()
		if e, err := sub.Next(); err != nil || e.Version != 2 {
			t.Fatalf("got %v, %v", e, err)
		}
		if took := time.Since(start); took < 45*time.Second || took > 46*time.Second {
			t.Errorf("went on after %v, want 45s and little more", took)
		}
	})
}

func TestSubscribeGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeStreams{answers: []fakeAnswer{refuses(0, "refused")}}
		start := time.Now()
		_, err := f.client(t).State.Subscribe(t.Context(), "wf", "k", client.GiveUpAfter(20*time.Second))
		if took := time.Since(start); !errors.Is(err, client.ErrNoAnswer) || took > 20*time.Second || took < 10*time.Second {
			t.Errorf("ended with %v after %v", err, took)
		}
		var e *client.Error
		if errors.As(err, &e); e.Attempts != len(f.asked) || e.Attempts < 5 {
			t.Errorf("%d attempts told, %d made", e.Attempts, len(f.asked))
		}
	})
}

// Ensure that events raise what the client's stale reads ask for, that streams
// without a place to resume from ask for it too, and that a revision which the
// cluster does not know any more is given up.
func TestSubscribeReadYourWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeStreams{answers: []fakeAnswer{
			stays(opening(4), set(12, 1)), refuses(412, "REVISION_UNKNOWN"), stays(opening(3)),
		}}
		c := f.client(t, "http://a")
		first, err := c.State.Subscribe(t.Context(), "wf", "k")
		if err != nil {
			t.Fatal(err)
		}
		defer first.Close()
		if _, err := first.Next(); err != nil || c.Revision() != 12 {
			t.Errorf("revision %d, %v, want 12", c.Revision(), err)
		}
		second, err := c.State.Subscribe(t.Context(), "wf", "k")
		if err != nil {
			t.Fatal(err)
		}
		defer second.Close()
		const path = "a/v1/state/wf/k/stream"
		if want := []string{path, path + " X12", path}; !slices.Equal(f.asked, want) {
			t.Errorf("asked for %q, want %q", f.asked, want)
		}
	})
}

// Ensure that Close ends a Next that waits, over a real connection too, and
// leaves nothing behind (TestMain).
func TestSubscribeClose(t *testing.T) {
	gone := make(chan struct{})
	c := connect(t, client.Config{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, opening(4)+set(5, 1))
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		close(gone)
	}))
	sub, err := c.State.Subscribe(t.Context(), "wf", "k")
	if err != nil {
		t.Fatal(err)
	}
	for e, err := range sub.Events() {
		if err == nil && e.Version == 1 {
			time.AfterFunc(10*time.Millisecond, sub.Close)
		} else if !errors.Is(err, client.ErrClosed) {
			t.Errorf("got %v, %v", e, err)
		}
	}
	sub.Close()
	<-gone
}
