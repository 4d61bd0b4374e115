package client

import (
	"context"
	"net/url"
	"time"
)

// Keys is the administration of API keys. It needs the scope admin: then it
// sees to the keys of its own project, or with the root token to all.
type Keys struct{ c *Client }

// NewKey is what a key is to be.
type NewKey struct {
	Name     string        // for people
	Project  string        // whose state it reads and writes; empty: the project of whoever makes it
	Scopes   []string      // state:read, state:write, chat:write, admin, which includes the others
	Prefixes []string      // the workflow or subject must begin with one of them; none: any
	TTL      time.Duration // until it runs out, in steps of 1 ms, rounded up; 0: never
}

// Key is what may be known of an API key.
type Key struct {
	ID        string
	Name      string
	Project   string
	Scopes    []string
	Prefixes  []string
	CreatedAt time.Time
	ExpiresAt time.Time // zero: never
}

type newKeyBody struct {
	Name     string   `json:"name,omitempty"`
	Project  string   `json:"project,omitempty"`
	Scopes   []string `json:"scopes"`
	Prefixes []string `json:"prefixes,omitempty"`
	TTL      float64  `json:"ttl,omitempty"`
}

type keyBody struct {
	ID        string   `json:"id"`
	Token     string   `json:"token"`
	Name      string   `json:"name"`
	Project   string   `json:"project"`
	Scopes    []string `json:"scopes"`
	Prefixes  []string `json:"prefixes"`
	CreatedAt instant  `json:"createdAt"`
	ExpiresAt instant  `json:"expiresAt"`
}

func (b keyBody) key() Key {
	return Key{b.ID, b.Name, b.Project, b.Scopes, b.Prefixes, b.CreatedAt.Time, b.ExpiresAt.Time}
}

// Create makes a key and returns it with its token, which goes into
// Config.Token and cannot be had again. After ErrOutcomeUnknown there may be a
// key whose token nobody has: List shows it.
func (k *Keys) Create(ctx context.Context, key NewKey) (created Key, token string, err error) {
	scopes := append([]string{}, key.Scopes...) // an empty list, not null
	body, e := encode(newKeyBody{key.Name, key.Project, scopes, key.Prefixes, seconds(key.TTL)})
	if e != nil {
		return Key{}, "", e
	}
	var answer keyBody
	if err := k.c.do(ctx, &request{kind: write, method: "POST", path: "/v1/keys", body: body}, &answer); err != nil {
		return Key{}, "", err
	}
	return answer.key(), answer.Token, nil
}

// List returns the keys, the oldest first.
func (k *Keys) List(ctx context.Context) ([]Key, error) {
	var answer struct {
		Keys []keyBody `json:"keys"`
	}
	if err := k.c.do(ctx, &request{kind: read, method: "GET", path: "/v1/keys"}, &answer); err != nil {
		return nil, err
	}
	keys := make([]Key, len(answer.Keys))
	for i, b := range answer.Keys {
		keys[i] = b.key()
	}
	return keys, nil
}

// Revoke ends a key for good: every node refuses it, and its streams end. A key
// that is not there is ErrNotFound.
func (k *Keys) Revoke(ctx context.Context, id string) error {
	if err := checkSegment("key", id); err != nil {
		return err
	}
	return k.c.do(ctx, &request{kind: write, method: "DELETE", path: "/v1/keys/" + url.PathEscape(id)}, nil)
}
