package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// writeCertificate writes a certificate for 127.0.0.1 that is its own
// authority.
func writeCertificate(t *testing.T) tlsFiles {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		NotAfter:              time.Now().Add(time.Hour),
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyBytes, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	f := tlsFiles{cert: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem"), ca: filepath.Join(dir, "cert.pem")}
	writePEM(t, f.cert, "CERTIFICATE", cert)
	writePEM(t, f.key, "PRIVATE KEY", keyBytes)
	return f
}

func writePEM(t *testing.T, path, kind string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// One pair of files is enough for both ends: the client's configuration is
// that of a node that calls another.
func TestServeTLS(t *testing.T) {
	t.Parallel()
	f := writeCertificate(t)
	p := startProcess(t, "serve", "--data-dir", t.TempDir(), "--log-format", "json",
		"--http-addr", "127.0.0.1:0", "--raft-addr", "127.0.0.1:0", "--gossip-addr", "127.0.0.1:0",
		"--tls-cert", f.cert, "--tls-key", f.key, "--tls-ca", f.ca,
		"--peer-tls-cert", f.cert, "--peer-tls-key", f.key, "--peer-tls-ca", f.ca)
	p.waitServing(t)
	url := strings.Replace(p.url, "http:", "https:", 1)

	config, err := f.mutual()
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Get(url + "/health")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.ProtoMajor != 2 {
		t.Errorf("got %s over %s, want 200 over HTTP/2", resp.Status, resp.Proto)
	}

	stranger := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: config.RootCAs}}
	defer stranger.CloseIdleConnections()
	if resp, err := (&http.Client{Transport: stranger}).Get(url + "/health"); err == nil {
		resp.Body.Close()
		t.Error("a client without a certificate is served although --tls-ca is given")
	}
}

func TestTLSFiles(t *testing.T) {
	good := writeCertificate(t)
	if config, err := (tlsFiles{}).server(); config != nil || err != nil {
		t.Errorf("no files: got %v, %v, want plain HTTP", config, err)
	}
	if config, err := (tlsFiles{}).mutual(); config != nil || err != nil {
		t.Errorf("no files: got %v, %v, want plain TCP", config, err)
	}
	if config, err := (tlsFiles{cert: good.cert, key: good.key}).server(); err != nil || config.ClientAuth != tls.NoClientCert {
		t.Errorf("no authorities: got %v, %v, want clients without certificates", config, err)
	}
	for name, f := range map[string]tlsFiles{
		"missing certificate":   {cert: "missing", key: good.key},
		"key for a certificate": {cert: good.key, key: good.key},
		"missing authorities":   {cert: good.cert, key: good.key, ca: "missing"},
		"key for authorities":   {cert: good.cert, key: good.key, ca: good.key},
	} {
		if _, err := f.mutual(); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}

func TestLoadGossipKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	for content, want := range map[string]int{
		"AAAAAAAAAAAAAAAAAAAAAA==\n":                   16,
		"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA":             24,
		"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=": 32,
		"":                 0,
		"AAAA":             0,
		"no base64 at all": 0,
		"AAAAAAAAAAAAAAAAAAAAAA==AAAAAAAAAAAAAAAAAAAAAA": 0,
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		key, err := loadGossipKey(path)
		if len(key) != want || (err == nil) != (want > 0) {
			t.Errorf("%q: got %d bytes, %v, want %d", content, len(key), err, want)
		}
	}
	if key, err := loadGossipKey(""); key != nil || err != nil {
		t.Errorf("no file: got %v, %v, want none", key, err)
	}
}
