// Package httpapi serves the wire contract over HTTP: it parses and validates
// requests, turns them into commands for the cluster or into reads of the
// local state, and answers in JSON. It holds no state of its own, and it does
// not know how a command is replicated.
package httpapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/julienschmidt/httprouter"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/stateraft/stateraft/cluster"
	"github.com/stateraft/stateraft/fsm"
	"github.com/stateraft/stateraft/fsm/fsmpb"
	"github.com/stateraft/stateraft/httpapi/auth"
	"github.com/stateraft/stateraft/httpapi/proxy"
	"github.com/stateraft/stateraft/httpapi/stream"
)

// DefaultMaxValueBytes is the largest value that is stored unless configured
// otherwise.
const DefaultMaxValueBytes = 1 << 20

// What a slow client may take before its connection is closed.
const (
	readHeaderTimeout = 10 * time.Second
	readTimeout       = 60 * time.Second            // header and body together
	writeTimeout      = maxTimeout + 30*time.Second // from the request's start to the answer's end
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 32 << 10
)

// Cluster is what the handlers need of a node. Its errors are those of
// package cluster; all methods may be called at the same time.
type Cluster interface {
	// Propose replicates c and returns the answer to it, once it is applied
	// here or the node that applied it has said so. A command that is refused
	// is an answer; an error says what became of the write.
	Propose(ctx context.Context, c *fsmpb.Command) (*fsmpb.Answer, error)

	// Admits returns an error if a write of about size bytes would be refused at
	// the moment for want of room in a queue.
	Admits(size int) error

	// ReadIndex returns once the local state covers every write that was
	// acknowledged anywhere before the call.
	ReadIndex(ctx context.Context) error

	// WaitRevision returns once the local state has reached revision.
	WaitRevision(ctx context.Context, revision uint64) error

	// WaitChange returns once the local state holds a change after revision.
	WaitChange(ctx context.Context, revision uint64) error

	State() *fsm.State
	Name() string // of this node, for people
	Ready() error // nil: it knows a leader and has caught up; ErrCatchingUp: it only knows a leader
	Status(ctx context.Context) cluster.Status

	// TransferLeadership moves leadership to a node; "": to one that is ready.
	TransferLeadership(ctx context.Context, to string) error
	RemoveMember(ctx context.Context, idOrName string) error

	// Backup freezes the local state, less the keys of the namespace omit.
	Backup(omit string) *fsm.Backup

	// Restore replaces the cluster's keys by those of the backup in r.
	Restore(ctx context.Context, r io.Reader, how cluster.Restore) (cluster.Restored, error)

	// Drain makes Ready fail from now on and moves leadership away, if it is
	// here and another voter can have it. It may be called again.
	Drain(ctx context.Context) error
}

// Config configures a Server. Cluster is required.
type Config struct {
	Cluster       Cluster
	Logger        *slog.Logger         // nil: discards
	Metrics       *prometheus.Registry // what /metrics shows; nil: the server's own figures only
	MaxValueBytes int                  // largest value; 0: DefaultMaxValueBytes
	BodyBudget    int64                // bytes, for the bodies of all requests together; 0: DefaultBodyBudget
	MaxStreams    int                  // open at once; 0: what the process's limit of descriptors allows
	KeepAlive     time.Duration        // how often a stream says that it is alive; 0: stream.DefaultKeepAlive
	Proxy         proxy.Config         // of requests to language models; Logger, Metrics and MaxBodyBytes are set here
	CORSOrigins   []string             // that browsers may call from; "*": any
	Auth          bool                 // requests must carry an API key
	RootToken     string               // an administrator's key that is not stored; "": none; only with Auth
	Version       string               // of the binary, told as a metric
}

// Server serves the API of one node.
type Server struct {
	cluster  Cluster
	log      *slog.Logger
	metrics  *metrics
	cors     *cors
	node     string
	maxValue int
	bodies   budget // of the requests being answered
	lists    budget // long ones, being sent
	refusals pacer
	streams  *stream.Hub
	cutoff   *cutoff
	auth     *auth.Verifier // nil: no key is asked for
	horizon  *horizon
	proxy    *proxy.Proxy

	table    []*route
	methods  []string // that occur in table, sorted
	router   *httprouter.Router
	http     *http.Server
	silent   silent
	draining atomic.Bool
	backups  sync.Mutex // held while one is sent
}

// New returns a Server that is not listening.
func New(c Config) (*Server, error) {
	if c.Cluster == nil {
		return nil, errors.New("httpapi: a cluster is required")
	}
	if c.MaxValueBytes < 0 {
		return nil, fmt.Errorf("httpapi: the largest value cannot be %d bytes", c.MaxValueBytes)
	}
	c.MaxValueBytes = cmp.Or(c.MaxValueBytes, DefaultMaxValueBytes)
	c.BodyBudget = cmp.Or(c.BodyBudget, DefaultBodyBudget)
	if largest := max(c.MaxValueBytes+bodySlack, maxAtomicBytes); c.BodyBudget < int64(largest) {
		return nil, fmt.Errorf("httpapi: a body budget of %d bytes has no room for one body of %d", c.BodyBudget, largest)
	}
	if c.MaxStreams < 0 || c.KeepAlive < 0 {
		return nil, errors.New("httpapi: streams and their keep-alives cannot be negative")
	}
	c.MaxStreams = cmp.Or(c.MaxStreams, defaultMaxStreams())
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	c.Metrics = cmp.Or(c.Metrics, prometheus.NewRegistry())
	cors, err := newCORS(c.CORSOrigins)
	if err != nil {
		return nil, fmt.Errorf("httpapi: cors origins: %w", err)
	}
	s := &Server{
		cluster: c.Cluster, log: c.Logger, cors: cors,
		node: c.Cluster.Name(), maxValue: c.MaxValueBytes, bodies: budget{limit: c.BodyBudget}, lists: budget{limit: listBudget}, refusals: newPacer(),
	}
	s.horizon = newHorizon(s.cluster.ReadIndex)
	if err := s.setAuth(c); err != nil {
		return nil, fmt.Errorf("httpapi: %w", err)
	}
	s.streams = s.newHub(c)
	s.cutoff = newCutoff(s.cluster.Ready, s.streams.EndPresent, s.log)
	if s.metrics, err = newMetrics(c.Metrics, c.Version, &s.bodies, s.streams.Stats); err != nil {
		return nil, fmt.Errorf("httpapi: register metrics: %w", err)
	}
	if s.proxy, err = newProxy(c); err != nil {
		return nil, fmt.Errorf("httpapi: %w", err)
	}
	if err := s.route(); err != nil {
		return nil, fmt.Errorf("httpapi: %w", err)
	}
	s.http = s.newHTTP()
	return s, nil
}

func (s *Server) setAuth(c Config) (err error) {
	if !c.Auth {
		if c.RootToken != "" {
			return errors.New("a root token is of no use where no key is asked for")
		}
		return nil
	}
	s.auth, err = auth.NewVerifier(s.lookupKey, c.RootToken)
	return err
}

func (s *Server) newHub(c Config) *stream.Hub {
	return stream.New(stream.Config{
		Source: c.Cluster, Change: changeData, Entry: entryData,
		MaxStreams: c.MaxStreams, KeepAlive: c.KeepAlive,
		Delivered: func(lag time.Duration) { s.metrics.streamLag.Observe(lag.Seconds()) },
	})
}

// newProxy leaves room in the budget of bodies for one of the proxy's at least,
// twice.
func newProxy(c Config) (*proxy.Proxy, error) {
	c.Proxy.Logger, c.Proxy.Metrics = c.Logger, c.Metrics
	c.Proxy.MaxBodyBytes = min(proxy.DefaultMaxBodyBytes, c.BodyBudget/2)
	return proxy.New(c.Proxy)
}

// newHTTP sets the limits against slow clients. The one on writing is set for
// each request (see serve), as a stream is to outlive it.
func (s *Server) newHTTP() *http.Server {
	return &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ConnState:         s.silent.track,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
}

// Handler returns the API as a handler, for a server other than Serve's.
func (s *Server) Handler() http.Handler { return http.HandlerFunc(s.dispatch) }

// Serve answers requests on ln until Shutdown, which makes it return nil.
func (s *Server) Serve(ln net.Listener) error {
	if err := s.http.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// SetDraining makes /ready answer 503 from now on, so that load balancers
// look elsewhere while requests are still served, and ends the streams, so
// that their clients go on at another node.
func (s *Server) SetDraining() {
	s.draining.Store(true)
	s.streams.End()
}

// Shutdown is needed also by those who use Handler alone, as streams have
// goroutines. It ends the streams, stops accepting connections and waits until the
// requests in flight are answered, or ctx ends: then it cuts them off and
// returns ctx's error.
func (s *Server) Shutdown(ctx context.Context) error {
	s.SetDraining()
	defer time.AfterFunc(silentTimeout, s.silent.close).Stop()
	err := s.http.Shutdown(ctx)
	if err != nil {
		_ = s.http.Close()
	}
	s.cutoff.stop()
	s.streams.Close()
	s.proxy.Close()
	return err
}
