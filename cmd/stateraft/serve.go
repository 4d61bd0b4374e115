package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"

	"github.com/stateraft/stateraft/cluster"
	"github.com/stateraft/stateraft/httpapi"
	"github.com/stateraft/stateraft/httpapi/proxy"
)

// How long each step of a shutdown may take; together with the default
// --drain-delay below the 10 s after which a supervisor loses patience.
const (
	requestsTimeout   = 4 * time.Second // requests in flight are answered
	leadershipTimeout = 2 * time.Second // leadership moves
	closeTimeout      = 3 * time.Second // the node leaves gossip, Raft stops, files close
)

func newServeCommand() *cobra.Command {
	var c serveConfig
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run one node of a cluster",
		Long: `Run one node of a cluster until SIGTERM or SIGINT.

Each flag can also be given by an environment variable, STATERAFT_ and the
flag's name as in STATERAFT_DATA_DIR, and as a member of the same name, as in
data-dir, of the YAML file that --config names. A flag wins over the environment,
the environment over the file.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.load(cmd.Flags()); err != nil {
				return err
			}
			return serve(cmd.Context(), c, cmd.ErrOrStderr())
		},
	}
	c.flags(cmd.Flags())
	return cmd
}

// serve runs a node until ctx is done, and then returns nil once it has
// stopped cleanly. After an error of the node itself it returns that at once:
// whatever the node stands on may hang.
func serve(ctx context.Context, c serveConfig, stderr io.Writer) error {
	log := newLogger(stderr, c.logLevel, c.logFormat).With("node", c.nodeID)
	rootToken, err := loadRootToken(c.auth.rootToken)
	if err != nil {
		return err
	}

	// The listener comes first: a busy port is told before any file is made,
	// and others must be told the address.
	ln, err := listen(c)
	if err != nil {
		return err
	}
	defer ln.Close()
	tuning, err := testHooks(ctx, os.Getenv(testHooksEnv), log)
	if err != nil {
		return err
	}
	registry := newRegistry()
	fatal := make(chan error, 2) // from the node and from the API, once each
	node, err := unless(ctx, func() (*cluster.Node, error) {
		return openNode(c, ln.Addr(), tuning, log, registry, func(err error) { fatal <- err })
	})
	if errors.Is(err, errToldToEnd) {
		log.Info("stopped before the node was open")
		return nil
	}
	if err != nil {
		return err
	}
	api, err := httpapi.New(httpapi.Config{
		Cluster: node, Logger: log, Metrics: registry, Version: version,
		MaxValueBytes: int(c.maxValueBytes), CORSOrigins: c.corsOrigins,
		Proxy: proxy.Config{
			OpenAIURL: c.llm.openAI, AnthropicURL: c.llm.anthropic,
			Timeout: c.llm.timeout, InjectBytes: int(c.llm.injectBytes),
		},
		Auth: c.auth.on, RootToken: rootToken,
	})
	if err != nil {
		return errors.Join(err, node.Close())
	}
	c.tellAuth(log)
	go func() {
		if err := api.Serve(ln); err != nil {
			fatal <- fmt.Errorf("serve the API: %w", err)
		}
	}()
	log.Info("serving", "http", ln.Addr().String(), "raft", c.raft.addr, "gossip", c.gossip.addr, "version", version)

	select {
	case <-ctx.Done():
		return shutdown(log, api, node, c.drainDelay)
	case err := <-fatal:
		return err
	}
}

// shutdown takes the parts down in the order that loses least: those who look
// for a node are sent elsewhere, and until they have noticed, for drainDelay,
// their requests are still served; leadership moves meanwhile, so that the rest is
// answered while there is a leader. A step that takes too long does not keep the
// next from its turn.
func shutdown(log *slog.Logger, api *httpapi.Server, node *cluster.Node, drainDelay time.Duration) error {
	log.Info("draining")
	api.SetDraining()
	noticed := time.After(drainDelay)
	step := func(name string, timeout time.Duration, do func(context.Context) error) error {
		err := within(timeout, do)
		if err != nil {
			log.Warn("shutdown step failed", "step", name, "err", err)
		}
		return err
	}
	step("move leadership", leadershipTimeout, node.Drain)
	<-noticed
	step("answer requests", requestsTimeout, api.Shutdown)
	err := step("close", closeTimeout, func(context.Context) error { return node.Close() })
	if err != nil {
		return fmt.Errorf("close the node: %w", err)
	}
	log.Info("stopped")
	return nil
}

// within runs do with a deadline, and leaves it behind if it does not keep it.
func within(timeout time.Duration, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- do(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

var errToldToEnd = errors.New("told to end")

// unless returns what open does, or errToldToEnd as soon as ctx is done: a large
// state takes long to read. What open has begun by then ends with the process, as
// in a crash; nobody has been served yet.
func unless(ctx context.Context, open func() (*cluster.Node, error)) (*cluster.Node, error) {
	var node *cluster.Node
	var err error
	opened := make(chan struct{})
	go func() {
		defer close(opened)
		node, err = open()
	}()
	select {
	case <-opened:
		return node, err
	case <-ctx.Done():
		return nil, errToldToEnd
	}
}

func listen(c serveConfig) (net.Listener, error) {
	config, err := c.tls.server()
	if err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", c.http.addr)
	if err != nil {
		return nil, fmt.Errorf("--http-addr: %w", err)
	}
	if config != nil {
		ln = tls.NewListener(ln, config)
	}
	return ln, nil
}

func openNode(c serveConfig, http net.Addr, tuning cluster.Tuning, log *slog.Logger, metrics prometheus.Registerer, onFatal func(error)) (*cluster.Node, error) {
	peerTLS, err := c.peerTLS.mutual()
	if err != nil {
		return nil, err
	}
	gossipKey, err := loadGossipKey(c.gossipKeyFile)
	if err != nil {
		return nil, err
	}
	advertiseHTTP := c.http.advertise
	if advertiseHTTP == "" {
		advertiseHTTP = http.String()
	}
	return cluster.Open(cluster.Config{
		Name: c.nodeID, DataDir: c.dataDir,
		RaftAddr: c.raft.addr, AdvertiseRaft: c.raft.advertise,
		GossipAddr: c.gossip.addr, AdvertiseGossip: c.gossip.advertise,
		AdvertiseHTTP: advertiseHTTP,
		Join:          c.join, BootstrapExpect: int(c.bootstrapExpect), Replica: c.role == roleReplica,
		GossipKey: gossipKey, TLS: peerTLS,
		Settings: cluster.Settings{
			HistoryEvents: c.historyEvents, HistoryBytes: c.historyBytes, FloorRetention: c.floorRetention,
		},
		Binary: version, Logger: log, Metrics: metrics, OnFatal: onFatal, Tuning: tuning,
	})
}

func newRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return r
}

// newLogger takes a level and a format that the flags have checked.
func newLogger(w io.Writer, level, format string) *slog.Logger {
	options := &slog.HandlerOptions{Level: logLevels[level]}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

var logLevels = map[string]slog.Level{
	"debug": slog.LevelDebug,
	"info":  slog.LevelInfo,
	"warn":  slog.LevelWarn,
	"error": slog.LevelError,
}
