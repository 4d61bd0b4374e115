package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"

	"github.com/stateraft/stateraft/httpapi/auth"
)

// authFlags say who may use the API.
type authFlags struct {
	on        bool
	rootToken string // path of the file that holds it; empty: none
	insecure  bool
}

// checkAuth refuses to serve other hosts without asking who calls.
func (c *serveConfig) checkAuth() error {
	if host, _, _ := net.SplitHostPort(c.http.addr); !loopback(host) && !c.auth.on && !c.auth.insecure {
		return fmt.Errorf("--http-addr %s can be reached from other hosts and requests are not authenticated: give --auth, or --insecure if that is meant", c.http.addr)
	}
	if c.auth.rootToken != "" && !c.auth.on {
		return errors.New("--root-token-file needs --auth")
	}
	return nil
}

// tellAuth says in the log what the operator may have to do.
func (c *serveConfig) tellAuth(log *slog.Logger) {
	if !c.auth.on {
		return
	}
	if c.auth.rootToken == "" {
		log.Info("requests must carry an API key, and --root-token-file gives none: only keys that the cluster has can be used")
	}
	if host, _, _ := net.SplitHostPort(c.http.addr); c.tls.cert == "" && !loopback(host) {
		log.Warn("API keys come over plain HTTP: whoever sees the network's traffic has them; --tls-cert and --tls-key make it HTTPS")
	}
}

// maxRootTokenFile bounds what is read: a wrong path may name anything.
const maxRootTokenFile = 4096

// loadRootToken reads the root token from a file that nobody but its owner can
// read; "" for no path. White space around the token does not count. No error
// holds any of the file.
func loadRootToken(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("--root-token-file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("--root-token-file: %w", err)
	}
	if open := info.Mode().Perm() & 0o077; open != 0 {
		return "", fmt.Errorf("--root-token-file: %s must be for its owner alone: its mode is %04o, not 0600", path, info.Mode().Perm())
	}
	text, err := io.ReadAll(io.LimitReader(f, maxRootTokenFile))
	if err != nil {
		return "", fmt.Errorf("--root-token-file: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if token == "" {
		return "", fmt.Errorf("--root-token-file: %s is empty", path)
	}
	if err := auth.CheckRoot(token); err != nil {
		return "", usageErrorf("--root-token-file: %s: %w", path, err)
	}
	return token, nil
}
