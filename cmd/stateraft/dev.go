package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const (
	devReadyTimeout = 60 * time.Second
	devStopTimeout  = 10 * time.Second // then SIGKILL
	devPollInterval = 50 * time.Millisecond

	// The listeners of a node follow its API port at these distances.
	devRaftOffset   = 100
	devGossipOffset = 200
)

// devConfig is everything that "stateraft dev" can be told.
type devConfig struct {
	nodes   uint64
	dataDir string
	port    uint64 // API port of the first node
}

func newDevCommand() *cobra.Command {
	var c devConfig
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run a local cluster in the foreground",
		Long: `Run a local cluster in the foreground, one process per node, until Ctrl-C.

The nodes' data and logs stay in the data directory and are used again by the
next start with the same number of nodes. Flags of "stateraft serve" can be
given to all nodes by their environment variables, such as STATERAFT_LOG_LEVEL,
but not by --config, and not those of TLS.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runDev(cmd.Context(), c, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	c.flags(cmd.Flags())
	return cmd
}

func (c *devConfig) flags(fs *pflag.FlagSet) {
	*c = devConfig{nodes: 3, dataDir: "./data", port: 7474}
	fs.Var(countValue(&c.nodes, 1, 9), "nodes", "number of nodes")
	fs.Var(textValue(&c.dataDir, "dir", notEmpty), "data-dir", "where the nodes keep their data and logs")
	fs.Var(countValue(&c.port, 1024, 65000), "port", "API port of the first node; the others follow, Raft 100 and gossip 200 above")
}

// runDev returns nil once ctx is done and all nodes have stopped cleanly.
func runDev(ctx context.Context, c devConfig, stdout, stderr io.Writer) error {
	// Linux ends the children with the thread that started them.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	ctx, stop := context.WithCancel(ctx)
	defer stop()
	d, err := startDev(ctx, c)
	if err == nil {
		fmt.Fprintf(stdout, "Starting %d node(s), data and logs in %s\n", c.nodes, c.dataDir)
		err = d.waitReady(ctx)
	}
	if err != nil {
		stop()
		d.waitStopped(ctx, stderr)
		return err
	}
	if ctx.Err() == nil {
		d.printWelcome(stdout)
	}
	return d.waitStopped(ctx, stderr)
}

// devCluster is the processes of a local cluster.
type devCluster struct {
	nodes   []*devNode
	exits   chan *devNode // each node once, when its process has ended
	running int           // processes whose exit was not yet received
}

type devNode struct {
	name, dir, log     string
	http, raft, gossip string // host:port
	process            *exec.Cmd
}

// layoutDev says where each node of the cluster lives.
func layoutDev(c devConfig) []*devNode {
	var nodes []*devNode
	for i := range c.nodes {
		name := "n" + strconv.FormatUint(i+1, 10)
		at := func(offset uint64) string {
			return net.JoinHostPort("127.0.0.1", strconv.FormatUint(c.port+offset+i, 10))
		}
		nodes = append(nodes, &devNode{
			name: name, dir: filepath.Join(c.dataDir, name), log: filepath.Join(c.dataDir, name+".log"),
			http: at(0), raft: at(devRaftOffset), gossip: at(devGossipOffset),
		})
	}
	return nodes
}

// startDev starts the processes. They are asked to stop when ctx is done, and
// killed if they take too long. With an error, some may run already.
func startDev(ctx context.Context, c devConfig) (*devCluster, error) {
	d := &devCluster{nodes: layoutDev(c), exits: make(chan *devNode, c.nodes)}
	if err := os.MkdirAll(c.dataDir, 0o700); err != nil {
		return d, err
	}
	self, err := os.Executable()
	if err != nil {
		return d, err
	}
	for _, n := range d.nodes {
		if err := n.start(ctx, self, d.flags(n)); err != nil {
			return d, fmt.Errorf("start %s: %w", n.name, err)
		}
		d.running++
		go func() {
			n.process.Wait() // its outcome stays in ProcessState
			d.exits <- n
		}()
	}
	return d, nil
}

// flags returns the command line of one node.
func (d *devCluster) flags(n *devNode) []string {
	args := []string{
		"serve", "--node-id", n.name, "--data-dir", n.dir,
		"--http-addr", n.http, "--raft-addr", n.raft, "--gossip-addr", n.gossip,
		"--bootstrap-expect", strconv.Itoa(len(d.nodes)),
	}
	var others []string
	for _, other := range d.nodes {
		if other != n {
			others = append(others, other.gossip)
		}
	}
	return append(args, "--join", strings.Join(others, ","))
}

func (n *devNode) start(ctx context.Context, self string, args []string) error {
	log, err := os.OpenFile(n.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() // the child has its own
	n.process = exec.CommandContext(ctx, self, args...)
	n.process.Stdout, n.process.Stderr = log, log
	n.process.SysProcAttr = childAttributes()
	n.process.Cancel = func() error { return n.process.Process.Signal(syscall.SIGTERM) }
	n.process.WaitDelay = devStopTimeout
	return n.process.Start()
}

// waitReady returns once every node answers that it is ready, or when ctx is
// done. A node that ends before that is an error.
func (d *devCluster) waitReady(ctx context.Context) error {
	deadline := time.After(devReadyTimeout)
	poll := time.NewTicker(devPollInterval)
	defer poll.Stop()
	for i := 0; i < len(d.nodes); {
		select {
		case <-ctx.Done():
			return nil
		case n := <-d.exits:
			d.running--
			return fmt.Errorf("%s; the last line of %s is: %s", n.ending(), n.log, lastLine(n.log))
		case <-deadline:
			n := d.nodes[i]
			return fmt.Errorf("%s is not ready after %s; see %s", n.name, devReadyTimeout, n.log)
		case <-poll.C:
			if d.nodes[i].ready(ctx) {
				i++
			}
		}
	}
	return nil
}

func (n *devNode) ready(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.http+"/ready", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// waitStopped returns when all processes have ended. It tells of those that
// end although ctx is not done; the others go on.
func (d *devCluster) waitStopped(ctx context.Context, stderr io.Writer) error {
	clean := true
	for ; d.running > 0; d.running-- {
		n := <-d.exits
		if asked := ctx.Err() != nil; asked && n.process.ProcessState.Success() {
			continue
		}
		clean = false
		fmt.Fprintf(stderr, "stateraft dev: %s; see %s\n", n.ending(), n.log)
	}
	if !clean {
		return errors.New("not every node stopped cleanly")
	}
	return nil
}

func (n *devNode) ending() string {
	return fmt.Sprintf("%s has ended: %s", n.name, n.process.ProcessState)
}

func (d *devCluster) printWelcome(w io.Writer) {
	fmt.Fprintf(w, "\nReady:\n")
	for _, n := range d.nodes {
		fmt.Fprintf(w, "  %s  http://%s\n", n.name, n.http)
	}
	first, last := d.nodes[0], d.nodes[len(d.nodes)-1]
	fmt.Fprintf(w, `
Write on one node, read on another:
  curl -X POST http://%s/v1/state/wf-1/status -H "Content-Type: application/json" -d '{"value": {"step": "researching"}, "ttl": 0}'
  curl http://%s/v1/state/wf-1/status

Ctrl-C stops the cluster; its data is kept.
`, first.http, last.http)
}

// lastLine returns the last line of a log, cut to a length that a terminal
// shows.
func lastLine(path string) string {
	const most = 2048
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > most {
		f.Seek(-most, io.SeekEnd)
	}
	tail, err := io.ReadAll(io.LimitReader(f, most))
	if err != nil {
		return err.Error()
	}
	text := strings.TrimSpace(string(tail))
	return text[strings.LastIndexByte(text, '\n')+1:]
}
