package httpapi

import (
	"context"
	"errors"
	"slices"
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
