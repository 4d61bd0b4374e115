package node

import (
	"strings"
	"testing"
)

func TestTable(t *testing.T) {
	rules := []Rule{
		{Node: 0, Peer: 1, Direction: In},
		{Node: 0, Peer: 2, Direction: Out, Loss: 20},
		{Node: 0, Peer: 1, Direction: In, Port: RaftPort},
		{Node: 0, Peer: 2, Direction: In, Reset: true},
		{Node: 1, Peer: 0, Direction: In},
	}
	const want = `table inet torture {}
delete table inet torture
table inet torture {
chain input {
type filter hook input priority 0; policy accept;
ip saddr { 10.87.2.2, 10.87.2.102 } drop
ip saddr { 10.87.2.2, 10.87.2.102 } meta l4proto { tcp, udp } th dport 7574 drop
ip saddr { 10.87.2.2, 10.87.2.102 } meta l4proto { tcp, udp } th sport 7574 drop
ip saddr { 10.87.2.3, 10.87.2.103 } meta l4proto tcp reject with tcp reset
}
chain output {
type filter hook output priority 0; policy accept;
ip daddr { 10.87.2.3, 10.87.2.103 } numgen random mod 100 < 20 drop
}
}
`
	if got := table(0, rules); got != want {
		t.Errorf("got\n%s", got)
	}
	if got := table(2, rules); strings.Contains(got, "saddr") {
		t.Errorf("a node without rules has\n%s", got)
	}
}
