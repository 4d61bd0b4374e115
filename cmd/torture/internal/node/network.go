package node

import (
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"strconv"
	"strings"
	"sync"
)

// Ports of a node on the network between nodes.
const (
	RaftPort   = 7574
	GossipPort = 7674
)

// Network is two networks: clients call the nodes over one, which is never
// hurt, the nodes call each other over the other.
type Network struct {
	size int

	mu sync.Mutex // one at a time changes the rules
}

// setUpScript joins $1 namespaces, n1 and so on, by two bridges.
const setUpScript = `
	mkdir -p /run/netns
	mount -t tmpfs none /run/netns
	ip link set lo up
	ip link add clients type bridge
	ip address add 10.87.1.254/24 dev clients
	ip link add peers type bridge
	ip link set clients up
	ip link set peers up
	for i in $(seq $1); do
		ip netns add n$i
		ip -n n$i link set lo up
		for net in clients peers; do
			ip link add $net$i type veth peer name $net netns n$i
			ip link set $net$i master $net up
			ip -n n$i link set $net up
		done
		ip -n n$i address add 10.87.1.$i/24 dev clients
		ip -n n$i address add 10.87.2.$i/24 dev peers
	done`

func (n *Network) setUp() error { return shell(setUpScript, "", strconv.Itoa(n.size)) }

// relayScript gives the relay an address for each of $1 nodes.
const relayScript = `
	for i in $(seq $1); do
		ip address add 10.87.2.$((100 + i))/24 dev peers
	done`

// relay starts one between all nodes.
func (n *Network) relay() (*Relay, error) {
	if err := shell(relayScript, "", strconv.Itoa(n.size)); err != nil {
		return nil, err
	}
	var ends []relayEnd
	for i := range n.size {
		ends = append(ends, relayEnd{
			node: netip.AddrPortFrom(netip.MustParseAddr(peerAddr(i)), RaftPort),
			host: netip.MustParseAddr(relayAddr(i)),
		})
	}
	return startRelay(ends)
}

func clientAddr(node int) string { return fmt.Sprint("10.87.1.", node+1) }

func peerAddr(node int) string { return fmt.Sprint("10.87.2.", node+1) }

// relayAddr is where the relay stands for a node.
func relayAddr(node int) string { return fmt.Sprint("10.87.2.", 100+node+1) }

// Direction is that of packets, as the node of the rule sees them.
type Direction string

const (
	In  Direction = "input"
	Out Direction = "output"
)

// Rule does something to the packets between a node and one other.
type Rule struct {
	Node, Peer int // indexes
	Direction  Direction
	Port       int  // of a listener at either end; 0: all
	Loss       int  // per cent of the packets that are lost; 0: all
	Reset      bool // refuse TCP instead of losing packets
}

// Apply makes these rules the only ones.
func (n *Network) Apply(rules []Rule) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	var errs []error
	for i := range n.size {
		errs = append(errs, shell(`ip netns exec $1 nft -f -`, table(i, rules), fmt.Sprint("n", i+1)))
	}
	return errors.Join(errs...)
}

// Heal removes all rules.
func (n *Network) Heal() error { return n.Apply(nil) }

// table is the firewall of one node, in place of the one that it had.
func table(node int, rules []Rule) string {
	var b strings.Builder
	b.WriteString("table inet torture {}\ndelete table inet torture\ntable inet torture {\n")
	for _, d := range []Direction{In, Out} {
		fmt.Fprintf(&b, "chain %s {\ntype filter hook %s priority 0; policy accept;\n", d, d)
		for _, r := range rules {
			if r.Node == node && r.Direction == d {
				b.WriteString(r.lines())
			}
		}
		b.WriteString("}\n")
	}
	b.WriteString("}\n")
	return b.String()
}

// lines are the rule for nft, one line for each end that may listen.
func (r Rule) lines() string {
	match := "ip saddr "
	if r.Direction == Out {
		match = "ip daddr "
	}
	match += fmt.Sprintf("{ %s, %s }", peerAddr(r.Peer), relayAddr(r.Peer))
	action := "drop"
	switch {
	case r.Reset:
		match, action = match+" meta l4proto tcp", "reject with tcp reset"
	case r.Loss > 0:
		action = fmt.Sprintf("numgen random mod 100 < %d drop", r.Loss)
	}
	if r.Port == 0 {
		return match + " " + action + "\n"
	}
	both := ""
	for _, end := range []string{"dport", "sport"} {
		both += fmt.Sprintf("%s meta l4proto { tcp, udp } th %s %d %s\n", match, end, r.Port, action)
	}
	return both
}

// shell runs a script; an error carries what it prints.
func shell(script, stdin string, args ...string) error {
	cmd := exec.Command("sh", append([]string{"-ec", script, "sh"}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}
