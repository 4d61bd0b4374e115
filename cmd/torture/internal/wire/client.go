package wire

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/stateraft/stateraft/client"
	"github.com/stateraft/stateraft/cmd/torture/internal/history"
)

// Client is the Go client, with its retries at other nodes.
type Client struct{ c *client.Client }

// NewClient returns a client of nodes, the first of which it asks first. Stale
// reads carry the token they are given and no other.
func NewClient(urls []string, token string) (*Client, error) {
	c, err := client.New(client.Config{Endpoints: urls, Token: token, Timeout: Patience, AttemptTimeout: Patience / 2, NoReadYourWrites: true})
	if err != nil {
		return nil, err
	}
	return &Client{c}, nil
}

// Name is empty: the client chooses the node.
func (c *Client) Name() string { return "" }

// State gives access to what Do does not cover.
func (c *Client) State() *client.State { return c.c.State }

// Do makes the request, in as many attempts as the client thinks right.
func (c *Client) Do(ctx context.Context, r Request) Answer {
	var a Answer
	var err error
	value := json.RawMessage(r.Value)
	switch r.Kind {
	case history.Get:
		a.Value, a.Version, err = c.get(ctx, r)
		a.Found = err == nil
	case history.Set:
		a.Version, err = c.c.State.Set(ctx, r.Workflow, r.Key, value, r.options()...)
	case history.SetAt:
		a.Version, err = c.c.State.SetWithVersion(ctx, r.Workflow, r.Key, value, r.Expected, r.options()...)
	case history.Delete:
		a.Found, err = c.c.State.Delete(ctx, r.Workflow, r.Key, r.options()...)
	}
	if err != nil {
		return failed(r.Kind, err)
	}
	a.Outcome = history.OK
	return a
}

func (c *Client) get(ctx context.Context, r Request) (string, uint64, error) {
	var opts []client.ReadOption
	if r.Stale {
		opts = append(opts, client.Stale())
	}
	if r.MinRevision > 0 {
		opts = append(opts, client.MinRevision(r.MinRevision))
	}
	e, err := c.c.State.Get(ctx, r.Workflow, r.Key, opts...)
	return string(e.Value), e.Version, err
}

func (r Request) options() []client.WriteOption {
	var opts []client.WriteOption
	if r.TTL > 0 {
		opts = append(opts, client.WithTTL(r.TTL))
	}
	if r.Idempotency != "" {
		opts = append(opts, client.WithIdempotencyKey(r.Idempotency))
	}
	if r.Current {
		opts = append(opts, client.ReturnCurrent())
	}
	switch r.If {
	case history.IfVersion:
		opts = append(opts, client.IfVersion(r.Expected))
	case history.IfExists:
		opts = append(opts, client.IfExists())
	case history.IfAbsent:
		opts = append(opts, client.IfAbsent())
	}
	return opts
}

func failed(kind history.Kind, err error) Answer {
	var e *client.Error
	errors.As(err, &e) // every error of a call is one
	switch {
	case kind == history.Get && e.Code == client.ErrNotFound:
		return Answer{Outcome: history.OK}
	case e.Code == client.ErrVersionConflict && e.Outcome == client.OutcomeNotApplied:
		return Answer{Outcome: history.OK, Conflict: true, Version: e.CurrentVersion, Present: string(e.CurrentValue)}
	case kind != history.Get && e.Outcome == client.OutcomeUnknown:
		return Answer{Outcome: history.Unknown, Error: string(e.Code)}
	}
	return Answer{Outcome: history.Refused, Error: string(e.Code)}
}
