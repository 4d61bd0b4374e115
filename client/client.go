package client

import (
	"net"
	"net/http"
	"time"
)

// DefaultEndpoint is asked when Config names none.
const DefaultEndpoint = "http://127.0.0.1:7474"

const (
	defaultTimeout        = 30 * time.Second
	defaultAttemptTimeout = 5 * time.Second
	defaultMaxAttempts    = 8
)

// Config says whom to ask and how long to insist. The zero value asks
// DefaultEndpoint.
type Config struct {
	// Endpoints are the base URLs of nodes of one cluster, http or https. The
	// first is asked first, the others when it fails.
	Endpoints []string

	// Token is the API key. Empty: none is sent.
	Token string

	// HTTPClient sends the requests. Nil: one of the client's own, which keeps
	// up to 512 idle connections an endpoint.
	HTTPClient *http.Client

	// Timeout bounds a call with all its attempts, beside the deadline of its
	// context. 0: 30 s.
	Timeout time.Duration

	// AttemptTimeout bounds one attempt; the node is told to give up a little
	// earlier, so that it can still say what became of a write. 0: 5 s.
	AttemptTimeout time.Duration

	// MaxAttempts bounds how often one call is sent. 0: 8.
	MaxAttempts int

	// NoReadYourWrites lets stale reads go back behind what this client has
	// seen already.
	NoReadYourWrites bool
}

// Client talks to one cluster. Make one with New and share it.
type Client struct {
	State   *State   // the State Store
	Agent   *Agent   // Agent State
	Cluster *Cluster // administration
	Keys    *Keys    // of API keys, likewise

	config    Config
	http      *http.Client
	endpoints *endpoints
	revision  revision
}

// New returns a client. It connects to nobody yet; an error means that an
// endpoint is not a base URL.
func New(config Config) (*Client, error) {
	config.applyDefaults()
	endpoints, err := newEndpoints(config.Endpoints)
	if err != nil {
		return nil, err
	}
	c := &Client{config: config, http: withoutRedirects(config.HTTPClient), endpoints: endpoints}
	c.State, c.Agent, c.Cluster, c.Keys = &State{c}, &Agent{c}, &Cluster{c}, &Keys{c}
	return c, nil
}

func (c *Config) applyDefaults() {
	if len(c.Endpoints) == 0 {
		c.Endpoints = []string{DefaultEndpoint}
	}
	if c.Timeout <= 0 {
		c.Timeout = defaultTimeout
	}
	if c.AttemptTimeout <= 0 {
		c.AttemptTimeout = defaultAttemptTimeout
	}
	if c.MaxAttempts <= 0 {
		c.MaxAttempts = defaultMaxAttempts
	}
}

// withoutRedirects returns a client like c, nil being one of its own, that gives a
// redirection back as the answer. Nodes never redirect, but what stands before them
// may, and net/http would make a GET of a write, whose answer looks like success.
func withoutRedirects(c *http.Client) *http.Client {
	if c == nil {
		c = &http.Client{Transport: newTransport()}
	}
	own := *c
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &own
}

// newTransport differs from http.DefaultTransport where a few hosts serve many
// goroutines: it keeps their connections, and gives up soon on a host that is
// gone, because there are others.
func newTransport() *http.Transport {
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 2 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout: 5 * time.Second,
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: 512,
		IdleConnTimeout:     90 * time.Second,
		DisableCompression:  true, // values are small, and CPU is what nodes run short of
	}
}

// Revision returns the highest revision of the cluster's state that this client
// has seen; 0: none yet. Handed to another client's MinRevision, it carries
// read-your-writes from one process to another.
func (c *Client) Revision() uint64 { return c.revision.seen() }

// Close closes idle connections. The client may be used again afterwards.
func (c *Client) Close() { c.http.CloseIdleConnections() }
