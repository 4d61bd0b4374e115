package faults

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/node"
)

var crowdFaults = []Fault{
	{Name: "slow-readers", Row: "H1", About: "300 streams whose clients stop reading, while large values are written", Kind: Load, Least: 1, Most: 5 * time.Second, begin: slowReaders, needs: longHistory},
	{Name: "watchers", Row: "H1", About: "5,000 streams, which all end and begin again at once, again and again", Kind: Load, Least: 1, Most: 6 * time.Second, begin: manyWatchers},
	{Name: "slowloris", Row: "H2", About: "300 clients that send a header byte by byte, and 100 that say nothing more in the middle of one", Kind: Load, Least: 1, Most: 4 * time.Second, begin: slowloris},
	{Name: "half-open", Row: "H2", About: "100 streams whose clients' host vanishes without a word", Kind: Network, Least: 1, Most: 4 * time.Second, begin: halfOpen},
	{Name: "idle-proxy", Row: "H2", About: "streams on which nothing happens, through a proxy that takes bytes every 300 ms and cuts what is idle for 25 s", Kind: Load, Least: 1, Most: 4 * time.Second, begin: idleProxy},
	{Name: "compact", Row: "H3", About: "so many changes that the history forgets, while streams begin at its end", Kind: Load, Least: 1, Most: 8 * time.Second, begin: compacting, needs: shortHistory},
}

const (
	slowReaderCount = 300
	mostWatchers    = 5000
	lorisCount      = 300
	silentCount     = 100
	proxied         = 20

	stormPause = 2 * time.Second
	largeValue = 64 << 10
	largePause = 10 * time.Millisecond
	// watchedPause is long enough to send an event to every watcher in between.
	watchedPause = 200 * time.Millisecond
	// perStream bounds the memory that a stream may take whose client does not
	// read, perWritten how often a node may have what was written meanwhile, and
	// slackMemory what it may take for anything else. What was written is in the
	// history, among the newest log entries and in the mapped log, and there is as
	// much again that is no longer used and not collected yet.
	perStream   = 64 << 10
	perWritten  = 6
	slackMemory = 64 << 20

	// headerLimit is how long a node gives a client for a header, and a little.
	headerLimit = 12 * time.Second
	// openPatience is how long the end of a connection is waited for: a read whose
	// deadline is over does not look whether it has come.
	openPatience = time.Second
	// proxyIdle is how long a stream may be silent: longer than the 15 s of the
	// contract and a pause of its node, and shorter than what proxies cut.
	proxyIdle = 25 * time.Second
	proxyHold = 300 * time.Millisecond
	// proxyBegin is how long a stream may take to say where it begins: what it says
	// later it says although nothing happens.
	proxyBegin = 2 * time.Second
)

// crowdWorkflow, and those whose names begin so, are nobody else's.
const (
	crowdWorkflow = "crowd"
	largeKey      = "large"
	watchedKey    = "watched"
)

func streamRequest(n *node.Node, workflow string) []byte {
	return []byte("GET /v1/state/" + workflow + " HTTP/1.1\r\nHost: n\r\nAccept: text/event-stream\r\n" + n.Authorization() + "\r\n")
}

// open makes connections, spread over all nodes, and says something on each.
func (s *Scene) open(count int, say func(*node.Node) []byte) (conns []net.Conn) {
	share := s.share(count)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, n := range s.Cluster.Nodes {
		wg.Go(func() {
			made, _ := connect(n, share, say(n)) // those that fail are not counted
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

// share is how many of the connections a node gets.
func (s *Scene) share(count int) int {
	return (count + len(s.Cluster.Nodes) - 1) / len(s.Cluster.Nodes)
}

// streams opens streams of a workflow, spread over all nodes. It is an error if
// there are none.
func (s *Scene) streams(count int, workflow string) ([]net.Conn, error) {
	return granted(s.open(count, func(n *node.Node) []byte { return streamRequest(n, workflow) }))
}

// ok is what an answer begins with that grants what was asked for.
const ok = "HTTP/1.1 200"

// granted returns the connections whose answer begins so, of which it reads no
// more, and closes the others. It is an error if there are none.
func granted(conns []net.Conn) (granted []net.Conn, err error) {
	answers := make([]string, len(conns))
	var wg sync.WaitGroup
	deadline := time.Now().Add(dialTimeout)
	for i, c := range conns {
		wg.Go(func() {
			begin := make([]byte, len(ok))
			c.SetReadDeadline(deadline)
			n, _ := io.ReadFull(c, begin) // what is missing is no answer
			c.SetReadDeadline(time.Time{})
			answers[i] = string(begin[:n])
		})
	}
	wg.Wait()
	last := "nobody was reached"
	for i, c := range conns {
		if answers[i] == ok {
			granted = append(granted, c)
			continue
		}
		c.Close()
		last = fmt.Sprintf("answered %q", answers[i])
	}
	if len(granted) == 0 {
		return nil, fmt.Errorf("no stream of %d was opened: %s", len(conns), last)
	}
	return granted, nil
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

// grown returns by how much a node's memory has grown at most, and an error if that
// is more than its share of so many streams, and so many bytes written, may take.
func (s *Scene) grown(before []int64, streams, written int) (most int64, err error) {
	limit := int64(slackMemory + perStream*s.share(streams) + perWritten*written)
	for i, after := range s.memory() {
		if before[i] < 0 || after < 0 {
			continue
		}
		most = max(most, after-before[i])
		if after-before[i] > limit {
			err = errors.Join(err, fmt.Errorf("%w: the memory of %s grew from %d to %d MiB, by more than %d", ErrBroken, s.Cluster.Nodes[i].Name, before[i]>>20, after>>20, limit>>20))
		}
	}
	return most, err
}

// slowReaders opens streams and reads nothing from them, while large values are
// written to what they follow.
func slowReaders(_ context.Context, s *Scene) (Hurt, error) {
	before := s.memory()
	conns, err := s.streams(slowReaderCount, crowdWorkflow)
	if err != nil {
		return unhurt, err
	}
	for _, c := range conns {
		c.(*net.TCPConn).SetReadBuffer(4 << 10)
	}
	value := strings.Repeat("x", largeValue)
	writes := s.writer(largePause, func(ctx context.Context, n *node.Node) error { return n.Set(ctx, crowdWorkflow, largeKey, value) })
	what := fmt.Sprintf("opened %d streams of %d, read nothing, and wrote large values", len(conns), slowReaderCount)
	var most int64
	end := func(ctx context.Context) (err error) {
		written := writes.end(ctx)
		most, err = s.grown(before, len(conns), writes.tries*largeValue)
		hangUp(conns)
		s.forget(ctx, crowdWorkflow, largeKey)
		return errors.Join(written, err)
	}
	did := func() string { return fmt.Sprintf("%v: memory grew by %d MiB at most", writes, most>>20) }
	return Hurt{What: what, End: end, Did: did}, nil
}

// writer writes again and again to one node, or to the next when that fails.
func (s *Scene) writer(pause time.Duration, write func(context.Context, *node.Node) error) *repetition {
	at := s.Rand.IntN(len(s.Cluster.Nodes))
	return repeat(pause, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
		defer cancel()
		err := write(ctx, s.Cluster.Nodes[at])
		if err != nil {
			at = (at + 1) % len(s.Cluster.Nodes)
		}
		return err
	})
}

// manyWatchers opens as many streams as the limits of descriptors allow, and
// lets all of them begin again at the same moment, again and again, while what
// they follow is written.
func manyWatchers(_ context.Context, s *Scene) (Hurt, error) {
	before := s.memory()
	var limit syscall.Rlimit
	syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) // 0: none is opened
	count := min(mostWatchers, int(limit.Cur/2))
	var conns []net.Conn
	var most int64
	storms := repeat(stormPause, func() (err error) {
		hangUp(conns)
		conns, err = s.streams(count, crowdWorkflow)
		if err == nil && len(conns) < count/2 {
			err = fmt.Errorf("only %d streams of %d were opened", len(conns), count)
		}
		return err
	})
	writes := s.writer(watchedPause, func(ctx context.Context, n *node.Node) error {
		return n.Set(ctx, crowdWorkflow, watchedKey, time.Now())
	})
	end := func(ctx context.Context) (err error) {
		ended := errors.Join(storms.end(ctx), writes.end(ctx))
		most, err = s.grown(before, count, 0)
		hangUp(conns)
		s.forget(ctx, crowdWorkflow, watchedKey)
		return errors.Join(ended, err)
	}
	did := func() string {
		return fmt.Sprintf("%v, %d the last time, and wrote %v: memory grew by %d MiB at most", storms, len(conns), writes, most>>20)
	}
	return Hurt{What: fmt.Sprintf("opened %d streams again and again", count), End: end, Did: did}, nil
}

// slowloris keeps connections busy with headers that never end. A node must end
// them when the time for a header is over: the end waits for that.
func slowloris(_ context.Context, s *Scene) (Hurt, error) {
	silent := s.open(silentCount, func(*node.Node) []byte { return []byte("GET /health HTTP/1.1\r\nHost") })
	slow := s.open(lorisCount, func(*node.Node) []byte { return []byte("GET /health HTTP/1.1\r\nX: ") })
	begun, all := time.Now(), slices.Concat(silent, slow)
	if len(all) == 0 {
		return unhurt, errors.New("no header was begun")
	}
	drops := repeat(500*time.Millisecond, func() error {
		for _, c := range slow {
			c.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
			c.Write([]byte("x")) // an error says that the node has ended it
		}
		return nil
	})
	return Hurt{What: fmt.Sprintf("began %d headers and did not end them", len(all)), End: func(ctx context.Context) error {
		left := stillOpen(all, begun.Add(headerLimit*time.Duration(s.Slack)))
		err := drops.end(ctx)
		if left > 0 && s.Alone { // a fault beside it may have stopped a node
			err = fmt.Errorf("%w: %d connections are open %v after they began a header", ErrBroken, left, time.Since(begun).Round(time.Second))
		}
		return errors.Join(err, hangUp(all))
	}}, nil
}

// stillOpen counts connections that the other side has not ended by a moment, or
// a little later, and waits until then.
func stillOpen(conns []net.Conn, by time.Time) int {
	var open atomic.Int64
	var wg sync.WaitGroup
	if soon := time.Now().Add(openPatience); by.Before(soon) {
		by = soon
	}
	for _, c := range conns {
		wg.Go(func() {
			c.SetReadDeadline(by)
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
// what is idle: the nodes' keep-alives must keep them. The end waits until each
// stream has had one.
func idleProxy(_ context.Context, s *Scene) (Hurt, error) {
	conns, err := s.streams(proxied, crowdWorkflow+"-idle")
	if err == nil && len(conns) < proxied {
		err = s.broken(fmt.Errorf("%d of %d streams were refused", proxied-len(conns), proxied))
	}
	ends := make([]error, len(conns))
	var heard, ended sync.WaitGroup
	for i, c := range conns {
		heard.Add(1)
		once := sync.OnceFunc(heard.Done)
		ended.Go(func() {
			defer once()
			ends[i] = proxyOf(c, proxyIdle*time.Duration(s.Slack), once)
		})
	}
	return Hurt{What: fmt.Sprintf("read %d idle streams through a proxy", len(conns)), End: func(context.Context) error {
		heard.Wait()
		hangUp(conns)
		ended.Wait()
		return s.kept(ends)
	}}, err
}

// proxyOf is the proxy's side of one stream: it takes what comes every now and
// then, until the stream ends, is silent for too long, or is hung up, which is no
// error. It tells when it has heard more than how the stream begins.
func proxyOf(c net.Conn, idle time.Duration, heard func()) error {
	defer c.Close()
	begun, b := time.Now(), make([]byte, 4<<10)
	for {
		time.Sleep(proxyHold)
		c.SetReadDeadline(time.Now().Add(idle))
		if _, err := c.Read(b); errors.Is(err, net.ErrClosed) {
			return nil
		} else if err != nil {
			return err
		}
		if time.Since(begun) > proxyBegin {
			heard()
		}
	}
}

// kept returns an error if streams through a proxy ended for another reason than
// a fault beside it, which may end them, and makes no stream silent.
func (s *Scene) kept(ends []error) error {
	silent, ended := 0, 0
	for _, err := range ends {
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			silent++
		case err != nil && s.Alone:
			ended++
		}
	}
	if silent+ended == 0 {
		return nil
	}
	return fmt.Errorf("%w: of %d idle streams %d were silent for %v, and %d were ended", ErrBroken, len(ends), silent, proxyIdle*time.Duration(s.Slack), ended)
}

// vanishing is an address that the clients' host has for a moment.
const vanishing = "10.87.1.253"

// halfOpen opens streams from an address, and takes the address away: the nodes
// hear nothing of it.
func halfOpen(_ context.Context, s *Scene) (Hurt, error) {
	address := func(what string) error {
		return exec.Command("ip", "address", what, vanishing+"/24", "dev", "clients").Run()
	}
	if err := address("add"); err != nil {
		return unhurt, fmt.Errorf("an address for clients that vanish: %w", err)
	}
	dialer := net.Dialer{Timeout: dialTimeout, LocalAddr: &net.TCPAddr{IP: net.ParseIP(vanishing)}}
	var conns []net.Conn
	for i := range silentCount {
		n := s.Cluster.Nodes[i%len(s.Cluster.Nodes)]
		if conn, err := dialer.Dial("tcp", strings.TrimPrefix(n.URL, "http://")); err == nil {
			conn.Write(streamRequest(n, crowdWorkflow)) // what does not fit is not said
			conns = append(conns, conn)
		}
	}
	conns, err := granted(conns)
	err = errors.Join(err, address("delete"))
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

// longHistory holds the large values of some minutes: by default they would push
// out changes that streams count on being remembered.
func longHistory(c *node.Config) { c.Flags = append(c.Flags, "--history-bytes", "256MiB") }

// compacting makes more changes than the history holds. What must become of
// streams that begin at its end, and of lists, is for the workloads.
func compacting(_ context.Context, s *Scene) (Hurt, error) {
	var keys []string
	for i := range compactKeys {
		keys = append(keys, fmt.Sprint(i))
	}
	var writers []*repetition
	var all repetition
	workflowOf := func(writer int) string { return fmt.Sprintf("%s-%d", crowdWorkflow, writer) }
	for i := range compactWriters {
		workflow := workflowOf(i)
		writers = append(writers, s.writer(time.Millisecond, func(ctx context.Context, n *node.Node) error { return n.SetAll(ctx, workflow, keys, 0) }))
	}
	return Hurt{What: fmt.Sprintf("made %d changes at once, as often as could be", compactKeys), End: func(ctx context.Context) error {
		var errs []error
		for i, w := range writers {
			errs = append(errs, w.end(ctx))
			all.add(w)
			s.forget(ctx, workflowOf(i), keys...)
		}
		return errors.Join(errs...)
	}, Did: all.String}, nil
}
