// Package node runs the nodes of a cluster as processes: each in a network
// namespace of its own, where Isolate has made that possible, else on loopback.
package node

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/stateraft/stateraft/client"
)

// Config is what a cluster is made of.
type Config struct {
	Binary string   // stateraft
	Dir    string   // for data; its content is nobody else's
	LogDir string   // for n1.log and so on
	Size   int      // number of nodes, all voters
	Flags  []string // of "serve", beyond those that every node needs

	// Isolated gives each node a network namespace. The process must be one that
	// Isolate has started.
	Isolated bool
}

// Cluster is a number of nodes that can be hurt.
type Cluster struct {
	Nodes   []*Node
	Network *Network // nil: the nodes are on loopback

	// Ended tells of processes that ended although nobody had asked them to.
	// It holds one a node at least; what has no room is dropped.
	Ended chan string
}

// Start starts a new cluster. It does not wait until the nodes are ready. Stop
// must be called, also after an error.
func Start(cfg Config) (*Cluster, error) {
	c := &Cluster{Ended: make(chan string, 64)}
	if cfg.Isolated {
		c.Network = &Network{size: cfg.Size}
		if err := c.Network.setUp(); err != nil {
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
	return c, nil
}

// Stop kills what runs.
func (c *Cluster) Stop() {
	for _, n := range c.Nodes {
		n.Kill()
		n.log.Close()
	}
}

// address is where one node listens.
type address struct{ http, raft, gossip string }

func addresses(cfg Config) ([]address, error) {
	var addrs []address
	for i := range cfg.Size {
		if cfg.Isolated {
			addrs = append(addrs, address{clientAddr(i) + ":7474", peerAddr(i) + ":" + strconv.Itoa(RaftPort), peerAddr(i) + ":" + strconv.Itoa(GossipPort)})
			continue
		}
		free, err := freeAddrs(3)
		if err != nil {
			return nil, err
		}
		addrs = append(addrs, address{free[0], free[1], free[2]})
	}
	return addrs, nil
}

// freeAddrs returns addresses on loopback that nobody listens at.
func freeAddrs(n int) ([]string, error) {
	var addrs []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // after all have been found, so that they differ
		addrs = append(addrs, l.Addr().String())
	}
	return addrs, nil
}

func newNode(cfg Config, i int, addrs []address, ended chan<- string) (*Node, error) {
	name := fmt.Sprint("n", i+1)
	log, err := os.OpenFile(filepath.Join(cfg.LogDir, name+".log"), os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	n := &Node{Name: name, Index: i, URL: "http://" + addrs[i].http, dir: filepath.Join(cfg.Dir, name), log: log, ended: ended}
	var gossip []string
	for _, a := range addrs {
		gossip = append(gossip, a.gossip)
	}
	n.command = []string{
		cfg.Binary, "serve", "--node-id", name, "--data-dir", n.dir, "--log-format", "json",
		"--http-addr", addrs[i].http, "--raft-addr", addrs[i].raft, "--gossip-addr", addrs[i].gossip,
		"--join", strings.Join(gossip, ","),
	}
	n.founding = []string{"--bootstrap-expect", strconv.Itoa(cfg.Size)}
	if cfg.Isolated {
		n.command = append([]string{"ip", "netns", "exec", name}, append(n.command, "--insecure")...)
	}
	n.command = append(n.command, cfg.Flags...)
	if n.admin, err = client.New(client.Config{Endpoints: []string{n.URL}, MaxAttempts: 1}); err != nil {
		return nil, err
	}
	return n, nil
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
