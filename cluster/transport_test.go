package cluster

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stateraft/stateraft/cluster/clusterpb"
	"github.com/stateraft/stateraft/internal/leaktest"
)

// patience is how long the package's tests wait for what must come about.
const patience = 30 * time.Second

var discard = slog.New(slog.DiscardHandler)

// echo answers with the request's term as index, and the caller's id.
func echo(_ context.Context, p peer, req *clusterpb.Request) *clusterpb.Response {
	return &clusterpb.Response{Index: req.GetReadIndex().GetTerm(), Message: p.nodeID, ClusterId: p.clusterID}
}

func ask(n uint64) *clusterpb.Request {
	return &clusterpb.Request{ReadIndex: &clusterpb.ReadIndex{Term: n}}
}

// testTransport listens on a free port as that node of that cluster, with
// handler echo unless adjust says otherwise.
func testTransport(t *testing.T, nodeID, cluster string, adjust func(*transportConfig)) *transport {
	t.Helper()
	c := transportConfig{
		listenAddr: "127.0.0.1:0",
		logger:     discard,
		handle:     echo,
		hello: func() *clusterpb.Hello {
			return &clusterpb.Hello{NodeId: nodeID, ClusterId: []byte(cluster)}
		},
	}
	if adjust != nil {
		adjust(&c)
	}
	tr, err := newTransport(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tr.close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return tr
}

func TestAdvertisedAddress(t *testing.T) {
	tests := []struct {
		name, listen, advertise string
		want                    string // empty: the listener's
		wantErr                 string
	}{
		{"the listener's", "127.0.0.1:0", "", "", ""},
		{"given", "127.0.0.1:0", "n1.example:7574", "n1.example:7574", ""},
		{"everywhere", "0.0.0.0:0", "", "", "an address to advertise is needed"},
		{"everywhere and given", ":0", "10.0.0.1:7574", "10.0.0.1:7574", ""},
		{"no port", "127.0.0.1:0", "n1", "", "missing port"},
		{"port 0", "127.0.0.1:0", "n1:0", "", "host and port must be given"},
		{"no host", "127.0.0.1:0", ":7574", "", "host and port must be given"},
		{"bad listener", "127.0.0.1:http-", "", "", "raft address"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			leaktest.Check(t)
			tr, err := newTransport(transportConfig{listenAddr: tt.listen, advertise: tt.advertise, logger: discard})
			if wantError(t, err, tt.wantErr); err != nil {
				return
			}
			defer tr.close()
			want := tt.want
			if want == "" {
				want = tr.addr()
			}
			if got := tr.advertised(); got != want {
				t.Errorf("advertised %q, want %q", got, want)
			}
			if got := string(tr.raftTransport().LocalAddr()); got != want {
				t.Errorf("raft advertises %q, want %q", got, want)
			}
		})
	}
}

// The rule of the handshake, over real connections in both directions: what
// the listener refuses the dialler is told, in the listener's words.
func TestHandshake(t *testing.T) {
	const other = "this node belongs to cluster 62, not to 61"
	tests := []struct {
		name               string
		dialler, listener  string // cluster ids
		calls, raftStreams string // what the dialler's error says
	}{
		{"both in one cluster", "a", "a", "", ""},
		{"dialler in none", "", "b", "", "this node belongs to cluster 62, not to "},
		{"listener in none", "a", "", "", "this node belongs to no cluster yet"},
		{"both in none", "", "", "", "this node belongs to no cluster yet"},
		{"two clusters", "a", "b", other, other},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			leaktest.Check(t)
			d := testTransport(t, "d", tt.dialler, nil)
			l := testTransport(t, "l", tt.listener, nil)

			resp, err := d.call(t.Context(), l.addr(), ask(7))
			wantError(t, err, tt.calls)
			if err == nil && (resp.Index != 7 || resp.Message != "d" || string(resp.ClusterId) != tt.dialler) {
				t.Errorf("the handler saw %+v", resp)
			}
			if err != nil && !errors.Is(err, errNotSent) {
				t.Errorf("error = %v, want errNotSent", err)
			}
			conn, err := d.raft.streams.Dial(l.raft.LocalAddr(), patience)
			wantError(t, err, tt.raftStreams)
			if err == nil {
				conn.Close()
			} else if conn != nil {
				t.Error("a connection beside an error")
			}
		})
	}
}

func TestRefusal(t *testing.T) {
	hello := func(wire uint32, cluster, node string) *clusterpb.Hello {
		return &clusterpb.Hello{Wire: wire, ClusterId: []byte(cluster), NodeId: node}
	}
	tests := []struct {
		name   string
		kind   byte
		theirs *clusterpb.Hello
		want   string
	}{
		{"same cluster", raftStream, hello(wireVersion, "c", "n2"), ""},
		{"newer wire", raftStream, hello(wireVersion+1, "c", "n2"), ""},
		{"no wire version", nodeCalls, hello(0, "c", "n2"), "wire version 0 is older"},
		{"no node id", nodeCalls, hello(wireVersion, "c", ""), "no node id given"},
		{"own node id, raft", raftStream, hello(wireVersion, "c", "n1"), "same node id"},
		{"own node id, calls", nodeCalls, hello(wireVersion, "c", "n1"), ""},
		{"other cluster", nodeCalls, hello(wireVersion, "d", "n2"), "cluster 63, not to 64"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := refusal(tt.kind, hello(wireVersion, "c", "n1"), tt.theirs)
			if (tt.want == "") != (got == "") || !strings.Contains(got, tt.want) {
				t.Errorf("refusal = %q, want %q", got, tt.want)
			}
		})
	}
}

// Whatever a stranger sends ends its connection and nothing else.
func TestListenerSurvivesGarbage(t *testing.T) {
	leaktest.Check(t)
	l := testTransport(t, "l", "c", nil)
	longHello := append([]byte{nodeCalls}, 0, 0, 0x10, 1)
	tests := []struct {
		name string
		send []byte
	}{
		{"http", []byte("GET / HTTP/1.1\r\n\r\n")},
		{"nothing", nil},
		{"hello too long", longHello},
		{"hello not protobuf", []byte{nodeCalls, 0, 0, 0, 2, 0xff, 0xff}},
		{"hello cut", []byte{raftStream, 0, 0, 0, 9, 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			conn, err := net.Dial("tcp", l.addr())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conn.Write(tt.send)
			conn.(*net.TCPConn).CloseWrite()
			conn.SetReadDeadline(time.Now().Add(handshakeTimeout))
			if answer, err := io.ReadAll(conn); len(answer) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("answer = %q, %v; want the connection closed", answer, err)
			}
		})
	}
	d := testTransport(t, "d", "c", nil)
	if _, err := d.call(t.Context(), l.addr(), ask(1)); err != nil {
		t.Error(err)
	}
}

func TestAcceptFilter(t *testing.T) {
	leaktest.Check(t)
	var open atomic.Bool
	l := testTransport(t, "l", "c", func(c *transportConfig) {
		c.accept = func(id string) bool { return id != "d" || open.Load() }
	})
	d := testTransport(t, "d", "c", nil)
	_, err := d.call(t.Context(), l.addr(), ask(1))
	wantError(t, err, "not accepted")
	open.Store(true)
	if _, err := d.call(t.Context(), l.addr(), ask(1)); err != nil {
		t.Error(err)
	}
}

// sever ends the connections of a peer, raft's and calls', whoever dialled.
func TestSever(t *testing.T) {
	for _, by := range []string{"dialler", "dialler, by address", "listener"} {
		t.Run(by, func(t *testing.T) {
			leaktest.Check(t)
			ended := make(chan string, 1)
			l := testTransport(t, "l", "c", nil)
			d := testTransport(t, "d", "c", func(c *transportConfig) { c.onDisconnect = func(a string) { ended <- a } })
			if _, err := d.call(t.Context(), l.addr(), ask(1)); err != nil {
				t.Fatal(err)
			}
			stream, err := d.raft.streams.Dial(l.raft.LocalAddr(), patience)
			if err != nil {
				t.Fatal(err)
			}
			switch by {
			case "dialler":
				d.sever("l")
			case "dialler, by address":
				d.sever(l.addr())
			case "listener":
				l.sever("d")
			}
			if got := <-ended; got != l.addr() {
				t.Errorf("disconnected from %s, want %s", got, l.addr())
			}
			stream.SetReadDeadline(time.Now().Add(patience))
			if _, err := stream.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("the raft stream is still open: %v", err)
			}
			if _, err := d.call(t.Context(), l.addr(), ask(1)); err != nil {
				t.Errorf("call afterwards: %v", err)
			}
		})
	}
}

func TestInboundConnectionsAreBounded(t *testing.T) {
	leaktest.Check(t)
	l := testTransport(t, "l", "c", nil)
	l.mu.Lock()
	l.inbound = maxInbound
	l.mu.Unlock()
	d := testTransport(t, "d", "c", nil)
	if _, err := d.call(t.Context(), l.addr(), ask(1)); !errors.Is(err, errNotSent) {
		t.Errorf("error = %v, want errNotSent", err)
	}
	l.mu.Lock()
	l.inbound = 0
	l.mu.Unlock()
	if _, err := d.call(t.Context(), l.addr(), ask(1)); err != nil {
		t.Error(err)
	}
}

func TestCloseEndsHandshakes(t *testing.T) {
	leaktest.Check(t)
	l := testTransport(t, "l", "c", nil)
	begin := time.Now()                    // before the handshake's time begins
	conn, err := net.Dial("tcp", l.addr()) // and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		l.mu.Lock()
		n := l.inbound
		l.mu.Unlock()
		if n == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("connection not accepted")
		}
	}
	l.close()
	if took := time.Since(begin); took >= handshakeTimeout {
		t.Errorf("closed %v after the connection began", took)
	}
	if _, err := l.call(t.Context(), l.addr(), ask(1)); !errors.Is(err, errTransportClosed) || !errors.Is(err, errNotSent) {
		t.Errorf("call after close: %v", err)
	}
}

// Ensure whoever no longer wants a connection does not wait for the other's hello.
func TestConnectEndsWithItsContext(t *testing.T) {
	leaktest.Check(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	d := testTransport(t, "d", "c", nil)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	asked := make(chan net.Conn, 1)
	go func() {
		if conn, err := silent.Accept(); err == nil {
			_, _ = conn.Read(make([]byte, 1)) // of its hello
			cancel()
			asked <- conn
		}
	}()
	begin := time.Now()
	if _, err := d.connect(ctx, raftStream, silent.Addr().String(), d.hello()); err == nil {
		t.Error("connected")
	}
	if took := time.Since(begin); took > patience/2 {
		t.Errorf("given up after %v", took)
	}
	(<-asked).Close()
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.links) != 0 {
		t.Errorf("%d connections are left", len(d.links))
	}
}

// authority signs certificates for 127.0.0.1.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := new(authority)
	der := a.sign(t, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	cert, err := x509.ParseCertificate(der.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	a.cert, a.key = cert, der.PrivateKey.(*ecdsa.PrivateKey)
	return a
}

// sign makes a key and a certificate for it; the first one signs itself.
func (a *authority) sign(t *testing.T, c *x509.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c.SerialNumber, c.Subject = big.NewInt(1), pkix.Name{CommonName: "test"}
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// config is for mutual TLS among those whom a has signed.
func (a *authority) config(t *testing.T) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return &tls.Config{
		RootCAs: pool, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
		Certificates: []tls.Certificate{a.sign(t, &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})},
	}
}

func TestMutualTLS(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	nameless := ours.config(t)
	nameless.Certificates = nil
	tests := []struct {
		name    string
		dialler *tls.Config
		wantErr string
	}{
		{"same authority", ours.config(t), ""},
		{"no certificate", nameless, "certificate required"},
		{"another authority", theirs.config(t), "unknown authority"},
		{"plain text", nil, ""}, // the listener just closes
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			leaktest.Check(t)
			l := testTransport(t, "l", "c", func(c *transportConfig) { c.tls = ours.config(t) })
			d := testTransport(t, "d", "c", func(c *transportConfig) { c.tls = tt.dialler })
			resp, err := d.call(t.Context(), l.addr(), ask(3))
			if tt.name != "same authority" {
				if !errors.Is(err, errNotSent) {
					t.Errorf("error = %v, want errNotSent", err)
				}
				if tt.wantErr != "" {
					wantError(t, err, tt.wantErr)
				}
				return
			}
			if err != nil || resp.Index != 3 {
				t.Errorf("call = %v, %v", resp, err)
			}
			if conn, err := d.raft.streams.Dial(l.raft.LocalAddr(), patience); err != nil {
				t.Error(err)
			} else {
				conn.Close()
			}
		})
	}
}
