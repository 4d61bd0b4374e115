package wire

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
)

// NodeTimeout is how long a node is told to try: less than Patience, so that it
// can still say what became of the request.
const NodeTimeout = 2500 * time.Millisecond

// nodeTimeout is NodeTimeout as nodes are told it, in seconds.
var nodeTimeout = strconv.FormatFloat(NodeTimeout.Seconds(), 'f', -1, 64)

// maxBody bounds an answer.
const maxBody = 16 << 20

// Node is one node's HTTP API.
type Node struct {
	name string
	base string // URL without a trailing slash
	http *http.Client

	token string // empty: nobody asks for one
}

// NewNode returns the node at a base URL.
func NewNode(name, base string) *Node {
	transport := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: time.Second}).DialContext,
		MaxIdleConnsPerHost: 64,
	}
	return &Node{name: name, base: base, http: &http.Client{Transport: transport}}
}

// WithToken returns the node for somebody with this API key.
func (n *Node) WithToken(token string) *Node {
	other := *n
	other.token = token
	return &other
}

// Token is the API key that goes with requests that name none.
func (n *Node) Token() string { return n.token }

// Name is the node's.
func (n *Node) Name() string { return n.name }

// URL is the node's base URL.
func (n *Node) URL() string { return n.base }

// Do sends the request once.
func (n *Node) Do(ctx context.Context, r Request) Answer {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	req, err := n.request(ctx, r)
	if err != nil {
		return Answer{Outcome: history.Refused, Error: err.Error()}
	}
	resp, err := n.http.Do(req)
	if err != nil {
		return noAnswer(r.Kind, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return noAnswer(r.Kind, err)
	}
	a := read(r, resp.StatusCode, body)
	a.Revision, _ = strconv.ParseUint(resp.Header.Get("X-Stateraft-Revision"), 10, 64)
	return a
}

func (n *Node) request(ctx context.Context, r Request) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method(r), n.base+r.target(), r.body())
	if err != nil {
		return nil, err
	}
	n.authorize(req, r.Token)
	req.Header.Set("X-Stateraft-Timeout", nodeTimeout)
	for name, value := range r.headers() {
		req.Header[name] = []string{value}
	}
	return req, nil
}

// authorize puts an API key into a request; empty: the node's own.
func (n *Node) authorize(req *http.Request, token string) {
	if token == "" {
		token = n.token
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
}

// noAnswer is what a broken connection says. Where none came to be, nothing was
// sent; a read has no effect to be unsure of.
func noAnswer(kind history.Kind, err error) Answer {
	a := Answer{Outcome: history.Unknown, Error: "no answer"}
	var op *net.OpError
	switch {
	case errors.As(err, &op) && op.Op == "dial":
		a.Outcome, a.Error = history.Refused, "unreachable"
	case !kind.IsWrite():
		a.Outcome = history.Refused
	}
	return a
}

// List reads all keys of a place, linearizably. It asks again and again for a page
// that it does not get, until ctx ends.
func (n *Node) List(ctx context.Context, p history.Place) ([]history.Entry, error) {
	var entries []history.Entry
	for after := ""; ; {
		page, next, err := n.page(ctx, p, after)
		if err != nil {
			return nil, err
		}
		entries = append(entries, page...)
		if after = next; after == "" {
			return entries, nil
		}
	}
}

func (n *Node) page(ctx context.Context, p history.Place, after string) ([]history.Entry, string, error) {
	r := Request{Kind: history.List, Workflow: p.Workflow, Agent: p.Agent, Query: history.Query{After: after}}
	a := Insist(ctx, func() Answer { return n.Do(ctx, r) })
	if a.Outcome != history.OK {
		return nil, "", errors.New(n.name + ": list: " + a.Error)
	}
	return a.Entries, a.Next, nil
}

// GetJSON reads what the node answers to a path, which must be a success.
func (n *Node) GetJSON(ctx context.Context, path string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.base+path, nil)
	if err != nil {
		return err
	}
	n.authorize(req, "")
	resp, err := n.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(n.name + ": " + resp.Status)
	}
	return json.NewDecoder(io.LimitReader(resp.Body, maxBody)).Decode(into)
}
