package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strings"
)

// server returns the configuration of an API listener, nil for plain HTTP.
// With authorities given, clients must show a certificate of theirs.
func (f tlsFiles) server() (*tls.Config, error) {
	if f.cert == "" {
		return nil, nil
	}
	cert, err := tls.LoadX509KeyPair(f.cert, f.key)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", f.cert, err)
	}
	config := &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{cert},
		NextProtos:   []string{"h2", "http/1.1"},
	}
	if f.ca == "" {
		return config, nil
	}
	config.ClientAuth = tls.RequireAndVerifyClientCert
	config.ClientCAs, err = loadAuthorities(f.ca)
	return config, err
}

// mutual returns the configuration of both ends of a connection between nodes,
// nil for plain TCP.
func (f tlsFiles) mutual() (*tls.Config, error) {
	config, err := f.server()
	if config == nil || err != nil {
		return nil, err
	}
	config.MinVersion = tls.VersionTLS13
	config.NextProtos = nil
	config.RootCAs = config.ClientCAs
	return config, nil
}

func loadAuthorities(path string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", path)
	}
	return pool, nil
}

// loadGossipKey returns nil for an empty path.
func loadGossipKey(path string) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	if err == nil && len(key) != 16 && len(key) != 24 && len(key) != 32 {
		err = errors.New("wrong length")
	}
	if err != nil {
		return nil, fmt.Errorf("%s must hold the base64 of 16, 24 or 32 bytes", path)
	}
	return key, nil
}
