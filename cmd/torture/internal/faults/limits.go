package faults

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/node"
)

var limitFaults = []Fault{
	{Name: "hog", Row: "P5", About: "10 processes a core that only compute", Kind: Process, Least: 1, Most: 4 * time.Second, begin: hogging},
	{Name: "few-files", Row: "P6", About: "one node held to 256 descriptors, and 400 connections made to it", Kind: Process, Least: 3, Most: 3 * time.Second, begin: fewFiles(one)},
	{Name: "few-files-leader", Row: "P6", About: "the leader held to 256 descriptors, and 400 connections made to it", Kind: Process, Least: 3, Most: 3 * time.Second, begin: fewFiles(theLeader)},
	{Name: "little-memory", Row: "P6", About: "one node held to 24 MiB more memory than it has, while 100 clients send it long bodies", Kind: Process, Least: 3, Most: 3 * time.Second, begin: littleMemory},
}

const (
	hogsPerCore  = 10
	fewestFiles  = 256
	crowd        = 400
	spareMemory  = 24 << 20
	senders      = 100
	bodyBytes    = 1 << 20
	dialTimeout  = 3 * time.Second
	crowdRequest = "GET /health HTTP/1.1\r\nHost: n\r\n\r\n"
	bodyRequest  = "POST /v1/state/crowd/k HTTP/1.1\r\nHost: n\r\n%sContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
)

// hogging takes CPU time from all nodes, and from the tester. The processes end
// by themselves if nobody is left to end them.
func hogging(_ context.Context, _ *Scene) (Hurt, error) {
	var hogs []*exec.Cmd
	end := func(context.Context) error {
		for _, h := range hogs {
			h.Process.Signal(syscall.SIGTERM) // timeout hands it on
		}
		for _, h := range hogs {
			h.Wait() // it was killed
		}
		return nil
	}
	for range hogsPerCore * runtime.NumCPU() {
		h := exec.Command("timeout", "60", "sh", "-c", "while :; do :; done")
		if err := h.Start(); err != nil {
			return Hurt{End: end}, err
		}
		hogs = append(hogs, h)
	}
	return Hurt{What: fmt.Sprintf("let %d processes compute", len(hogs)), End: end}, nil
}

// fewFiles makes descriptors scarce. Clients beyond them wait, or are refused;
// the node goes on for those that it has.
func fewFiles(pick pick) func(context.Context, *Scene) (Hurt, error) {
	return func(ctx context.Context, s *Scene) (Hurt, error) {
		n := pick(ctx, s)[0]
		lift, err := n.Limit("nofile", fewestFiles)
		if err != nil {
			return unhurt, err
		}
		conns, err := connect(n, crowd, []byte(crowdRequest))
		return Hurt{What: fmt.Sprintf("held %s to %d descriptors, and made %d connections to it", n.Name, fewestFiles, len(conns)), End: func(context.Context) error {
			return errors.Join(hangUp(conns), lift())
		}}, err
	}
}

// outOfMemory is what Go's runtime says when there is no memory: no other crash
// is borne for the lack of it.
var outOfMemory = []string{
	"fatal error: runtime: out of memory", "fatal error: out of memory",
	"fatal error: runtime: cannot allocate memory", "fatal error: pageAlloc: out of memory",
}

// littleMemory makes memory scarce. The node may refuse, and it may end; then
// it is started again, without the limit.
func littleMemory(_ context.Context, s *Scene) (Hurt, error) {
	n := s.any()
	has, err := n.DataBytes()
	if err != nil {
		return unhurt, err
	}
	untend := tend(n, outOfMemory...)
	lift, err := n.Limit("data", uint64(has+spareMemory))
	if err != nil {
		return Hurt{End: func(context.Context) error { return untend() }}, err
	}
	long := fmt.Sprintf(bodyRequest, n.Authorization(), bodyBytes) + `{"value":"` + strings.Repeat("x", bodyBytes/2)
	conns, err := connect(n, senders, []byte(long))
	return Hurt{What: fmt.Sprintf("held %s to %d MiB, and sent it %d long bodies", n.Name, (has+spareMemory)>>20, len(conns)), End: func(context.Context) error {
		return errors.Join(hangUp(conns), lift(), untend())
	}}, err
}

// connect makes connections and says something on each. Those that fail are
// left out; it is an error if all do.
func connect(n *node.Node, count int, say []byte) (conns []net.Conn, err error) {
	var failed error
	deadline := time.Now().Add(dialTimeout)
	for range count {
		conn, err := net.DialTimeout("tcp", strings.TrimPrefix(n.URL, "http://"), time.Until(deadline))
		if err != nil {
			failed = err
			continue
		}
		conn.SetDeadline(deadline)
		conn.Write(say) // what does not fit is not said
		conns = append(conns, conn)
	}
	if len(conns) == 0 {
		return nil, failed
	}
	return conns, nil
}

func hangUp(conns []net.Conn) error {
	for _, c := range conns {
		c.Close()
	}
	return nil
}
