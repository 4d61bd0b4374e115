package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stateraft/stateraft/cluster"
	"github.com/stateraft/stateraft/fsm/fsmpb"
	"github.com/stateraft/stateraft/httpapi/auth"
)

// revokeElsewhere ends a key as another node does: this one has it from the
// next time that it asks the leader.
func (x *api) revokeElsewhere(id string) {
	op := &fsmpb.Op{Kind: fsmpb.Op_DELETE, Key: id}
	revoke := &fsmpb.Command{Namespace: auth.Namespace, Ops: []*fsmpb.Op{op}}
	x.cluster.onReadIndex = func(context.Context) { x.cluster.proposeMany(x.tb, revoke, 1) }
}

// A node that has not heard of a revocation yet heeds it, but for what needs no
// leader.
func TestRevokedElsewhere(t *testing.T) {
	const (
		agent    = "/api/v1/state/k"
		chat     = "/api/v1/chat/completions"
		loading  = `{"messages":[],"mnx":{"state":{"load":true,"key":"k"}}}`
		key      = "key"
		root     = "root"
		anybody  = "anybody"
		heeded   = 401
		asksOnce = 1
	)
	subject := []string{headerSubject, "s"}
	tests := []struct {
		name, who, method, path, body string
		headers                       []string
		status, asks                  int
	}{
		{"write", key, "POST", valuePath, `{"value":2}`, nil, heeded, asksOnce},
		{"several writes", key, "POST", listPath, `{"ops":[{"op":"set","key":"k","value":2}]}`, nil, heeded, asksOnce},
		{"delete", key, "DELETE", valuePath, "", nil, heeded, asksOnce},
		{"agent's write", key, "PUT", agent, `{"value":2}`, subject, heeded, asksOnce},
		{"a key is made", key, "POST", apiKeysPath, `{"scopes":["admin"]}`, nil, heeded, asksOnce},
		{"drain", key, "POST", "/v1/cluster/drain", "", nil, heeded, asksOnce},
		{"read", key, "GET", valuePath, "", nil, heeded, asksOnce},
		{"head", key, "HEAD", valuePath, "", nil, heeded, asksOnce},
		{"linearizable read", key, "GET", valuePath + "?consistency=linearizable", "", nil, heeded, asksOnce},
		{"list", key, "GET", listPath, "", nil, heeded, asksOnce},
		{"agent's read", key, "GET", agent, "", subject, heeded, asksOnce},
		{"list of keys", key, "GET", apiKeysPath, "", nil, heeded, asksOnce},
		{"stream", key, "GET", streamPath, "", nil, heeded, asksOnce},
		{"proxied, with state", key, "POST", chat, loading, subject, heeded, asksOnce},

		{"stale read", key, "GET", valuePath + "?consistency=stale", "", nil, 200, 0},
		{"stale list", key, "GET", listPath + "?consistency=stale", "", nil, 200, 0},
		{"stale stream", key, "GET", streamPath + "?consistency=stale", "", nil, 200, 0},
		{"stream that goes on", key, "GET", streamPath, "", []string{headerLastEventID, "1"}, 200, 0},
		{"proxied", key, "POST", chat, `{"messages":[]}`, nil, 418, 0},
		{"figures", key, "GET", "/metrics", "", nil, 200, 0},
		{"members", key, "GET", "/v1/cluster", "", nil, 200, 0},

		{"write", root, "POST", valuePath, `{"value":2}`, nil, 200, 0},
		{"read", root, "GET", valuePath, "", nil, 200, asksOnce},
		{"write", anybody, "POST", valuePath, `{"value":2}`, nil, 200, 0},
		{"read", anybody, "GET", valuePath, "", nil, 200, asksOnce},
	}
	teapot := withUpstream(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	for _, tt := range tests {
		t.Run(tt.name+" of "+tt.who, func(t *testing.T) {
			x := newAPI(t, teapot)
			headers := tt.headers
			if tt.who != anybody {
				x = newAPI(t, withAuth, teapot)
				token, id := x.newKey(`"scopes":["admin"]`)
				x.revokeElsewhere(id)
				headers = slices.Concat(as(map[string]string{key: token, root: rootToken}[tt.who]), headers)
			}
			x.ok(x.post(valuePath, `{"value":1}`, as(rootToken)...), "")
			asked, proposed := x.cluster.readIndexes, len(x.cluster.commands)

			a := x.do(tt.method, tt.path, tt.body, headers...)
			if a.status != tt.status {
				t.Errorf("got %d %s, want %d", a.status, a.body, tt.status)
			}
			if got := x.cluster.readIndexes - asked; got != tt.asks {
				t.Errorf("the leader was asked %d times, want %d", got, tt.asks)
			}
			if tt.status == heeded && (len(x.cluster.commands) != proposed || x.cluster.drains > 0) {
				t.Error("it was done")
			}
		})
	}
}

// No route that writes lets a key pass that was revoked elsewhere.
func TestNoWriteOfRevokedKey(t *testing.T) {
	for _, rt := range newAPI(t).server.table {
		if rt.method == http.MethodGet || rt.proxied || rt.root {
			continue
		}
		x := newAPI(t, withAuth)
		token, id := x.newKey(`"scopes":["admin"]`)
		x.revokeElsewhere(id)
		x.denied(rt.method+" "+rt.pattern, x.do(rt.method, fill(rt, "wf", "k"), goodBody(rt), as(token)...), 401, "UNAUTHORIZED")
	}
}

// However many writes a key sends, the leader is asked of it every 50 ms; and
// within as long every write is refused.
func TestHorizonAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newAPI(t, withAuth)
		token, id := x.newKey(`"scopes":["state:write"]`)
		write := func() int { return x.post(valuePath, `{"value":1}`, as(token)...).status }
		asked := x.cluster.readIndexes
		for range 1000 {
			if status := write(); status != 200 {
				t.Fatal(status)
			}
			time.Sleep(time.Millisecond)
		}
		if got := x.cluster.readIndexes - asked; got != 20 {
			t.Errorf("the leader was asked %d times in a second, want 20", got)
		}
		for after := range 70 {
			write()
			x.revokeElsewhere(id)
			revoked := time.Now()
			time.Sleep(time.Duration(after) * time.Millisecond)
			if status := write(); status != 401 && time.Since(revoked) >= maxKeyLag {
				t.Errorf("a write %v after the revocation: %d", time.Since(revoked), status)
			}
			x.cluster.onReadIndex = nil
			token, id = x.newKey(`"scopes":["state:write"]`)
		}
	})
}

// An answer covers what was acknowledged before the question, and no more.
func TestHorizonIsWhenAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var err error
		h := newHorizon(func(context.Context) error {
			time.Sleep(time.Second)
			return err
		})
		asked := time.Now()
		if h.covers(asked.Add(-time.Hour)) {
			t.Error("it covers something before anybody asked")
		}
		check := func() {
			t.Helper()
			if !h.covers(asked.Add(-1)) || h.covers(asked) {
				t.Errorf("it covers the moment before the question: %v, that of the question: %v, want true, false",
					h.covers(asked.Add(-1)), h.covers(asked))
			}
		}
		if err := h.reach(t.Context(), asked); err != nil {
			t.Fatal(err)
		}
		check()
		err = cluster.ErrNoLeader
		if h.reach(t.Context(), time.Now()) == nil {
			t.Error("it was reached without a leader")
		}
		check()
	})
}

// Requests that come while the leader is asked share the answer.
func TestHorizonIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newAPI(t, withAuth)
		token, _ := x.newKey(`"scopes":["state:write"]`)
		asked, answer := x.cluster.readIndexes, make(chan struct{})
		x.cluster.onReadIndex = func(context.Context) { <-answer }
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() { x.ok(x.post(valuePath, `{"value":1}`, as(token)...), "") })
		}
		synctest.Wait()
		close(answer)
		all.Wait()
		if got := x.cluster.readIndexes - asked; got != 1 {
			t.Errorf("the leader was asked %d times, want once", got)
		}
	})
}

// Without a leader a write is refused in its own time, though others wait
// longer, and has done nothing.
func TestNoLeaderForKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newAPI(t, withAuth)
		token, _ := x.newKey(`"scopes":["state:read","state:write"]`)
		proposed := len(x.cluster.commands)
		x.cluster.onReadIndex = func(ctx context.Context) { <-ctx.Done() }
		x.cluster.readErr = cluster.ErrNoLeader
		start := time.Now()
		var all sync.WaitGroup
		for _, seconds := range []int{15, 1, 2, 30} {
			all.Go(func() {
				a := x.post(valuePath, `{"value":1}`, append(as(token), headerTimeout, fmt.Sprint(seconds))...)
				x.denied("a write", a, 503, "NO_LEADER")
				if a.json["outcome"] != "not_applied" {
					t.Errorf("outcome = %v", a.json["outcome"])
				}
				if took := time.Since(start); took != time.Duration(seconds)*time.Second {
					t.Errorf("it took %v of %d s", took, seconds)
				}
			})
			synctest.Wait()
		}
		x.refused(x.get(valuePath+"?consistency=stale", as(token)...), 404, "NOT_FOUND")
		x.refused(x.post(valuePath, `{"value":1}`, append(as(token), headerTimeout, "0")...), 400, "INVALID_REQUEST")
		if time.Since(start) != 0 {
			t.Error("what needs no leader waited for one")
		}
		all.Wait()
		if len(x.cluster.commands) != proposed {
			t.Error("a write was proposed")
		}
		if x.cluster.readIndexes != 2 { // the second by who waited longer than the first
			t.Errorf("the leader was asked %d times, want 2", x.cluster.readIndexes)
		}
		x.cluster.onReadIndex, x.cluster.readErr = nil, nil
		x.ok(x.post(valuePath, `{"value":1}`, as(token)...), "")
	})
}

// What the key took of a request's time, the write does not have.
func TestTimeOfKeyCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newAPI(t, withAuth)
		token, _ := x.newKey(`"scopes":["state:write"]`)
		x.cluster.onReadIndex = func(context.Context) { time.Sleep(3 * time.Second) }
		var left time.Duration
		x.cluster.onPropose = func(ctx context.Context) {
			deadline, _ := ctx.Deadline()
			left = time.Until(deadline)
		}
		x.ok(x.post(valuePath, `{"value":1}`, append(as(token), headerTimeout, "5")...), "")
		if left != 2*time.Second {
			t.Errorf("the write had %v left of 5 s after 3 s", left)
		}
	})
}

// A key that was made elsewhere a moment ago is waited for, and where nobody
// knows whether it exists the caller is not told that it does not.
func TestKeyNotHereYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newAPI(t, withAuth)
		unknown, id, hash := auth.NewToken()
		ask := func(token string, want, asks int) answer {
			t.Helper()
			asked := x.cluster.readIndexes
			a := x.post(valuePath, `{"value":1}`, as(token)...)
			if a.status != want || x.cluster.readIndexes-asked != asks {
				t.Errorf("got %d %s, want %d, and the leader was asked %d times, want %d",
					a.status, a.body, want, x.cluster.readIndexes-asked, asks)
			}
			return a
		}
		known, _ := x.newKey(`"scopes":["state:write"]`)
		ask(known, 200, 1)
		ask(known, 200, 0)
		ask(unknown, 401, 1) // however fresh the state was
		ask("no key at all, of no form", 401, 0)

		scopes, _ := auth.ParseScopes([]string{"state:write"})
		value, err := auth.Record{Project: "default", Scopes: scopes, Hash: hash}.Encode()
		if err != nil {
			t.Fatal(err)
		}
		made := setCommand("", id, string(value))
		made.Namespace = auth.Namespace
		x.cluster.onReadIndex = func(context.Context) { x.cluster.proposeMany(t, made, 1) }
		ask(unknown, 200, 1)

		x.cluster.onReadIndex, x.cluster.readErr = nil, cluster.ErrNoLeader
		other, _, _ := auth.NewToken()
		if a := ask(other, 503, 1); a.json["outcome"] != "not_applied" || !strings.Contains(a.body, "not known here") {
			t.Error(a.body)
		}
	})
}
