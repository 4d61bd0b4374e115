package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
)

// NewKey is an API key to be made.
type NewKey struct {
	Project  string   `json:"project"`
	Scopes   []string `json:"scopes"`
	Prefixes []string `json:"prefixes,omitempty"`
}

// Grant makes an API key and returns its id and its token.
func (n *Node) Grant(ctx context.Context, key NewKey) (id, token string, a Answer) {
	text, err := json.Marshal(key)
	if err != nil {
		panic(err) // strings are JSON
	}
	var made struct{ ID, Token string }
	a = n.ask(ctx, http.MethodPost, "/v1/keys", text, &made)
	if a.Outcome == history.OK && made.Token == "" {
		a = Answer{Outcome: history.Unknown, Error: "a key without a token"}
	}
	return made.ID, made.Token, a
}

// Revoke ends an API key.
func (n *Node) Revoke(ctx context.Context, id string) Answer {
	a := n.ask(ctx, http.MethodDelete, "/v1/keys/"+url.PathEscape(id), nil, nil)
	if a.Error == "NOT_FOUND" { // an earlier try has done it
		a = Answer{Outcome: history.OK}
	}
	return a
}

// ask makes a request that is a write of something else than a user's key.
func (n *Node) ask(ctx context.Context, method, path string, body []byte, into any) Answer {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, n.base+path, bytes.NewReader(body))
	if err != nil {
		return Answer{Outcome: history.Refused, Error: err.Error()}
	}
	n.authorize(req, "")
	req.Header.Set("X-Stateraft-Timeout", nodeTimeout)
	resp, err := n.http.Do(req)
	if err != nil {
		return noAnswer(history.Set, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return noAnswer(history.Set, err)
	}
	a := read(Request{Kind: history.Set}, resp.StatusCode, text)
	a.Revision, _ = strconv.ParseUint(resp.Header.Get("X-Stateraft-Revision"), 10, 64)
	if a.Outcome == history.OK && into != nil {
		if err := json.Unmarshal(text, into); err != nil {
			return Answer{Outcome: history.Unknown, Error: err.Error()}
		}
	}
	return a
}
