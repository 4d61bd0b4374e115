package faults

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/node"
)

var crowdFaults = []Fault{
	{Name: "slow-readers", Row: "H1", About: "300 streams whose clients stop reading, while large values are written", Kind: Load, Least: 1, Most: 5 * time.Second, begin: slowReaders},
	{Name: "watchers", Row: "H1", About: "5,000 streams, which all end and begin again at once, again and again", Kind: Load, Least: 1, Most: 6 * time.Second, begin: manyWatchers},
	{Name: "slowloris", Row: "H2", About: "300 clients that send a header byte by byte, and 100 that say nothing more in the middle of one", Kind: Load, Least: 1, Most: 15 * time.Second, begin: slowloris},
	{Name: "half-open", Row: "H2", About: "100 streams whose clients' host vanishes without a word", Kind: Network, Least: 1, Most: 4 * time.Second, begin: halfOpen},
	{Name: "idle-proxy", Row: "H2", About: "streams on which nothing happens, through a proxy that takes bytes every 300 ms and cuts what is idle for 25 s", Kind: Load, Least: 1, Most: 35 * time.Second, begin: idleProxy},
	{Name: "compact", Row: "H3", About: "so many changes that the history forgets, while streams begin at its end", Kind: Load, Least: 1, Most: 8 * time.Second, begin: compacting, needs: shortHistory},
}

const (
	slowReaderCount = 300
	mostWatchers    = 5000
	lorisCount      = 300
	silentCount     = 100
	proxied         = 20

	stormPause = 2 * time.Second
	largeValue = 8 << 10
	// perStuckStream bounds the memory that a stream may take whose client does
	// not read, and slackMemory what a node may take for anything else meanwhile.
	perStuckStream = 64 << 10
	slackMemory    = 192 << 20

	// headerLimit is how long a node gives a client for a header, and a little.
	headerLimit = 12 * time.Second
	// openPatience is how long the end of a connection is waited for: a read whose
	// deadline is over does not look whether it has come.
	openPatience = time.Second
	// proxyIdle is how long a stream may be silent: longer than the 15 s of the
	// contract and a pause of its node, and shorter than what proxies cut.
	proxyIdle = 25 * time.Second
	proxyHold = 300 * time.Millisecond
)

// crowdWorkflow is nobody else's.
const crowdWorkflow = "crowd"

func streamRequest(n *node.Node) []byte {
	return []byte("GET /v1/state/" + crowdWorkflow + " HTTP/1.1\r\nHost: n\r\nAccept: text/event-stream\r\n" + n.Authorization() + "\r\n")
}

func post(n *node.Node, path, body string) []byte {
	return fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: n\r\n%sContent-Length: %d\r\n\r\n%s", path, n.Authorization(), len(body), body)
}

// open makes connections, spread over all nodes, and says something on each.
func (s *Scene) open(count int, say func(*node.Node) []byte) (conns []net.Conn) {
	share := (count + len(s.Cluster.Nodes) - 1) / len(s.Cluster.Nodes)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, n := range s.Cluster.Nodes {
		wg.Go(func() {
			made := connect(n, share, say(n))
			mu.Lock()
			defer mu.Unlock()
			conns = append(conns, made...)
		})
	}
	wg.Wait()
	for _, c := range conns {
		c.SetDeadline(time.Time{})
	}
	return conns
}

// memory is what each node's process has; -1: it does not run.
func (s *Scene) memory() []int64 {
	var all []int64
	for _, n := range s.Cluster.Nodes {
		bytes, err := n.Resident()
		if err != nil {
			bytes = -1
		}
		all = append(all, bytes)
	}
	return all
}

// grown returns an error if a node's memory has grown by more than the limit.
func (s *Scene) grown(before []int64, limit int64) (err error) {
	for i, after := range s.memory() {
		if before[i] >= 0 && after-before[i] > limit {
			err = errors.Join(err, fmt.Errorf("%w: the memory of %s grew from %d to %d MiB, by more than %d", ErrBroken, s.Cluster.Nodes[i].Name, before[i]>>20, after>>20, limit>>20))
		}
	}
	return err
}

// slowReaders opens streams and reads nothing from them, while large values are
// written to what they follow.
func slowReaders(_ context.Context, s *Scene) (Hurt, error) {
	before := s.memory()
	conns := s.open(slowReaderCount, streamRequest)
	for _, c := range conns {
		c.(*net.TCPConn).SetReadBuffer(4 << 10)
	}
	value := `{"value":"` + strings.Repeat("x", largeValue) + `"}`
	writing := s.writer(50*time.Millisecond, func(n *node.Node) []byte { return post(n, "/v1/state/"+crowdWorkflow+"/large", value) })
	return Hurt{fmt.Sprintf("opened %d streams and read nothing", len(conns)), func(ctx context.Context) error {
		written := writing(ctx)
		return errors.Join(written, s.grown(before, slackMemory+perStuckStream*int64(len(conns))), hangUp(conns))
	}}, nil
}

// writer sends requests, one after the other, to one node, or to the next when
// that fails, until the function that it returns is called.
func (s *Scene) writer(pause time.Duration, say func(*node.Node) []byte) func(context.Context) error {
	at := s.Rand.IntN(len(s.Cluster.Nodes))
	var conn net.Conn
	end := repeat(pause, func() {
		n := s.Cluster.Nodes[at]
		if conn == nil {
			made := connect(n, 1, nil)
			if len(made) == 0 {
				at = (at + 1) % len(s.Cluster.Nodes)
				return
			}
			conn = made[0]
		}
		conn.SetDeadline(time.Now().Add(dialTimeout))
		if _, err := conn.Write(say(n)); err == nil && readAnswer(conn) == nil {
			return
		}
		conn.Close()
		conn, at = nil, (at+1)%len(s.Cluster.Nodes)
	})
	return func(ctx context.Context) error {
		err := end(ctx)
		if conn != nil {
			conn.Close()
		}
		return err
	}
}

// readAnswer reads one short answer, which comes in one piece or two.
func readAnswer(conn net.Conn) error {
	b := make([]byte, 8<<10)
	n, err := conn.Read(b)
	if err == nil && !strings.Contains(string(b[:n]), "}") {
		_, err = conn.Read(b)
	}
	return err
}

// manyWatchers opens as many streams as the limits of descriptors allow, and
// lets all of them begin again at the same moment, again and again.
func manyWatchers(_ context.Context, s *Scene) (Hurt, error) {
	before := s.memory()
	var limit syscall.Rlimit
	syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) // 0: none is opened
	count := min(mostWatchers, int(limit.Cur/2))
	conns := s.open(count, streamRequest)
	opened, begun := len(conns), time.Now()
	end := repeat(stormPause, func() {
		if time.Since(begun) >= stormPause {
			hangUp(conns)
			conns = s.open(count, streamRequest)
		}
	})
	return Hurt{fmt.Sprintf("opened %d streams of %d", opened, count), func(ctx context.Context) error {
		ended := end(ctx)
		return errors.Join(ended, s.grown(before, slackMemory+perStuckStream*int64(count)), hangUp(conns))
	}}, nil
}

// slowloris keeps connections busy with headers that never end. A node must end
// them when the time for a header is over.
func slowloris(_ context.Context, s *Scene) (Hurt, error) {
	begun := time.Now()
	silent := s.open(silentCount, func(*node.Node) []byte { return []byte("GET /health HTTP/1.1\r\nHost") })
	slow := s.open(lorisCount, func(*node.Node) []byte { return []byte("GET /health HTTP/1.1\r\nX: ") })
	end := repeat(500*time.Millisecond, func() {
		for _, c := range slow {
			c.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
			c.Write([]byte("x")) // an error says that the node has ended it
		}
	})
	return Hurt{What: fmt.Sprintf("began %d headers and did not end them", len(silent)+len(slow)), End: func(ctx context.Context) error {
		err := end(ctx)
		if time.Since(begun) > headerLimit*time.Duration(s.Slack) {
			if left := stillOpen(append(silent, slow...)); left > 0 {
				err = fmt.Errorf("%w: %d connections are open %v after they began a header", ErrBroken, left, time.Since(begun).Round(time.Second))
			}
		}
		return errors.Join(err, hangUp(silent), hangUp(slow))
	}}, nil
}

// stillOpen counts connections that the other side has not ended.
func stillOpen(conns []net.Conn) int {
	var open atomic.Int64
	var wg sync.WaitGroup
	deadline := time.Now().Add(openPatience)
	for _, c := range conns {
		wg.Go(func() {
			c.SetReadDeadline(deadline)
			_, err := io.Copy(io.Discard, c) // a refusal in plain text may come first
			if errors.Is(err, os.ErrDeadlineExceeded) {
				open.Add(1)
			}
		})
	}
	wg.Wait()
	return int(open.Load())
}

// idleProxy reads streams on which nothing happens through a proxy that cuts
// what is idle: the nodes' keep-alives must keep them.
func idleProxy(_ context.Context, s *Scene) (Hurt, error) {
	begun := time.Now()
	conns := s.open(proxied, func(n *node.Node) []byte {
		return []byte(strings.Replace(string(streamRequest(n)), crowdWorkflow, crowdWorkflow+"-idle", 1))
	})
	var silent atomic.Int64
	var wg sync.WaitGroup
	for _, c := range conns {
		wg.Go(func() { proxyOf(c, proxyIdle*time.Duration(s.Slack), &silent) })
	}
	return Hurt{What: fmt.Sprintf("read %d idle streams through a proxy", len(conns)), End: func(context.Context) error {
		closing := time.Now()
		hangUp(conns)
		wg.Wait()
		if n := silent.Load(); n > 0 {
			return fmt.Errorf("%w: %d of %d streams said nothing for %v, within %v", ErrBroken, n, len(conns), proxyIdle, closing.Sub(begun).Round(time.Second))
		}
		return nil
	}}, nil
}

// proxyOf is the proxy's side of one stream: it takes what comes every now and
// then, and notes a silence that is too long. A node that goes away ends its
// streams, which is no silence.
func proxyOf(c net.Conn, idle time.Duration, silent *atomic.Int64) {
	defer c.Close()
	b := make([]byte, 4<<10)
	for {
		time.Sleep(proxyHold)
		c.SetReadDeadline(time.Now().Add(idle))
		_, err := c.Read(b)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			silent.Add(1)
		}
		if err != nil {
			return
		}
	}
}

// vanishing is an address that the clients' host has for a moment.
const vanishing = "10.87.1.253"

// halfOpen opens streams from an address, and takes the address away: the nodes
// hear nothing of it.
func halfOpen(_ context.Context, s *Scene) (Hurt, error) {
	nothing := Hurt{End: func(context.Context) error { return nil }}
	address := func(what string) error {
		return exec.Command("ip", "address", what, vanishing+"/24", "dev", "clients").Run()
	}
	if err := address("add"); err != nil {
		return nothing, fmt.Errorf("an address for clients that vanish: %w", err)
	}
	dialer := net.Dialer{Timeout: dialTimeout, LocalAddr: &net.TCPAddr{IP: net.ParseIP(vanishing)}}
	var conns []net.Conn
	for i := range silentCount {
		n := s.Cluster.Nodes[i%len(s.Cluster.Nodes)]
		if conn, err := dialer.Dial("tcp", strings.TrimPrefix(n.URL, "http://")); err == nil {
			conn.Write(streamRequest(n)) // what does not fit is not said
			conns = append(conns, conn)
		}
	}
	err := address("delete")
	end := func(context.Context) error { return hangUp(conns) } // of which nobody hears
	return Hurt{What: fmt.Sprintf("opened %d streams from a host that vanished", len(conns)), End: end}, err
}

const (
	compactWriters = 4
	compactKeys    = 128 // of one atomic write
)

// shortHistory makes the history one of seconds while changes are made as fast
// as can be, and of about a minute else.
func shortHistory(c *node.Config) { c.Flags = append(c.Flags, "--history-events", "20000") }

// compacting makes more changes than the history holds. What must become of
// streams that begin at its end, and of lists, is for the workloads.
func compacting(_ context.Context, s *Scene) (Hurt, error) {
	var ops []string
	for i := range compactKeys {
		ops = append(ops, fmt.Sprintf(`{"op":"set","key":"%d","value":0}`, i))
	}
	body := `{"ops":[` + strings.Join(ops, ",") + `]}`
	var ends []func(context.Context) error
	for i := range compactWriters {
		path := fmt.Sprintf("/v1/state/%s-%d", crowdWorkflow, i)
		ends = append(ends, s.writer(time.Millisecond, func(n *node.Node) []byte { return post(n, path, body) }))
	}
	return Hurt{What: "made changes as fast as could be", End: func(ctx context.Context) error {
		var errs []error
		for _, end := range ends {
			errs = append(errs, end(ctx))
		}
		return errors.Join(errs...)
	}}, nil
}
