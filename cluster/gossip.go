package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
	"google.golang.org/protobuf/proto"

	"github.com/stateraft/stateraft/cluster/clusterpb"
)

// Bounds of what a node says of itself, in bytes. Together with the numbers
// they stay below memberlist.MetaMaxSize, beyond which memberlist panics.
const (
	maxGossipID   = 36 // node id: a UUID; cluster id too
	maxGossipName = 64
	maxGossipAddr = 140
)

const (
	joinPauseMin   = 200 * time.Millisecond // between attempts to join, doubled up to
	joinPauseMax   = 10 * time.Second
	resolveTimeout = 5 * time.Second
	streamTimeout  = 2 * time.Second // to connect, and for each read and write
	announceWait   = time.Second     // for a change of meta to reach one other node

	maxFormer    = 64 // members that went away and are still looked for
	formerMemory = 24 * time.Hour
)

type gossipConfig struct {
	nodeID    string   // UUID; must differ from every other node's
	bind      string   // host:port, TCP and UDP; port 0: any free one
	advertise string   // host:port told to others; empty: the listener's
	key       []byte   // 16, 24 or 32 bytes; empty: plain text
	join      []string // host:port of other nodes, this one may be among them
	logger    *slog.Logger

	// meta returns what the node says of itself. It is asked at the start and
	// by every update.
	meta func() *clusterpb.GossipMeta
}

// gossip is how nodes find each other. What it tells is a hint and may be old
// or, without a key, forged: no decision about quorum or membership may rest
// on it alone.
type gossip struct {
	config gossipConfig
	list   *memberlist.Memberlist
	own    string // advertised address

	cancel   context.CancelFunc
	wg       sync.WaitGroup
	announce chan struct{} // one slot: meta is to be announced anew
	once     sync.Once

	mu     sync.Mutex // guards the fields below
	meta   []byte     // this node's, encoded
	alive  map[string]*clusterpb.GossipMeta
	former map[string]time.Time // gossip addresses of members that went away, and when
	warned map[string]bool      // nodes whose meta could not be read
	looked bool                 // every address to join was tried once
	change chan struct{}        // closed at the next change of alive or looked
}

// startGossip listens, and joins others in the background: nobody needs to be
// up. The error names what is wrong with the configuration.
func startGossip(c gossipConfig) (*gossip, error) {
	g := &gossip{
		config:   c,
		announce: make(chan struct{}, 1),
		alive:    make(map[string]*clusterpb.GossipMeta),
		former:   make(map[string]time.Time),
		warned:   make(map[string]bool),
		change:   make(chan struct{}),
	}
	for _, addr := range c.join {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return nil, fmt.Errorf("gossip: address to join: %w", err)
		}
	}
	var err error
	if g.meta, err = g.describe(); err != nil {
		return nil, fmt.Errorf("gossip: %w", err)
	}
	mc, err := g.memberlistConfig()
	if err != nil {
		return nil, fmt.Errorf("gossip: %w", err)
	}
	if g.list, err = memberlist.Create(mc); err != nil {
		return nil, fmt.Errorf("gossip: listen on %s: %w", c.bind, err)
	}
	g.mu.Lock()
	g.own = g.alive[c.nodeID].GetGossip()
	g.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	g.cancel = cancel
	g.wg.Go(func() { g.joinLoop(ctx) })
	g.wg.Go(func() { g.announceLoop(ctx) })
	return g, nil
}

// memberlistConfig is memberlist's for a LAN, made quicker: a handful of nodes
// can afford it.
func (g *gossip) memberlistConfig() (*memberlist.Config, error) {
	bindIP, bindPort, err := resolveAddr(g.config.bind)
	if err != nil {
		return nil, fmt.Errorf("address: %w", err)
	}
	mc := memberlist.DefaultLANConfig()
	mc.Name = g.config.nodeID
	mc.BindAddr, mc.BindPort = bindIP, bindPort
	mc.AdvertisePort = bindPort
	if a := g.config.advertise; a != "" {
		if mc.AdvertiseAddr, mc.AdvertisePort, err = resolveAddr(a); err != nil {
			return nil, fmt.Errorf("advertised address: %w", err)
		}
	} else if net.ParseIP(bindIP).IsUnspecified() {
		return nil, fmt.Errorf("%s cannot be told to other nodes: an address to advertise is needed", g.config.bind)
	}
	mc.SecretKey = g.config.key
	mc.ProbeInterval, mc.ProbeTimeout = 500*time.Millisecond, 200*time.Millisecond
	mc.GossipInterval = 100 * time.Millisecond
	mc.PushPullInterval = 10 * time.Second
	mc.TCPTimeout = streamTimeout
	// A node that comes back under another address is known by its name; it
	// must not be kept out until its old address is forgotten.
	mc.DeadNodeReclaimTime = 10 * time.Second
	mc.LogOutput, mc.Logger = nil, newMemberlistLogger(g.config.logger)
	mc.Delegate, mc.Events = gossipDelegate{g}, gossipEvents{g}
	return mc, nil
}

// resolveAddr wants an IP address in the end: memberlist takes a name that it
// cannot parse for "listen everywhere".
func resolveAddr(addr string) (ip string, port int, err error) {
	tcp, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return "", 0, err
	}
	if tcp.IP == nil {
		return "0.0.0.0", tcp.Port, nil
	}
	return tcp.IP.String(), tcp.Port, nil
}

// describe encodes what this node says of itself.
func (g *gossip) describe() ([]byte, error) {
	m := g.config.meta()
	if m.NodeId != g.config.nodeID {
		return nil, fmt.Errorf("node id is %q, not this node's, %q", m.NodeId, g.config.nodeID)
	}
	return encodeMeta(m)
}

// encodeMeta names the member that is too long.
func encodeMeta(m *clusterpb.GossipMeta) ([]byte, error) {
	for _, f := range []struct {
		name      string
		size, max int
	}{
		{"cluster id", len(m.ClusterId), maxGossipID},
		{"node id", len(m.NodeId), maxGossipID},
		{"node name", len(m.Name), maxGossipName},
		{"http address", len(m.Http), maxGossipAddr},
		{"raft address", len(m.Raft), maxGossipAddr},
	} {
		if f.size > f.max {
			return nil, fmt.Errorf("%s has %d bytes, at most %d are allowed", f.name, f.size, f.max)
		}
	}
	b, err := proto.Marshal(m)
	if err == nil && len(b) > memberlist.MetaMaxSize {
		err = fmt.Errorf("node description has %d bytes, at most %d are allowed", len(b), memberlist.MetaMaxSize)
	}
	return b, err
}

// addr is the address at which others reach this node's gossip.
func (g *gossip) addr() string { return g.own }

// members returns the nodes that seem alive, this one included, by node id.
// The caller must not change them.
func (g *gossip) members() []*clusterpb.GossipMeta {
	g.mu.Lock()
	defer g.mu.Unlock()
	list := make([]*clusterpb.GossipMeta, 0, len(g.alive))
	for _, id := range slices.Sorted(maps.Keys(g.alive)) {
		list = append(list, g.alive[id])
	}
	return list
}

// hasLooked reports whether every address to join has been tried once, so that
// members shows who answered. Ask it before members.
func (g *gossip) hasLooked() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.looked
}

// changed returns a channel that is closed when members or hasLooked next
// changes. Take it before calling them, so as to miss nothing.
func (g *gossip) changed() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.change
}

// update announces meta anew. It does not wait for anyone to hear it.
func (g *gossip) update() {
	select {
	case g.announce <- struct{}{}:
	default: // one that has not begun covers this one
	}
}

func (g *gossip) announceLoop(ctx context.Context) {
	for {
		select {
		case <-g.announce:
		case <-ctx.Done():
			return
		}
		meta, err := g.describe()
		if err != nil {
			g.config.logger.Error("gossip goes on saying what it said before", "err", err)
			continue
		}
		g.mu.Lock()
		g.meta = meta
		g.mu.Unlock()
		if err := g.list.UpdateNode(announceWait); err != nil {
			g.config.logger.Debug("no other node has heard the update yet", "err", err)
		}
	}
}

// joinLoop looks for the nodes that are missing, at first often and again
// after every change. It never stops: memberlist gives up on a node that has
// been dead for a while, so after a long partition nobody else would bring the
// halves together.
func (g *gossip) joinLoop(ctx context.Context) {
	pause := joinPauseMin
	for {
		changed := g.changed()
		g.joinMissing(ctx)
		g.noteLooked(ctx)
		pause = min(2*pause, joinPauseMax)
		select {
		case <-time.After(pause/2 + rand.N(pause/2)):
		case <-changed:
			pause = joinPauseMin
		case <-ctx.Done():
			return
		}
	}
}

func (g *gossip) joinMissing(ctx context.Context) {
	for _, name := range g.expected() {
		for _, addr := range g.resolve(ctx, name) {
			if ctx.Err() != nil {
				return
			}
			if !g.isAlive(addr) {
				g.join(ctx, addr)
			}
		}
	}
}

// join returns when ctx ends too: memberlist tries for several seconds, and
// nothing stops it.
func (g *gossip) join(ctx context.Context, addr string) {
	tried := make(chan struct{})
	go func() {
		defer close(tried)
		g.list.Join([]string{addr}) // says itself what went wrong
	}()
	select {
	case <-tried:
	case <-ctx.Done():
	}
}

// noteLooked ends the first look for others, unless that was cut short.
func (g *gossip) noteLooked(ctx context.Context) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.looked && ctx.Err() == nil {
		g.looked = true
		g.announceChange()
	}
}

// expected lists the addresses at which there should be a node.
func (g *gossip) expected() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	maps.DeleteFunc(g.former, func(_ string, gone time.Time) bool { return time.Since(gone) > formerMemory })
	return append(slices.Sorted(maps.Keys(g.former)), g.config.join...)
}

// resolve returns the addresses that a name stands for now; it may be several.
func (g *gossip) resolve(ctx context.Context, name string) []string {
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	host, port, err := net.SplitHostPort(name)
	if err != nil {
		return nil // startGossip has checked what was configured
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		g.config.logger.Debug("cannot resolve a node to join", "address", name, "err", err)
	}
	var addrs []string
	for _, ip := range ips {
		addrs = append(addrs, net.JoinHostPort(ip.Unmap().String(), port))
	}
	return addrs
}

func (g *gossip) isAlive(addr string) bool {
	return slices.ContainsFunc(g.members(), func(m *clusterpb.GossipMeta) bool { return m.Gossip == addr })
}

// leave tells the others that this node goes, so that they need not find out,
// and waits until one was told. It must not be called after close.
func (g *gossip) leave(timeout time.Duration) error {
	g.cancel()
	if err := g.list.Leave(timeout); err != nil {
		return fmt.Errorf("gossip: %w", err)
	}
	return nil
}

// close stops gossip. To the others the node is dead unless it has left. It is
// idempotent.
func (g *gossip) close() error {
	var err error
	g.once.Do(func() {
		g.cancel()
		err = g.list.Shutdown()
		g.wg.Wait()
	})
	return err
}

// heard notes what a live node says of itself.
func (g *gossip) heard(n *memberlist.Node) {
	m, err := decodeMeta(n)
	g.mu.Lock()
	defer g.mu.Unlock()
	if err != nil {
		g.warnOnce(n, err)
		return
	}
	delete(g.warned, n.Name)
	delete(g.former, m.Gossip)
	if !proto.Equal(g.alive[n.Name], m) {
		g.alive[n.Name] = m
		g.announceChange()
	}
}

// decodeMeta wants a node to speak of itself only.
func decodeMeta(n *memberlist.Node) (*clusterpb.GossipMeta, error) {
	m := new(clusterpb.GossipMeta)
	if err := proto.Unmarshal(n.Meta, m); err != nil {
		return nil, err
	}
	if m.NodeId != n.Name {
		return nil, fmt.Errorf("it is about node %q", m.NodeId)
	}
	m.Gossip = n.Address()
	return m, nil
}

// warnOnce requires g.mu.
func (g *gossip) warnOnce(n *memberlist.Node, err error) {
	if g.warned[n.Name] {
		return
	}
	g.warned[n.Name] = true
	g.config.logger.Warn("a node is ignored: what it says of itself cannot be read", "node", n.Name, "gossip", n.Address(), "err", err)
}

// gone notes that a node has died or left.
func (g *gossip) gone(n *memberlist.Node) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.warned, n.Name)
	if _, known := g.alive[n.Name]; !known {
		return
	}
	delete(g.alive, n.Name)
	if len(g.former) < maxFormer {
		g.former[n.Address()] = time.Now()
	}
	g.announceChange()
}

// announceChange requires g.mu.
func (g *gossip) announceChange() {
	close(g.change)
	g.change = make(chan struct{})
}

// gossipEvents implements memberlist.EventDelegate. memberlist calls it with a
// lock held, so nothing here calls back; and what it reads of a node may change
// after the call, so all of it is copied.
type gossipEvents struct{ g *gossip }

func (e gossipEvents) NotifyJoin(n *memberlist.Node)   { e.g.heard(n) }
func (e gossipEvents) NotifyUpdate(n *memberlist.Node) { e.g.heard(n) }
func (e gossipEvents) NotifyLeave(n *memberlist.Node)  { e.g.gone(n) }

// gossipDelegate implements memberlist.Delegate: meta is all that we gossip.
type gossipDelegate struct{ g *gossip }

func (d gossipDelegate) NodeMeta(int) []byte {
	d.g.mu.Lock()
	defer d.g.mu.Unlock()
	return d.g.meta
}

func (gossipDelegate) NotifyMsg([]byte)                {}
func (gossipDelegate) GetBroadcasts(int, int) [][]byte { return nil }
func (gossipDelegate) LocalState(bool) []byte          { return nil }
func (gossipDelegate) MergeRemoteState([]byte, bool)   {}
