package cluster

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/memberlist"
	"google.golang.org/protobuf/proto"

	"github.com/stateraft/stateraft/cluster/clusterpb"
	"github.com/stateraft/stateraft/internal/leaktest"
)

// gossiper is a node that only gossips; its name can be changed.
type gossiper struct {
	*gossip
	id   string
	name atomic.Pointer[string]
}

func startGossiper(t *testing.T, name string, adjust func(*gossipConfig)) *gossiper {
	t.Helper()
	g := &gossiper{id: uuid.NewString()}
	g.name.Store(&name)
	c := gossipConfig{
		nodeID: g.id,
		bind:   "127.0.0.1:0",
		logger: discard,
		meta: func() *clusterpb.GossipMeta {
			return &clusterpb.GossipMeta{NodeId: g.id, Name: *g.name.Load(), Raft: name + ":7574", MaxVersion: 1}
		},
	}
	if adjust != nil {
		adjust(&c)
	}
	g.id = c.nodeID
	var err error
	if g.gossip, err = startGossip(c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.close() })
	return g
}

func joining(addrs ...string) func(*gossipConfig) {
	return func(c *gossipConfig) { c.join = addrs }
}

func (g *gossiper) names() []string {
	var names []string
	for _, m := range g.members() {
		names = append(names, m.Name)
	}
	return slices.Sorted(slices.Values(names))
}

// awaitNames waits until g sees exactly the nodes of those names.
func (g *gossiper) awaitNames(t *testing.T, want ...string) {
	t.Helper()
	timeout := time.After(patience)
	for {
		changed := g.changed()
		if slices.Equal(g.names(), want) {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("%s sees %v, want %v", *g.name.Load(), g.names(), want)
		}
	}
}

func TestGossip(t *testing.T) {
	leaktest.Check(t)
	a := startGossiper(t, "a", nil)
	a.awaitNames(t, "a")
	b := startGossiper(t, "b", joining(a.addr()))
	c := startGossiper(t, "c", joining(a.addr()))
	all := []*gossiper{a, b, c}
	for _, g := range all {
		g.awaitNames(t, "a", "b", "c")
	}
	// Everybody tells of everybody what they told, and where they gossip.
	for _, g := range all {
		for _, m := range g.members() {
			i := slices.IndexFunc(all, func(g *gossiper) bool { return g.id == m.NodeId })
			want := &clusterpb.GossipMeta{NodeId: all[i].id, Name: *all[i].name.Load(), Raft: *all[i].name.Load() + ":7574", MaxVersion: 1, Gossip: all[i].addr()}
			if !proto.Equal(m, want) {
				t.Errorf("got %v, want %v", m, want)
			}
		}
		if !slices.IsSortedFunc(g.members(), func(a, b *clusterpb.GossipMeta) int { return strings.Compare(a.NodeId, b.NodeId) }) {
			t.Error("members are not sorted by node id")
		}
	}

	renamed := "b2"
	b.name.Store(&renamed)
	b.update()
	for _, g := range all {
		g.awaitNames(t, "a", "b2", "c")
	}
	if err := c.leave(patience); err != nil {
		t.Error(err)
	}
	a.awaitNames(t, "a", "b2")
	b.awaitNames(t, "a", "b2")
	for range 2 {
		if err := c.close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	b.close() // without a word
	a.awaitNames(t, "a")
}

// Nobody needs to be up when a node starts, and a node that everybody has lost
// is found again.
func TestGossipJoinsUntilItSucceeds(t *testing.T) {
	leaktest.Check(t)
	probe := startGossiper(t, "probe", nil)
	addr := probe.addr()
	probe.close()

	a := startGossiper(t, "a", joining(addr, "127.0.0.1:1"))
	self := a.addr()
	id := uuid.NewString()
	start := func(name string) *gossiper {
		return startGossiper(t, name, func(c *gossipConfig) { c.nodeID, c.bind, c.join = id, addr, []string{addr, self} })
	}
	b := start("b")
	a.awaitNames(t, "a", "b")
	b.close()
	a.awaitNames(t, "a")

	// b comes back knowing nobody: it is a that remembers.
	b = startGossiper(t, "b", func(c *gossipConfig) { c.nodeID, c.bind = id, addr })
	a.awaitNames(t, "a", "b")
	b.awaitNames(t, "a", "b")
}

func TestGossipKey(t *testing.T) {
	leaktest.Check(t)
	keyed := func(key string, join ...string) func(*gossipConfig) {
		return func(c *gossipConfig) { c.key, c.join = []byte(key), join }
	}
	key := strings.Repeat("k", 32)
	a := startGossiper(t, "a", keyed(key))
	b := startGossiper(t, "b", keyed(key, a.addr()))
	a.awaitNames(t, "a", "b")
	b.awaitNames(t, "a", "b")
	for _, other := range []string{"", strings.Repeat("o", 32)} {
		stranger := startGossiper(t, "s", keyed(other))
		if _, err := stranger.list.Join([]string{a.addr()}); err == nil {
			t.Errorf("a node with key %q got in", other)
		}
		stranger.awaitNames(t, "s")
	}
	a.awaitNames(t, "a", "b")
}

func TestGossipConfigRefused(t *testing.T) {
	meta := func(change func(*clusterpb.GossipMeta)) func(*gossipConfig) {
		return func(c *gossipConfig) {
			c.meta = func() *clusterpb.GossipMeta {
				m := &clusterpb.GossipMeta{NodeId: c.nodeID}
				change(m)
				return m
			}
		}
	}
	tests := []struct {
		name    string
		adjust  func(*gossipConfig)
		wantErr string
	}{
		{"bind", func(c *gossipConfig) { c.bind = "127.0.0.1" }, "gossip: address"},
		{"everywhere", func(c *gossipConfig) { c.bind = ":0" }, "an address to advertise is needed"},
		{"everywhere, version 6", func(c *gossipConfig) { c.bind = "[::]:0" }, "an address to advertise is needed"},
		{"everywhere and advertised", func(c *gossipConfig) { c.bind, c.advertise = ":0", "127.0.0.1:7674" }, ""},
		{"advertise", func(c *gossipConfig) { c.advertise = "127.0.0.1" }, "gossip: advertised address"},
		{"join", func(c *gossipConfig) { c.join = []string{"n1"} }, "gossip: address to join"},
		{"key", func(c *gossipConfig) { c.key = []byte("short") }, "16, 24 or 32"},
		{"name", meta(func(m *clusterpb.GossipMeta) { m.Name = strings.Repeat("n", maxGossipName+1) }), "node name has 65 bytes"},
		{"http", meta(func(m *clusterpb.GossipMeta) { m.Http = strings.Repeat("n", maxGossipAddr+1) }), "http address has 141 bytes"},
		{"raft", meta(func(m *clusterpb.GossipMeta) { m.Raft = strings.Repeat("n", maxGossipAddr+1) }), "raft address has 141 bytes"},
		{"no meta of this node", meta(func(m *clusterpb.GossipMeta) { m.NodeId = "" }), `node id is "", not this node's`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			leaktest.Check(t)
			c := gossipConfig{
				nodeID: uuid.NewString(), bind: "127.0.0.1:0", logger: discard,
				meta: func() *clusterpb.GossipMeta { return new(clusterpb.GossipMeta) },
			}
			meta(func(*clusterpb.GossipMeta) {})(&c)
			tt.adjust(&c)
			g, err := startGossip(c)
			if wantError(t, err, tt.wantErr); err == nil {
				g.close()
			}
		})
	}
}

// What the bounds allow, memberlist takes.
func TestLargestMetaFits(t *testing.T) {
	b, err := encodeMeta(&clusterpb.GossipMeta{
		ClusterId: make([]byte, maxGossipID), NodeId: strings.Repeat("i", maxGossipID), Name: strings.Repeat("n", maxGossipName),
		Http: strings.Repeat("h", maxGossipAddr), Raft: strings.Repeat("r", maxGossipAddr),
		MinVersion: 1<<32 - 1, MaxVersion: 1<<32 - 1, Replica: true, Expect: 1<<32 - 1,
	})
	if err != nil || len(b) > memberlist.MetaMaxSize {
		t.Errorf("%d bytes, %v; at most %d are allowed", len(b), err, memberlist.MetaMaxSize)
	}
}

// An update that does not fit leaves what was said before.
func TestGossipUpdateRefused(t *testing.T) {
	leaktest.Check(t)
	failed := make(chan struct{}, 1)
	a := startGossiper(t, "a", func(c *gossipConfig) {
		c.logger = slog.New(&hookHandler{Handler: slog.DiscardHandler, hook: func(r slog.Record) {
			if r.Level == slog.LevelError {
				failed <- struct{}{}
			}
		}})
	})
	long := strings.Repeat("n", maxGossipName+1)
	a.name.Store(&long)
	a.update()
	<-failed
	a.awaitNames(t, "a")
}

// hookHandler calls hook with every record.
type hookHandler struct {
	slog.Handler
	hook func(slog.Record)
}

func (h *hookHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h *hookHandler) Handle(_ context.Context, r slog.Record) error {
	h.hook(r)
	return nil
}

// A node whose meta cannot be read is left out, with one warning.
func TestMalformedMetaIsIgnored(t *testing.T) {
	var log bytes.Buffer
	g := &gossip{
		config: gossipConfig{logger: slog.New(slog.NewTextHandler(&log, nil))},
		alive:  make(map[string]*clusterpb.GossipMeta),
		former: make(map[string]time.Time),
		warned: make(map[string]bool),
		change: make(chan struct{}),
	}
	events := gossipEvents{g}
	good, err := encodeMeta(&clusterpb.GossipMeta{NodeId: "n"})
	if err != nil {
		t.Fatal(err)
	}
	for _, meta := range [][]byte{[]byte("\xff\xff"), nil, good} {
		events.NotifyJoin(&memberlist.Node{Name: "other", Meta: meta})
		events.NotifyUpdate(&memberlist.Node{Name: "other", Meta: meta})
	}
	events.NotifyLeave(&memberlist.Node{Name: "other"})
	if n := len(g.members()); n != 0 {
		t.Errorf("%d members, want none", n)
	}
	if n := strings.Count(log.String(), "WARN"); n != 1 {
		t.Errorf("%d warnings, want 1:\n%s", n, log.String())
	}
	changed := g.changed()
	events.NotifyJoin(&memberlist.Node{Name: "n", Meta: good})
	select {
	case <-changed:
	default:
		t.Error("a join was not announced")
	}
	if m := g.members(); len(m) != 1 || m[0].NodeId != "n" {
		t.Errorf("members = %v, want n", m)
	}
}

func FuzzDecodeMeta(f *testing.F) {
	good, err := encodeMeta(&clusterpb.GossipMeta{NodeId: "n", ClusterId: []byte("c"), Expect: 3})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte("\xff"))
	f.Fuzz(func(t *testing.T, meta []byte) {
		if m, err := decodeMeta(&memberlist.Node{Name: "n", Meta: meta}); err == nil && m.NodeId != "n" {
			t.Errorf("node n spoke for %q", m.NodeId)
		}
	})
}

// Readers and writers of gossip's own state meet under -race.
func TestGossipConcurrently(t *testing.T) {
	leaktest.Check(t)
	a := startGossiper(t, "a", nil)
	b := startGossiper(t, "b", joining(a.addr()))
	a.awaitNames(t, "a", "b")
	var wg sync.WaitGroup
	for _, g := range []*gossiper{a, b} {
		wg.Go(func() {
			for range 200 {
				g.update()
				g.members()
				g.changed()
				g.addr()
			}
		})
	}
	wg.Wait()
}
