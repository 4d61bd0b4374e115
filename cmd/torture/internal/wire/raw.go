package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
)

// nodeTimeout is how long a node is told to try, in seconds: less than Patience,
// so that it can still say what became of the request.
const nodeTimeout = "2.5"

// maxBody bounds an answer.
const maxBody = 16 << 20

// Node is one node's HTTP API.
type Node struct {
	name string
	base string // URL without a trailing slash
	http *http.Client
}

// NewNode returns the node at a base URL.
func NewNode(name, base string) *Node {
	transport := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: time.Second}).DialContext,
		MaxIdleConnsPerHost: 64,
	}
	return &Node{name: name, base: base, http: &http.Client{Transport: transport}}
}

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
	a := read(r.Kind, resp.StatusCode, body)
	a.Revision, _ = strconv.ParseUint(resp.Header.Get("X-Stateraft-Revision"), 10, 64)
	return a
}

func (n *Node) request(ctx context.Context, r Request) (*http.Request, error) {
	target := n.base + "/v1/state/" + url.PathEscape(r.Workflow) + "/" + url.PathEscape(r.Key)
	method, body := http.MethodGet, map[string]any{}
	switch r.Kind {
	case history.Get:
		if r.Stale {
			target += "?consistency=stale"
		}
	case history.Delete:
		method = http.MethodDelete
	case history.SetAt:
		target += "/version"
		body["expectedVersion"] = r.Expected
		fallthrough
	case history.Set:
		method = http.MethodPost
		body["value"] = json.RawMessage(r.Value)
		if r.TTL > 0 {
			body["ttl"] = r.TTL.Seconds()
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, target, encode(method, body))
	if err != nil {
		return nil, err
	}
	req.GetBody = nil // else net/http sends a request with an idempotency key twice, and tells of the second alone
	req.Header.Set("X-Stateraft-Timeout", nodeTimeout)
	if r.MinRevision > 0 {
		req.Header.Set("X-Stateraft-Min-Revision", strconv.FormatUint(r.MinRevision, 10))
	}
	if r.Idempotency != "" {
		req.Header.Set("Idempotency-Key", r.Idempotency)
	}
	return req, nil
}

func encode(method string, body map[string]any) io.Reader {
	if method != http.MethodPost {
		return nil
	}
	text, err := json.Marshal(body)
	if err != nil {
		panic(err) // a value that is no JSON text is a bug of a workload
	}
	return bytes.NewReader(text)
}

// noAnswer is what a broken connection says. Where none came to be, nothing was
// sent; a read has no effect to be unsure of.
func noAnswer(kind history.Kind, err error) Answer {
	a := Answer{Outcome: history.Unknown, Error: "no answer"}
	var op *net.OpError
	switch {
	case errors.As(err, &op) && op.Op == "dial":
		a.Outcome, a.Error = history.Refused, "unreachable"
	case kind == history.Get:
		a.Outcome = history.Refused
	}
	return a
}

// read makes an answer of a response.
func read(kind history.Kind, status int, body []byte) Answer {
	var b struct {
		Value          json.RawMessage
		Version        uint64
		Deleted        bool
		Code           string
		Outcome        string
		CurrentVersion uint64
	}
	if err := json.Unmarshal(body, &b); err != nil {
		return Answer{Outcome: history.Unknown, Error: "an answer that is not of the contract, status " + strconv.Itoa(status)}
	}
	switch {
	case status == http.StatusOK && kind == history.Get:
		return Answer{Outcome: history.OK, Found: true, Value: string(b.Value), Version: b.Version}
	case status == http.StatusOK:
		return Answer{Outcome: history.OK, Found: b.Deleted, Version: b.Version}
	case status == http.StatusNotFound && kind == history.Get:
		return Answer{Outcome: history.OK}
	case status == http.StatusConflict && b.Code == "VERSION_CONFLICT":
		return Answer{Outcome: history.OK, Conflict: true, Version: b.CurrentVersion}
	case kind == history.Get, b.Outcome == "not_applied":
		return Answer{Outcome: history.Refused, Error: b.Code}
	}
	return Answer{Outcome: history.Unknown, Error: b.Code}
}

// List reads all keys of a workflow, linearizably.
func (n *Node) List(ctx context.Context, workflow string) ([]history.Entry, error) {
	var entries []history.Entry
	for after := ""; ; {
		page, next, err := n.page(ctx, workflow, after)
		if err != nil {
			return nil, err
		}
		entries = append(entries, page...)
		if after = next; after == "" {
			return entries, nil
		}
	}
}

func (n *Node) page(ctx context.Context, workflow, after string) ([]history.Entry, string, error) {
	query := url.Values{"values": {"true"}}
	if after != "" {
		query.Set("after", after)
	}
	var body struct {
		Entries []struct {
			Key     string
			Value   json.RawMessage
			Version uint64
		}
		Next string
	}
	if err := n.GetJSON(ctx, "/v1/state/"+url.PathEscape(workflow)+"?"+query.Encode(), &body); err != nil {
		return nil, "", err
	}
	var entries []history.Entry
	for _, e := range body.Entries {
		entries = append(entries, history.Entry{Workflow: workflow, Key: e.Key, Value: string(e.Value), Version: e.Version})
	}
	return entries, body.Next, nil
}

// GetJSON reads what the node answers to a path, which must be a success.
func (n *Node) GetJSON(ctx context.Context, path string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.base+path, nil)
	if err != nil {
		return err
	}
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
