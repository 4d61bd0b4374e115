package node

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
)

// askedTimeout is how long a node is told to try, in seconds.
const askedTimeout = "0.5"

// mostAnswer bounds what is read of an answer.
const mostAnswer = 64 << 10

// plain heeds no proxy, and keeps no connections.
var plain = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// Answer is what a node says to one request.
type Answer struct {
	Status        int    `json:"-"`
	Code, Outcome string // of a refusal
}

// Ask sends a request as any client may, once, on a connection of its own. The
// error says that there was no answer.
func (n *Node) Ask(ctx context.Context, method, path, body string) (a Answer, err error) {
	req, err := http.NewRequestWithContext(ctx, method, n.URL+path, strings.NewReader(body))
	if err != nil {
		return a, err
	}
	req.Header.Set("X-Stateraft-Timeout", askedTimeout)
	if n.token != "" {
		req.Header.Set("Authorization", "Bearer "+n.token)
	}
	resp, err := plain.Do(req)
	if err != nil {
		return a, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, mostAnswer))
	if err != nil {
		return a, err
	}
	if resp.StatusCode >= http.StatusBadRequest {
		err = json.Unmarshal(text, &a)
	}
	a.Status = resp.StatusCode
	return a, err
}
