// Package node runs the nodes of a cluster as processes: each in a network
// namespace of its own, where Isolate has made that possible, else on loopback.
package node

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/stateraft/stateraft/client"
)

// Config is what a cluster is made of.
type Config struct {
	Binary string   // stateraft
	Old    string   // stateraft that the nodes begin with; empty: Binary
	Dir    string   // for data; its content is nobody else's
	LogDir string   // for n1.log and so on
	Size   int      // number of nodes, all voters
	Flags  []string // of "serve", beyond those that every node needs

	// Slack is how many times longer than is promised processes may take to end;
	// 0 is as 1.
	Slack int

	// Token is the root token, with which every node asks for API keys. Empty:
	// nobody asks for one.
	Token string

	// Isolated gives each node a network namespace. The process must be one that
	// Isolate has started.
	Isolated bool

	// What some faults need. The zero values cost nothing.
	Relays bool     // between the nodes' Raft ports; only with Isolated
	Clocks bool     // that can be set wrong
	Disks  bool     // that can be hurt
	Tuning []string // lines of the test hook "tuning" of every node
	Spares []string // roles of further nodes, which do not run until they are started
}

// Cluster is a number of nodes that can be hurt.
type Cluster struct {
	Nodes   []*Node
	Spares  []*Node  // no members until somebody starts them
	Network *Network // nil: the nodes are on loopback
	Relay   *Relay   // nil: there is none

	// Old is the binary that the nodes began with, New the one to upgrade to.
	// They may be the same.
	Old, New string

	// Ended tells of processes that ended although nobody had asked them to.
	// It holds one a node at least; what has no room is dropped.
	Ended chan string

	stepsMu sync.Mutex
	steps   []Step
}

// Start starts a new cluster. It does not wait until the nodes are ready. Stop
// must be called, also after an error.
func Start(cfg Config) (*Cluster, error) {
	c := &Cluster{Ended: make(chan string, 64), Old: cmp.Or(cfg.Old, cfg.Binary), New: cfg.Binary}
	if cfg.Isolated {
		c.Network = &Network{size: cfg.Size + len(cfg.Spares)}
		if err := c.Network.setUp(); err != nil {
			return c, err
		}
	}
	if cfg.Relays {
		var err error
		if c.Relay, err = c.Network.relay(); err != nil {
			return c, err
		}
	}
	addrs, err := addresses(cfg)
	if err != nil {
		return c, err
	}
	for i := range cfg.Size {
		n, err := newNode(cfg, i, addrs, c.Ended)
		if err != nil {
			return c, err
		}
		c.Nodes = append(c.Nodes, n)
		if err := n.Start(); err != nil {
			return c, err
		}
	}
	for i, role := range cfg.Spares {
		n, err := newNode(cfg, cfg.Size+i, addrs, c.Ended)
		if err != nil {
			return c, err
		}
		n.founding, n.args = nil, append(n.args, "--role", role)
		c.Spares = append(c.Spares, n)
	}
	return c, nil
}

// Stop kills what runs.
func (c *Cluster) Stop() {
	nodes := slices.Concat(c.Nodes, c.Spares)
	for _, n := range nodes {
		if n.Disk != nil {
			n.Disk.Heal() // a process in the middle of an operation does not end
		}
		n.Kill()
	}
	if err := unmount(nodes); err != nil {
		fmt.Fprintln(os.Stderr, "torture:", err)
	}
	for _, n := range nodes {
		n.log.Close()
	}
	if c.Relay != nil {
		c.Relay.close()
	}
}

// address is where one node listens.
type address struct{ http, raft, gossip string }

func addresses(cfg Config) ([]address, error) {
	n := cfg.Size + len(cfg.Spares)
	if !cfg.Isolated {
		return loopbackAddresses(n)
	}
	var addrs []address
	for i := range n {
		addrs = append(addrs, address{clientAddr(i) + ":7474", peerAddr(i) + ":" + strconv.Itoa(RaftPort), peerAddr(i) + ":" + strconv.Itoa(GossipPort)})
	}
	return addrs, nil
}

func loopbackAddresses(n int) ([]address, error) {
	free, err := freeAddrs(3 * n)
	if err != nil {
		return nil, err
	}
	var addrs []address
	for a := range slices.Chunk(free, 3) {
		addrs = append(addrs, address{a[0], a[1], a[2]})
	}
	return addrs, nil
}

// freeAddrs returns addresses on loopback that nobody listens at, below the
// ports that outgoing connections take: one of those could have it when a node
// restarts.
func freeAddrs(n int) ([]string, error) {
	var addrs []string
	for tries := 0; len(addrs) < n; tries++ {
		l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(10_000+rand.IntN(20_000)))
		if err == nil {
			defer l.Close() // after all have been found, so that they differ
			addrs = append(addrs, l.Addr().String())
		} else if tries >= 100 {
			return nil, err
		}
	}
	return addrs, nil
}

func newNode(cfg Config, i int, addrs []address, ended chan<- string) (*Node, error) {
	name := fmt.Sprint("n", i+1)
	log, err := os.OpenFile(filepath.Join(cfg.LogDir, name+".log"), os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	n := &Node{Name: name, Index: i, URL: "http://" + addrs[i].http, dir: filepath.Join(cfg.Dir, name), log: log, ended: ended, slack: cfg.Slack}
	var gossip []string
	for _, a := range addrs[:cfg.Size] {
		gossip = append(gossip, a.gossip)
	}
	n.binary = cmp.Or(cfg.Old, cfg.Binary)
	n.args = []string{
		"serve", "--node-id", name, "--data-dir", n.dir, "--log-format", "json",
		"--http-addr", addrs[i].http, "--raft-addr", addrs[i].raft, "--gossip-addr", addrs[i].gossip,
		"--join", strings.Join(gossip, ","),
	}
	n.founding = []string{"--bootstrap-expect", strconv.Itoa(cfg.Size)}
	if cfg.Isolated {
		n.wrapper = []string{"ip", "netns", "exec", name}
		n.args = append(n.args, "--insecure")
	}
	if cfg.Relays {
		n.args = append(n.args, "--advertise-raft", relayAddr(i)+":"+strconv.Itoa(RaftPort))
	}
	n.token = cfg.Token
	if cfg.Token != "" {
		file, err := cfg.tokenFile()
		if err != nil {
			return nil, err
		}
		n.args = append(n.args, "--auth", "--root-token-file", file)
	}
	n.args = append(n.args, cfg.Flags...)
	if err := n.hook(cfg); err != nil {
		return nil, err
	}
	if n.admin, err = client.New(client.Config{Endpoints: []string{n.URL}, Token: cfg.Token, MaxAttempts: 1}); err != nil {
		return nil, err
	}
	return n, n.mount(cfg)
}

// tokenFile returns a file that holds the root token. It is written once: nodes
// may be reading it.
func (cfg *Config) tokenFile() (string, error) {
	path := filepath.Join(cfg.Dir, "root-token")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	return path, os.WriteFile(path, []byte(cfg.Token), 0o600)
}

// Leader returns the node that leads, as the one of the highest term has it.
func (c *Cluster) Leader(ctx context.Context) (*Node, error) {
	var leader string
	var term uint64
	for _, n := range c.Nodes {
		if st, err := n.Status(ctx); err == nil && st.Leader != "" && st.Term > term {
			leader, term = st.Leader, st.Term
		}
	}
	for _, n := range c.Nodes {
		if n.Name == leader {
			return n, nil
		}
	}
	return nil, fmt.Errorf("no node knows a leader")
}
