package main

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"regexp"
	"time"

	"github.com/spf13/pflag"

	"github.com/stateraft/stateraft/cluster"
	"github.com/stateraft/stateraft/fsm"
	"github.com/stateraft/stateraft/httpapi"
	"github.com/stateraft/stateraft/httpapi/inject"
	"github.com/stateraft/stateraft/httpapi/proxy"
)

// serveConfig is everything that "stateraft serve" can be told.
type serveConfig struct {
	nodeID          string // empty until load: not given
	dataDir         string
	http            listener
	raft            listener
	gossip          listener
	join            []string
	bootstrapExpect uint64 // 0: never found a cluster
	role            string
	peerTLS         tlsFiles
	gossipKeyFile   string
	tls             tlsFiles
	auth            authFlags
	corsOrigins     []string
	drainDelay      time.Duration
	maxValueBytes   uint64
	historyEvents   uint64
	historyBytes    uint64
	floorRetention  time.Duration
	llm             upstreams
	logLevel        string
	logFormat       string
}

// listener is where a node listens and what it tells others.
type listener struct {
	addr      string
	advertise string // empty: addr
}

// tlsFiles are paths of PEM files; empty ones are not given.
type tlsFiles struct{ cert, key, ca string }

// upstreams say where requests to language models go, and with how much state.
type upstreams struct {
	openAI, anthropic string // base URLs
	timeout           time.Duration
	injectBytes       uint64
}

const (
	roleVoter   = "voter"
	roleReplica = "replica"
)

const (
	defaultDrainDelay = 250 * time.Millisecond
	maxDrainDelay     = 5 * time.Minute
)

// flags declares the flags of serve, with their defaults, in the order in
// which the help shows them.
func (c *serveConfig) flags(fs *pflag.FlagSet) {
	fs.SortFlags = false
	settings := fsm.DefaultSettings()
	*c = serveConfig{
		dataDir:        "./data",
		http:           listener{addr: "127.0.0.1:7474"},
		raft:           listener{addr: "127.0.0.1:7574"},
		gossip:         listener{addr: "127.0.0.1:7674"},
		role:           roleVoter,
		maxValueBytes:  httpapi.DefaultMaxValueBytes,
		historyEvents:  settings.HistoryEvents,
		historyBytes:   settings.HistoryBytes,
		floorRetention: time.Duration(settings.FloorRetention) * time.Microsecond,
		drainDelay:     defaultDrainDelay,
		llm: upstreams{
			openAI: proxy.DefaultOpenAIURL, anthropic: proxy.DefaultAnthropicURL,
			timeout: proxy.DefaultTimeout, injectBytes: inject.DefaultBudget,
		},
		logLevel:  "info",
		logFormat: "text",
	}
	fs.Var(textValue(&c.nodeID, "name", checkName), "node-id", "display name of the node, unique in the cluster; a data directory keeps its node's and refuses another (default: the directory's, for a new one the host's name)")
	fs.Var(textValue(&c.dataDir, "dir", notEmpty), "data-dir", "Raft log and snapshots; created 0700, locked against a second process")

	fs.Var(textValue(&c.http.addr, "addr", listenAddress), "http-addr", "API listener")
	fs.Var(textValue(&c.raft.addr, "addr", listenAddress), "raft-addr", "listener for Raft and calls between nodes")
	fs.Var(textValue(&c.gossip.addr, "addr", listenAddress), "gossip-addr", "listener for gossip, TCP and UDP")
	fs.Var(textValue(&c.http.advertise, "addr", dialAddress), "advertise-http", "API address that others are told (default: the listener's)")
	fs.Var(textValue(&c.raft.advertise, "addr", dialAddress), "advertise-raft", "Raft address that others are told (default: the listener's)")
	fs.Var(textValue(&c.gossip.advertise, "addr", dialAddress), "advertise-gossip", "gossip address that others are told (default: the listener's)")

	fs.Var(listValue(&c.join, "addrs", dialAddress), "join", "gossip addresses of other nodes, comma-separated; retried until one answers")
	fs.Var(countValue(&c.bootstrapExpect, 1, 9), "bootstrap-expect", "voters that a new cluster waits for before it forms itself (default: 1 without --join; with it, only join)")
	fs.Var(choiceValue(&c.role, roleVoter, roleReplica), "role", "a replica serves reads and streams and has no vote")

	fs.Var(fileValue(&c.peerTLS.cert), "peer-tls-cert", "certificate for mutual TLS between nodes")
	fs.Var(fileValue(&c.peerTLS.key), "peer-tls-key", "private key of --peer-tls-cert")
	fs.Var(fileValue(&c.peerTLS.ca), "peer-tls-ca", "authorities that sign the nodes' certificates")
	fs.Var(fileValue(&c.gossipKeyFile), "gossip-key-file", "base64 of 16, 24 or 32 bytes that encrypt gossip")

	fs.Var(fileValue(&c.tls.cert), "tls-cert", "certificate of the API; makes it HTTPS")
	fs.Var(fileValue(&c.tls.key), "tls-key", "private key of --tls-cert")
	fs.Var(fileValue(&c.tls.ca), "tls-ca", "authorities that sign the certificates which clients must show")
	fs.Var(boolValue(&c.auth.on), "auth", "ask every request for an API key")
	fs.Var(fileValue(&c.auth.rootToken), "root-token-file", "file (0600) whose content is the first administrator's API key, of 16 to 1024 characters")
	fs.Var(boolValue(&c.auth.insecure), "insecure", "serve other hosts although requests are not authenticated")
	fs.Lookup("auth").NoOptDefVal = "true"
	fs.Lookup("insecure").NoOptDefVal = "true"
	fs.Var(listValue(&c.corsOrigins, "origins", checkOrigin), "cors-origins", "origins that browsers may call from, comma-separated; * is any")

	fs.Var(sizeValue(&c.maxValueBytes, 1, 8<<20), "max-value-bytes", "largest value")
	fs.Var(countValue(&c.historyEvents, 1, 100_000_000), "history-events", "changes that streams can resume over")
	fs.Var(sizeValue(&c.historyBytes, 1, 64<<30), "history-bytes", "size of the changes that streams can resume over")
	fs.Var(durationValue(&c.floorRetention, time.Millisecond, 10*365*24*time.Hour), "floor-retention", "how long an emptied workflow's versions are remembered")

	fs.Var(durationValue(&c.drainDelay, 0, maxDrainDelay), "drain-delay", "how long after SIGTERM requests are still served while /ready answers 503: more than the interval at which a load balancer asks")

	fs.Var(textValue(&c.llm.openAI, "url", notEmpty), "llm-openai-url", "base URL of the proxy's OpenAI upstream; /chat/completions and /responses are appended")
	fs.Var(textValue(&c.llm.anthropic, "url", notEmpty), "llm-anthropic-url", "base URL of the proxy's Anthropic upstream; /messages is appended")
	fs.Var(durationValue(&c.llm.timeout, time.Millisecond, time.Hour), "llm-timeout", "how long an upstream has until its first byte")
	fs.Var(sizeValue(&c.llm.injectBytes, inject.MinBudget, 1<<20), "inject-bytes", "most state that is put into a request to a language model")

	fs.Var(choiceValue(&c.logLevel, "debug", "info", "warn", "error"), "log-level", "least severe log line")
	fs.Var(choiceValue(&c.logFormat, "text", "json"), "log-format", "form of the log on stderr")
}

// load completes c from the data directory, and checks what no flag by itself can.
// Every error is one line, and a usageError unless the data directory cannot be
// read.
func (c *serveConfig) load(fs *pflag.FlagSet) error {
	if !fs.Changed("bootstrap-expect") && len(c.join) == 0 {
		c.bootstrapExpect = 1
	}
	if err := c.keepName(); err != nil {
		return err
	}
	if err := c.check(); err != nil {
		return usageError{err}
	}
	return nil
}

// keepName has a node that is given no name go by the one that it has,
// whatever its host is called by then: a container's gets another each time.
func (c *serveConfig) keepName() error {
	if c.nodeID != "" {
		return nil
	}
	stored, err := cluster.StoredName(c.dataDir)
	c.nodeID = cmp.Or(stored, hostName())
	return err
}

func (c *serveConfig) check() error {
	return cmp.Or(
		c.checkNodeID(),
		c.checkAuth(),
		c.http.check("http"),
		c.raft.check("raft"),
		c.gossip.check("gossip"),
		c.checkRole(),
		c.checkFounding(),
		c.checkTLS(),
		c.checkUpstreams(),
	)
}

// checkNodeID fails only where there is no name but the host's, and that is no
// good.
func (c *serveConfig) checkNodeID() error {
	if c.nodeID == "" {
		return errors.New("--node-id is needed: the host's name is no display name")
	}
	return nil
}

// check refuses to leave others to guess where to call.
func (l listener) check(name string) error {
	if host, _, _ := net.SplitHostPort(l.addr); unspecified(host) && l.advertise == "" {
		return fmt.Errorf("--%s-addr %s is every interface: --advertise-%s must say which address others call", name, l.addr, name)
	}
	return nil
}

func (c *serveConfig) checkRole() error {
	if c.role == roleReplica && len(c.join) == 0 {
		return errors.New("--role replica needs --join: a replica never founds a cluster")
	}
	if c.role == roleReplica && c.bootstrapExpect > 0 {
		return errors.New("--role replica excludes --bootstrap-expect: a replica never founds a cluster")
	}
	return nil
}

func (c *serveConfig) checkFounding() error {
	if c.bootstrapExpect > 1 && len(c.join) == 0 {
		return fmt.Errorf("--bootstrap-expect %d needs --join: where to find the others", c.bootstrapExpect)
	}
	return nil
}

func (c *serveConfig) checkTLS() error {
	if peer := c.peerTLS; (peer.cert == "") != (peer.key == "") || (peer.cert == "") != (peer.ca == "") {
		return errors.New("--peer-tls-cert, --peer-tls-key and --peer-tls-ca go together")
	}
	if (c.tls.cert == "") != (c.tls.key == "") {
		return errors.New("--tls-cert and --tls-key go together")
	}
	if c.tls.ca != "" && c.tls.cert == "" {
		return errors.New("--tls-ca needs --tls-cert and --tls-key")
	}
	return nil
}

func (c *serveConfig) checkUpstreams() error {
	return cmp.Or(
		checkUpstream("--llm-openai-url", c.llm.openAI),
		checkUpstream("--llm-anthropic-url", c.llm.anthropic),
	)
}

// checkUpstream does not show the URL: it may hold a password.
func checkUpstream(flag, base string) error {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("%s must be a URL with http or https and a host, and without user, query and fragment", flag)
	}
	return nil
}

var namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

func checkName(s string) error {
	if !namePattern.MatchString(s) {
		return errors.New("must be 1 to 64 letters, digits, dots, dashes and underscores, the first a letter or digit")
	}
	return nil
}

func checkOrigin(s string) error {
	u, err := url.Parse(s)
	if s != "*" && (err != nil || u.Scheme == "" || u.Host == "" || u.Scheme+"://"+u.Host != s) {
		return errors.New("must be an origin such as https://app.example.com, or *")
	}
	return nil
}

func notEmpty(s string) error {
	if s == "" {
		return errors.New("must not be empty")
	}
	return nil
}

// hostName is a new node's default display name; empty where the host's is no
// good.
func hostName() string {
	name, err := os.Hostname()
	if err != nil || checkName(name) != nil {
		return ""
	}
	return name
}
