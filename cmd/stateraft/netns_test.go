//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stateraft/stateraft/client"
)

// isolatedEnv marks the process that isolated starts.
const isolatedEnv = "STATERAFT_TEST_ISOLATED"

// isolated runs a test in a process that has network, mount and process
// namespaces of its own. With that process all it started ends and all it set
// up goes, however it ends. It skips the test where that, or one of the
// tools, cannot be had.
func isolated(t *testing.T, tools []string, test func(t *testing.T)) {
	if os.Getenv(isolatedEnv) != "" {
		test(t)
		return
	}
	unshare := []string{"--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"}
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(err)
		}
	}
	if out, err := exec.Command("unshare", append(unshare, "true")...).CombinedOutput(); err != nil {
		t.Skipf("no namespaces: %v: %s", err, out)
	}
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("unshare", append(unshare, binary, "-test.v", "-test.run=^"+t.Name()+"$")...)
	if at, ok := t.Deadline(); ok {
		cmd.Args = append(cmd.Args, "-test.timeout="+time.Until(at.Add(-time.Second)).String())
	}
	cmd.Env = append(os.Environ(), isolatedEnv+"=1")
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
}

// networkScript joins $1 namespaces, n1 and so on, by two networks: the test's
// process calls the nodes over one, they call each other over the other.
const networkScript = `
	mkdir -p /run/netns
	mount -t tmpfs none /run/netns
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

// shell runs a script and returns what it prints.
func shell(t *testing.T, script string, args ...string) string {
	t.Helper()
	out, err := exec.Command("sh", append([]string{"-ec", script, "sh"}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// startNetwork starts voters n1, n2 and n3 and then replicas, each in a
// network namespace of its own, and of the plain build. Its caller is isolated.
func startNetwork(t *testing.T, replicas int) *processCluster {
	t.Helper()
	const voters = 3
	shell(t, networkScript, strconv.Itoa(voters+replicas))
	dir, plain := t.TempDir(), plainBuild(t)
	c := new(processCluster)
	for i := range voters + replicas {
		name := fmt.Sprint("n", i+1)
		n := &processNode{runs: plain, netns: name, flags: []string{
			"serve", "--node-id", name, "--data-dir", filepath.Join(dir, name), "--log-format", "json",
			"--http-addr", fmt.Sprintf("10.87.1.%d:7474", i+1), "--insecure",
			"--raft-addr", peerAddr(i) + ":7574", "--gossip-addr", peerAddr(i) + ":7674",
			"--join", peerAddr(0) + ":7674," + peerAddr(1) + ":7674," + peerAddr(2) + ":7674",
		}}
		if i < voters {
			n.flags = append(n.flags, "--bootstrap-expect", strconv.Itoa(voters))
		} else {
			n.flags = append(n.flags, "--role", "replica")
		}
		n.start(t)
		c.nodes = append(c.nodes, n)
	}
	for _, n := range c.nodes {
		n.waitReady(t)
	}
	return c
}

// peerAddr is where the other nodes call a node.
func peerAddr(node int) string { return fmt.Sprint("10.87.2.", node+1) }

// cut takes a node off the network between the nodes: whatever is sent is
// lost and nothing is refused. Clients still reach it.
func cut(t *testing.T, n *processNode) {
	t.Helper()
	shell(t, `ip link set peers${1#n} down`, n.netns)
}

func heal(t *testing.T, n *processNode) {
	t.Helper()
	shell(t, `ip link set peers${1#n} up`, n.netns)
}

// refuse resets every connection of a node to another's Raft port, new ones
// included; those from the other to it go on.
func refuse(t *testing.T, from *processNode, to int) {
	t.Helper()
	shell(t, `ip netns exec $1 nft "
		table inet refuse {
			chain output {
				type filter hook output priority 0;
				ip daddr $2 tcp dport 7574 counter reject with tcp reset
			}
		}"`, from.netns, peerAddr(to))
}

// refused reports whether anything has been refused.
func refused(t *testing.T, from *processNode) bool {
	t.Helper()
	return !strings.Contains(shell(t, `ip netns exec $1 nft list table inet refuse`, from.netns), "packets 0 ")
}

func admit(t *testing.T, from *processNode) {
	t.Helper()
	shell(t, `ip netns exec $1 nft delete table inet refuse`, from.netns)
}

// view is the cluster as a node sees it.
func (n *processNode) view(t *testing.T) client.ClusterStatus {
	t.Helper()
	st, err := n.client(t).Cluster.Status(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// leaderAfter waits until the node sees that another leads than the one before.
func (n *processNode) leaderAfter(t *testing.T, before string) string {
	t.Helper()
	for deadline := time.Now().Add(testTimeout); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if next := n.view(t).Leader; next != "" && next != before {
			return next
		}
	}
	t.Fatalf("%s sees nobody lead after %s", n.netns, before)
	return ""
}

// Ensure a leader that is cut off the other nodes is replaced, which clients
// of these see as a wait.
func TestCutGap(t *testing.T) {
	isolated(t, []string{"ip"}, func(t *testing.T) {
		testGaps(t, startNetwork(t, 0), failover{end: cut, load: 2 * time.Second, begin: heal, quick: 2 * time.Second})
	})
}

// Ensure a dead leader is replaced by a voter where a replica sees its death
// too.
func TestKillWithReplica(t *testing.T) {
	isolated(t, []string{"ip"}, func(t *testing.T) {
		c := startNetwork(t, 1)
		replica := c.nodes[3]
		testGaps(t, c, failover{
			end:  func(t *testing.T, n *processNode) { n.stop(t, syscall.SIGKILL) },
			load: 500 * time.Millisecond,
			begin: func(t *testing.T, n *processNode) {
				if next := replica.leaderAfter(t, n.netns); next == replica.netns {
					t.Errorf("%q leads after %s was killed", next, n.netns)
				}
				n.start(t)
			},
			quick: quickCampaign, sign: signGone,
		})
	})
}

// Ensure a leader stays that seems to refuse connections, in whose place a
// firewall does so.
func TestNoElectionForRefused(t *testing.T) {
	isolated(t, []string{"ip", "nft"}, func(t *testing.T) {
		c := startNetwork(t, 1)
		for _, tt := range []struct {
			name  string
			nodes func(leader int) []int
		}{
			{"a follower", func(leader int) []int { return []int{(leader + 1) % 3} }},
			{"both followers", func(leader int) []int { return []int{(leader + 1) % 3, (leader + 2) % 3} }},
			{"a replica", func(int) []int { return []int{3} }},
		} {
			t.Run(tt.name, func(t *testing.T) {
				if err := retry(t, func() (lostTouch bool, err error) {
					leader, begin := c.leader(t), time.Now()
					err = c.staysThoughRefused(t, leader, tt.nodes(leader))
					return c.lostTouch(begin), err
				}); err != nil {
					t.Fatal(err)
				}
			})
		}
	})
}

// lostTouch reports whether since then nobody stood for election because the
// leader seemed to be gone, and somebody missed the leader's heartbeats, or a
// leader its followers' answers. A stall of the machine does that too.
func (c *processCluster) lostTouch(since time.Time) bool {
	logs := c.logsSince(since)
	return !strings.Contains(logs, signGone) &&
		(strings.Contains(logs, signHeartbeat) || strings.Contains(logs, "failed to contact quorum of nodes, stepping down"))
}

// staysThoughRefused refuses what some nodes send the leader, for a while.
func (c *processCluster) staysThoughRefused(t *testing.T, leader int, nodes []int) error {
	t.Helper()
	begin := time.Now()
	for _, i := range nodes {
		refuse(t, c.nodes[i], leader)
	}
	err := c.stays(t, leader, 3*time.Second, nodes)
	if err != nil {
		err = fmt.Errorf("%w; the logs since:%s", err, c.logsSince(begin))
	}
	for _, i := range nodes {
		if !refused(t, c.nodes[i]) {
			t.Error("nothing was refused")
		}
		admit(t, c.nodes[i])
		c.nodes[i].waitReady(t)
	}
	return err
}

// stays returns an error unless a node leads without a break for d, as it and
// others see it. The node must take writes.
func (c *processCluster) stays(t *testing.T, leader int, d time.Duration, others []int) error {
	t.Helper()
	begin, before := time.Now(), c.nodes[leader].view(t)
	for time.Since(begin) < d {
		if _, err := c.nodes[leader].client(t).State.Set(context.Background(), "stays", "key", 1); err != nil {
			return fmt.Errorf("%s: %w", c.nodes[leader].netns, err)
		}
		for _, i := range append([]int{leader}, others...) {
			if st := c.nodes[i].view(t); st.Term != before.Term || st.Leader != before.Leader {
				return fmt.Errorf("%s: %q leads term %d, want %q of term %d",
					c.nodes[i].netns, st.Leader, st.Term, before.Leader, before.Term)
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	return nil
}
