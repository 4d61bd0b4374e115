package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httputil"
	"net/url"
	"strconv"
	"time"
)

const benchMaxErrorBody = 64 << 10

// benchConn is a kept-alive HTTP/1.1 connection that sends ready-made requests.
// net/http would take as much CPU as the node that is to be measured on the
// same machine.
type benchConn struct {
	conn     net.Conn
	in       *bufio.Reader
	timeout  time.Duration // of a request, or up to a second more
	deadline time.Time
}

// dialBench connects to an endpoint. The connection outlives ctx.
func dialBench(ctx context.Context, endpoint *url.URL, timeout time.Duration) (*benchConn, error) {
	address := endpoint.Host
	if endpoint.Port() == "" {
		address = net.JoinHostPort(endpoint.Hostname(), endpoint.Scheme) // by the name of the service
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var dialer interface {
		DialContext(ctx context.Context, network, address string) (net.Conn, error)
	} = &net.Dialer{}
	if endpoint.Scheme == "https" {
		dialer = &tls.Dialer{Config: &tls.Config{NextProtos: []string{"http/1.1"}}}
	}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return &benchConn{conn: conn, in: bufio.NewReader(conn), timeout: timeout}, nil
}

// do sends a request and reads the answer, whose body is returned only if it
// is no success. After an error the connection is of no more use.
func (c *benchConn) do(request []byte, now time.Time) (status int, body []byte, err error) {
	// A deadline costs a timer: it is moved once a second, not for each request.
	if c.deadline.Sub(now) < c.timeout {
		c.deadline = now.Add(c.timeout + time.Second)
		if err := c.conn.SetDeadline(c.deadline); err != nil {
			return 0, nil, err
		}
	}
	if _, err := c.conn.Write(request); err != nil {
		return 0, nil, err
	}
	return readResponse(c.in)
}

func (c *benchConn) close() { c.conn.Close() }

// errConnectionClose says that an answer was the connection's last.
var errConnectionClose = errors.New("the node closes the connection")

// readResponse reads one answer. It knows as much of HTTP/1.1 as a node uses: a
// body comes with its length or in chunks.
func readResponse(in *bufio.Reader) (status int, body []byte, err error) {
	h, err := readHead(in)
	if err != nil {
		return 0, nil, err
	}
	switch {
	case h.chunked:
		body, err = readChunked(in, h.status)
	case h.length >= 0 && h.status/100 == 2:
		_, err = in.Discard(h.length)
	case h.length >= 0 && h.length <= benchMaxErrorBody:
		body = make([]byte, h.length)
		_, err = io.ReadFull(in, body)
	default:
		err = fmt.Errorf("status %d with a body of unknown or great length", h.status)
	}
	if err == nil && h.close {
		err = errConnectionClose
	}
	return h.status, body, err
}

// head is what matters of a response's head.
type head struct {
	status  int
	length  int // of the body; -1: not told
	chunked bool
	close   bool
}

func readHead(in *bufio.Reader) (h head, err error) {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return h, err
	}
	if len(line) < len("HTTP/1.1 200\n") || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return h, fmt.Errorf("not an HTTP/1.1 response: %q", line)
	}
	if h.status, err = strconv.Atoi(string(line[9:12])); err != nil || h.status < 200 {
		return h, fmt.Errorf("not a final status: %q", line)
	}
	h.length = -1
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return h, err
		}
		if line = bytes.TrimRight(line, "\r\n"); len(line) == 0 {
			return h, nil
		}
		if err := h.field(line); err != nil {
			return h, err
		}
	}
}

// field takes one line of the head.
func (h *head) field(line []byte) (err error) {
	name, value, _ := bytes.Cut(line, []byte(":"))
	value = bytes.TrimSpace(value)
	switch {
	case bytes.EqualFold(name, []byte("Content-Length")):
		if h.length, err = strconv.Atoi(string(value)); err != nil || h.length < 0 {
			return fmt.Errorf("bad length %q", value)
		}
	case bytes.EqualFold(name, []byte("Transfer-Encoding")):
		h.chunked = bytes.EqualFold(value, []byte("chunked"))
	case bytes.EqualFold(name, []byte("Connection")):
		h.close = bytes.EqualFold(value, []byte("close"))
	}
	return nil
}

func readChunked(in *bufio.Reader, status int) (body []byte, err error) {
	chunks := httputil.NewChunkedReader(in)
	if status/100 != 2 {
		if body, err = io.ReadAll(io.LimitReader(chunks, benchMaxErrorBody)); err != nil {
			return nil, err
		}
	}
	if _, err := io.Copy(io.Discard, chunks); err != nil {
		return nil, err
	}
	for { // trailers, and the empty line that ends them
		line, err := in.ReadSlice('\n')
		if err != nil || len(bytes.TrimRight(line, "\r\n")) == 0 {
			return body, err
		}
	}
}
