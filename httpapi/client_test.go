package httpapi

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stateraft/stateraft/client"
)

// TestThroughClient drives the server through the Go client, so that both ends
// of the contract are checked at once.
func TestThroughClient(t *testing.T) {
	x := newAPI(t)
	c, err := client.New(client.Config{Endpoints: []string{"http://" + x.serve()}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx := context.Background()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	const wf, key = "wf/1", "tool:weather/tc 123?"

	_, err = c.State.Get(ctx, wf, key)
	if !errors.Is(err, client.ErrNotFound) {
		t.Fatalf("absent key: %v", err)
	}
	v, err := c.State.Set(ctx, wf, key, map[string]any{"a": nil}, client.WithTTL(90*time.Second))
	must(err)
	entry, err := c.State.Get(ctx, wf, key)
	must(err)
	if v != 1 || string(entry.Value) != `{"a":null}` || entry.ExpiresAt.Sub(entry.UpdatedAt) != 90*time.Second {
		t.Errorf("version %d, entry %+v", v, entry)
	}
	v, err = c.State.SetWithVersion(ctx, wf, key, nil, 1, client.WithIdempotencyKey("once"))
	must(err)
	again, err := c.State.SetWithVersion(ctx, wf, key, nil, 1, client.WithIdempotencyKey("once"))
	must(err)
	if v != 2 || again != 2 {
		t.Errorf("versions %d and, repeated, %d", v, again)
	}

	var refused *client.Error
	_, err = c.State.SetWithVersion(ctx, wf, key, 1, 1, client.ReturnCurrent())
	if !errors.As(err, &refused) || refused.Code != client.ErrVersionConflict || refused.Outcome != client.OutcomeNotApplied ||
		refused.CurrentVersion != 2 || string(refused.CurrentValue) != "null" {
		t.Errorf("conflict: %+v", err)
	}
	for _, condition := range []client.WriteOption{client.IfVersion(1), client.IfAbsent()} {
		if _, err := c.State.Delete(ctx, wf, key, condition); !errors.Is(err, client.ErrVersionConflict) {
			t.Errorf("condition: %v", err)
		}
	}

	results, err := c.State.Atomic(ctx, wf, []client.Op{
		client.SetOp("b", 1).AtVersion(0), client.DeleteOp("none"), client.CheckOp(key, 2),
	})
	must(err)
	if want := []client.OpResult{{Version: 1}, {}, {Version: 2}}; !slices.Equal(results, want) {
		t.Errorf("results = %v, want %v", results, want)
	}
	page, err := c.State.List(ctx, wf, client.Query{Values: true, Limit: 1})
	must(err)
	if !slices.Equal(page.Keys, []string{"b"}) || page.Next != "b" || len(page.Entries) != 1 || page.Entries[0].Version != 1 {
		t.Errorf("page = %+v", page)
	}
	deleted, err := c.State.Delete(ctx, wf, key, client.IfExists())
	must(err)
	if !deleted || c.Revision() != x.revision() {
		t.Errorf("deleted %v, revision %d of %d", deleted, c.Revision(), x.revision())
	}

	must(c.Health(ctx))
	must(c.Ready(ctx))
	status, err := c.Cluster.Status(ctx)
	must(err)
	if status.Leader != "n1" || len(status.Nodes) != 1 {
		t.Errorf("status = %+v", status)
	}
	must(c.Cluster.TransferLeadership(ctx, "n1"))
	must(c.Cluster.RemoveMember(ctx, "n/2"))
	must(c.Cluster.Drain(ctx))
	if err := c.Ready(ctx); !errors.Is(err, client.ErrNotReady) {
		t.Errorf("ready of a node that drains: %v", err)
	}
	if !slices.Equal(x.cluster.removed, []string{"n/2"}) {
		t.Errorf("removed %q", x.cluster.removed)
	}
}

// The same of Agent State.
func TestAgentThroughClient(t *testing.T) {
	x := newAPI(t)
	c, err := client.New(client.Config{Endpoints: []string{"http://" + x.serve()}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx := context.Background()
	const subject, key = "Zoë", "tool:weather/../tc 123?"

	if _, err := c.Agent.Get(ctx, subject, key); !errors.Is(err, client.ErrInvalidKey) {
		t.Errorf("a key with dots: %v", err)
	}
	for i, key := range []string{"a/b", "a/c"} {
		v, err := c.Agent.Set(ctx, subject, key, i, client.WithSession("run"), client.WithTTL(time.Minute))
		if err != nil || v != 1 {
			t.Errorf("version %d, %v", v, err)
		}
	}
	entry, err := c.Agent.Get(ctx, subject, "a/b")
	if err != nil || string(entry.Value) != "0" || entry.Session != "run" || entry.ExpiresAt.Sub(entry.CreatedAt) != time.Minute {
		t.Errorf("got %+v, %v", entry, err)
	}
	if err := c.Agent.Delete(ctx, subject, "a/b", client.IfVersion(7)); !errors.Is(err, client.ErrVersionConflict) {
		t.Errorf("condition: %v", err)
	}
	if err := c.Agent.Delete(ctx, subject, "a/b", client.IfVersion(1)); err != nil {
		t.Error(err)
	}
	page, err := c.Agent.List(ctx, subject, client.AgentQuery{Prefix: "a/"})
	if err != nil || len(page.Entries) != 1 || page.Entries[0].Key != "a/c" {
		t.Errorf("page %+v, %v", page, err)
	}
}

// The client's examples have the outputs that they print here too, where a real
// cluster serves them.
func TestClientExamples(t *testing.T) {
	_, addrs := threeNodes(t)
	for i, addr := range addrs {
		addrs[i] = "http://" + addr
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-v", "-run=^Example", "../client")
	cmd.Env = append(os.Environ(), "STATERAFT_TEST_ENDPOINTS="+strings.Join(addrs, " "))
	out, err := cmd.CombinedOutput()
	if passed := strings.Count(string(out), "--- PASS"); err != nil || passed < 9 {
		t.Errorf("%d examples passed, %v:\n%s", passed, err, out)
	}
}

// A subscription whose key is revoked ends for good, and says why.
func TestClientsSubscriptionEndsWithItsKey(t *testing.T) {
	x := newAPI(t, withAuth)
	token, id := x.newKey(`"scopes":["state:read"]`)
	c, err := client.New(client.Config{Endpoints: []string{"http://" + x.serve()}, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	sub, err := c.State.Subscribe(t.Context(), "wf", "k")
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	x.set("wf", "k", "1")
	told := 0
	var end error
	for _, err := range sub.Events() {
		if err != nil {
			end = err
			break
		}
		if told++; told == 1 {
			x.ok(x.delete("/v1/keys/"+id, as(rootToken)...), "")
		}
	}
	if told != 1 || !errors.Is(end, client.ErrUnauthorized) {
		t.Errorf("%d events, then %v", told, end)
	}
}
