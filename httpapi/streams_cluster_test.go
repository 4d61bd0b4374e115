package httpapi

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stateraft/stateraft/cluster/clustertest"
)

// threeNodes starts a cluster with the API of each node on a port of its own.
func threeNodes(t *testing.T, configure ...func(*Config)) (c *clustertest.Cluster, addrs []string) {
	t.Helper()
	c = clustertest.New(t, 3, nil)
	for _, n := range c.Nodes {
		addrs = append(addrs, serveNode(t, n, configure...))
	}
	return c, addrs
}

func serveNode(t *testing.T, n *clustertest.Node, configure ...func(*Config)) (addr string) {
	t.Helper()
	config := Config{Cluster: n.Node}
	for _, f := range configure {
		f(&config)
	}
	s, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	x := &api{tb: t, server: s}
	return x.serve()
}

func (e told) is(revision uint64) bool { return e.id == revision && e.json.Revision == revision }

// A stream that ends after any event goes on at another node, where the
// events are the same, byte by byte.
func TestResumeOnAnotherNode(t *testing.T) {
	c, addrs := threeNodes(t)
	namespace := workflowNamespace("wf")
	first := c.Nodes[0].Set(t, namespace, "k", "0").Revision
	for i := range 20 {
		c.Nodes[i%3].Set(t, namespace, fmt.Sprint("k", i%2), fmt.Sprint(i))
	}
	atomic, err := c.Nodes[1].Propose(t.Context(), setCommand("wf", "k0", "1", "k1", "2", "k2", "3"))
	if err != nil {
		t.Fatal(err)
	}
	last := atomic.Revision
	c.WaitEqual()

	var want []string
	for i, addr := range addrs {
		r := open(t, addr, listPath, "Accept", "text/event-stream", headerLastEventID, fmt.Sprint(first))
		r.blocks(opened(first))
		var got []string
		for range last - first {
			got = append(got, r.block())
		}
		if i > 0 && !slices.Equal(got, want) {
			t.Fatalf("node %d tells %q, node 1 %q", i+1, got, want)
		}
		want = got
	}
	for id := first; id < last; id++ {
		r := open(t, addrs[id%3], listPath, "Accept", "text/event-stream", headerLastEventID, fmt.Sprint(id))
		r.blocks(opened(id), want[id-first])
		r.close()
	}
}

// A client that has seen more than a node waits until the node has it too, and
// one that no node can vouch for is told so.
func TestResumeOnALaggingNode(t *testing.T) {
	c, addrs := threeNodes(t)
	namespace := workflowNamespace("wf")
	seen := c.Nodes[0].Set(t, namespace, "k", "0").Revision
	c.WaitEqual()
	lagging := c.Follower()
	i := slices.Index(c.Nodes, lagging)
	others := slices.Delete(slices.Clone(c.Nodes), i, i+1)
	c.Partition([]*clustertest.Node{lagging}, others)
	leader := c.LeaderAmong(others...)
	for range 5 {
		seen = leader.Set(t, namespace, "k", "1").Revision
	}
	next := leader.Set(t, namespace, "k", "2").Revision

	late := dial(t, addrs[i], streamPath, headerLastEventID, fmt.Sprint(seen), headerTimeout, "0.3")
	if res := late.response(); res.StatusCode != 503 {
		t.Errorf("while the node lags: %s, want 503", res.Status)
	}
	r := dial(t, addrs[i], streamPath, headerLastEventID, fmt.Sprint(seen), headerTimeout, "60")
	c.Heal()
	r.head()
	r.blocks(opened(seen))
	if e, _ := r.event(); !e.is(next) {
		t.Errorf("got %+v, want revision %d", e, next)
	}

	other := open(t, addrs[i], streamPath, headerLastEventID, fmt.Sprint(next+1_000_000))
	for _, want := range []string{"resync", "", "synced"} {
		if e, _ := other.event(); e.name != want {
			t.Errorf("got %+v, want event %q", e, want)
		}
	}
}

// A node that starts again replays the history that it had.
func TestResumeAfterRestart(t *testing.T) {
	c, _ := threeNodes(t)
	namespace := workflowNamespace("wf")
	first := c.Nodes[0].Set(t, namespace, "k", "0").Revision
	last := first
	for i := range 10 {
		last = c.Nodes[0].Set(t, namespace, "k", fmt.Sprint(i)).Revision
	}
	n := c.Follower()
	n.Restart(t)
	r := open(t, serveNode(t, n), streamPath, headerLastEventID, fmt.Sprint(first))
	r.blocks(opened(first))
	for id := first + 1; id <= last; id++ {
		if e, _ := r.event(); !e.is(id) {
			t.Fatalf("got %+v, want revision %d", e, id)
		}
	}
}

// A stream that begins after a write was acknowledged anywhere begins at or
// past it.
func TestStreamBeginsPastAcknowledgedWrites(t *testing.T) {
	c, addrs := threeNodes(t)
	for i := range 30 {
		revision := c.Nodes[i%3].Set(t, workflowNamespace("wf"), "k", fmt.Sprint(i)).Revision
		r := open(t, addrs[(i+1)%3], streamPath+"?snapshot=true")
		e, _ := r.event()
		synced, _ := r.event()
		if string(e.json.NewValue) != fmt.Sprint(i) || synced.name != "synced" || synced.id < revision {
			t.Fatalf("after write %d of revision %d: %+v, %+v", i, revision, e, synced)
		}
		r.close()
	}
}

// An expiry is one event, the same on every node.
func TestExpiryIsTold(t *testing.T) {
	c, addrs := threeNodes(t)
	var readers []*reader
	for _, addr := range addrs {
		readers = append(readers, open(t, addr, streamPath))
	}
	command := setCommand("wf", "k", "1")
	command.Ops[0].Ttl = (50 * time.Millisecond).Microseconds()
	if _, err := c.Nodes[0].Propose(t.Context(), command); err != nil {
		t.Fatal(err)
	}
	for _, r := range readers {
		set, _ := r.event()
		expired, _ := r.event()
		if set.json.Type != "set" || expired.json.Type != "expire" || !expired.is(set.id+1) || expired.json.Version != 2 {
			t.Errorf("got %+v, %+v", set, expired)
		}
	}
}
