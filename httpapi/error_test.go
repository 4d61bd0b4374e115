package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/julienschmidt/httprouter"

	"github.com/stateraft/stateraft/cluster"
)

var errFake = errors.New("a secret of ours")

// Every error of the cluster, by how it meets a write and a read.
func TestClusterErrors(t *testing.T) {
	tests := []struct {
		err           error
		write         int
		writeCode     string
		outcome       string
		read          int
		readCode      string
		retryAfterSet bool
	}{
		{cluster.ErrNoLeader, 503, "NO_LEADER", "not_applied", 503, "NO_LEADER", false},
		{cluster.ErrClosed, 503, "NO_LEADER", "not_applied", 503, "NO_LEADER", false},
		{cluster.ErrOutcomeUnknown, 504, "OUTCOME_UNKNOWN", "unknown", 503, "NO_LEADER", false},
		{cluster.ErrOverloaded, 429, "OVERLOADED", "not_applied", 429, "OVERLOADED", true},
		{cluster.ErrDiskFull, 507, "DISK_FULL", "not_applied", 507, "DISK_FULL", false},
		{cluster.ErrTooLarge, 413, "TOO_LARGE", "not_applied", 413, "TOO_LARGE", false},
		{cluster.ErrBehind, 503, "BEHIND", "not_applied", 503, "BEHIND", false},
		{cluster.ErrRevisionUnknown, 412, "REVISION_UNKNOWN", "not_applied", 412, "REVISION_UNKNOWN", false},
		{context.DeadlineExceeded, 504, "OUTCOME_UNKNOWN", "unknown", 503, "NO_LEADER", false},
		{context.Canceled, 504, "OUTCOME_UNKNOWN", "unknown", 503, "NO_LEADER", false},
		{errFake, 500, "INTERNAL", "unknown", 500, "INTERNAL", false},
	}
	for _, tt := range tests {
		t.Run(tt.err.Error(), func(t *testing.T) {
			x := newAPI(t)
			x.cluster.proposeErr = fmt.Errorf("propose: %w", tt.err)
			x.cluster.readErr = fmt.Errorf("read: %w", tt.err)
			for _, a := range []answer{
				x.refused(x.post(valuePath, `{"value":1}`), tt.write, tt.writeCode),
				x.refused(x.delete(valuePath), tt.write, tt.writeCode),
				x.refused(x.post("/v1/state/wf", `{"ops":[{"op":"delete","key":"a"}]}`), tt.write, tt.writeCode),
			} {
				if a.json["outcome"] != tt.outcome {
					t.Errorf("outcome: %s, want %s", a.body, tt.outcome)
				}
				if (a.header.Get("Retry-After") != "") != tt.retryAfterSet {
					t.Errorf("Retry-After = %q", a.header.Get("Retry-After"))
				}
			}
			a := x.refused(x.get(valuePath), tt.read, tt.readCode)
			if a.json["outcome"] != "not_applied" || strings.Contains(a.body, "secret") {
				t.Errorf("read: %s", a.body)
			}
		})
	}
}

func TestPanic(t *testing.T) {
	x := newAPI(t)
	x.cluster.panics = true
	a := x.refused(x.post(valuePath, `{"value":1}`), 500, "INTERNAL")
	if a.json["outcome"] != "unknown" {
		t.Errorf("a write that panicked: %s", a.body)
	}
}

// A panic after the answer was begun cannot be answered: the connection ends.
func TestLatePanic(t *testing.T) {
	x := newAPI(t)
	rt := &route{pattern: unrouted, handler: func(w http.ResponseWriter, _ *request) error {
		w.WriteHeader(200)
		panic("late")
	}}
	defer func() {
		if p := recover(); p != http.ErrAbortHandler {
			t.Errorf("panic = %v, want ErrAbortHandler", p)
		}
	}()
	x.server.router.Handle("GET", "/late", func(w http.ResponseWriter, r *http.Request, _ httprouter.Params) {
		x.server.serve(rt, w, r, nil)
	})
	x.get("/late")
}

func TestAdminErrors(t *testing.T) {
	tests := []struct {
		err    error
		status int
		code   string
	}{
		{cluster.ErrNotFound, 404, "NOT_FOUND"},
		{fmt.Errorf("%w: n2 is the only voter", cluster.ErrRefused), 409, "REFUSED"},
		{cluster.ErrNoLeader, 503, "NO_LEADER"},
	}
	for _, tt := range tests {
		x := newAPI(t)
		x.cluster.adminErr = tt.err
		for _, a := range []answer{x.post("/v1/cluster/leader/transfer", ""), x.delete("/v1/cluster/members/n2")} {
			x.refused(a, tt.status, tt.code)
			if a.json["outcome"] != "not_applied" || a.json["message"] != tt.err.Error() {
				t.Errorf("body: %s", a.body)
			}
		}
	}
}

func TestAdmin(t *testing.T) {
	x := newAPI(t)
	x.ok(x.post("/v1/cluster/leader/transfer", ""), `{"ok":true}`)
	x.ok(x.post("/v1/cluster/leader/transfer", `{}`), `{"ok":true}`)
	x.ok(x.post("/v1/cluster/leader/transfer", `{"to":"n2"}`), `{"ok":true}`)
	x.ok(x.delete("/v1/cluster/members/a%2Fb"), `{"ok":true}`)
	if got := fmt.Sprintf("%q %q", x.cluster.transferred, x.cluster.removed); got != `["" "" "n2"] ["a/b"]` {
		t.Errorf("asked of the cluster: %s", got)
	}
	a := x.ok(x.get("/v1/cluster"), "")
	if a.json["leader"] != "n1" || a.number("term") != 3 {
		t.Errorf("status: %s", a.body)
	}
	x.cluster.alone = true
	if a := x.ok(x.get("/v1/cluster"), ""); !strings.Contains(a.body, `"nodes":[]`) {
		t.Errorf("status of a node without a cluster: %s", a.body)
	}
}

// A node that drains is not ready, for good, and still serves requests.
func TestDrain(t *testing.T) {
	x := newAPI(t)
	x.refused(x.post("/v1/cluster/drain", `{"to":"n2"}`), 400, "INVALID_REQUEST")
	x.ok(x.get("/ready"), "")
	for range 2 {
		x.ok(x.post("/v1/cluster/drain", ""), `{"ok":true}`)
		x.refused(x.get("/ready"), 503, "NOT_READY")
		x.ok(x.post(valuePath, `{"value":1}`), "")
		x.ok(x.get(valuePath), "")
	}
	if x.cluster.drains != 2 {
		t.Errorf("the cluster was told %d times", x.cluster.drains)
	}
}

// A node whose leadership cannot move drains all the same, and says so.
func TestDrainHalfDone(t *testing.T) {
	x := newAPI(t)
	for _, tt := range []struct {
		err    error
		status int
		code   string
	}{
		{cluster.ErrRefused, 409, "REFUSED"},
		{cluster.ErrNoLeader, 503, "NO_LEADER"},
		{cluster.ErrOutcomeUnknown, 504, "OUTCOME_UNKNOWN"},
	} {
		x.cluster.adminErr = fmt.Errorf("%w: for a reason", tt.err)
		a := x.refused(x.post("/v1/cluster/drain", ""), tt.status, tt.code)
		message := a.json["message"].(string)
		if a.json["outcome"] != "unknown" || !strings.Contains(message, "the node drains") || !strings.Contains(message, "for a reason") {
			t.Errorf("body: %s", a.body)
		}
	}
	x.refused(x.get("/ready"), 503, "NOT_READY")
}

func TestHealthAndReady(t *testing.T) {
	x := newAPI(t)
	for _, path := range []string{"/health", "/livez"} {
		x.ok(x.get(path), `{"status":"ok"}`)
	}
	for _, path := range []string{"/ready", "/readyz"} {
		x.ok(x.get(path), `{"status":"ready"}`)
	}
	x.cluster.setReady(errors.New("no leader is known"))
	if a := x.refused(x.get("/ready"), 503, "NOT_READY"); a.json["message"] != "no leader is known" {
		t.Errorf("ready: %s", a.body)
	}
	x.cluster.setReady(nil)
	x.server.SetDraining()
	x.refused(x.get("/readyz"), 503, "NOT_READY")
	x.ok(x.get("/health"), "")
	x.ok(x.post(valuePath, `{"value":1}`), "") // requests are still served
}
