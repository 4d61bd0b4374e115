package clustertest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
)

// A network is what the nodes dial each other through.
type network struct {
	mu    sync.Mutex
	names map[string]string   // by address
	links map[link][]net.Conn // connections that were dialled over it
	down  map[link]bool
}

const firstPort, ports = 10_000, 20_000 // below those that outgoing connections take

// A process begins at some port, so that two seldom meet.
var (
	beginPort = rand.Uint64N(ports)
	triedPort atomic.Uint64
)

// freeAddrs returns n addresses that nobody listens at, and that it has not
// returned before: somebody else could have one when its node restarts.
func freeAddrs(tb testing.TB, n int) []string {
	tb.Helper()
	var addrs []string
	for tries := 0; len(addrs) < n; tries++ {
		port := firstPort + (beginPort+triedPort.Add(1))%ports
		l, err := net.Listen("tcp", "127.0.0.1:"+strconv.FormatUint(port, 10))
		if err == nil {
			defer l.Close()
			addrs = append(addrs, l.Addr().String())
		} else if tries == 100 {
			tb.Fatal(err)
		}
	}
	return addrs
}

type dialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

// A link is the way from one node to another.
type link struct{ from, to string }

func newNetwork() *network {
	return &network{names: make(map[string]string), links: make(map[link][]net.Conn), down: make(map[link]bool)}
}

// listens tells whose address it is.
func (n *network) listens(name, addr string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.names[addr] = name
}

// dialer lets a node dial, by means of dial, over links that are not cut.
func (n *network) dialer(from string, dial dialFunc) dialFunc {
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		l := link{from, n.names[addr]}
		if n.down[l] {
			conn.Close()
			return nil, fmt.Errorf("the link from %s to %s is cut", l.from, l.to)
		}
		n.links[l] = append(n.links[l], conn)
		return conn, nil
	}
}

// cut ends all connections between the sides, and those to come.
func (n *network) cut(a, b []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, x := range a {
		for _, y := range b {
			for _, l := range []link{{x, y}, {y, x}} {
				n.down[l] = true
				for _, conn := range slices.Backward(n.links[l]) {
					conn.Close()
				}
				delete(n.links, l)
			}
		}
	}
}

func (n *network) heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.down)
}
