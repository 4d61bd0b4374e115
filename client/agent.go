package client

import (
	"context"
	"encoding/json"
	"iter"
	"net/url"
	"strings"
	"time"
)

const (
	headerSubject = "X-Subject-ID"
	headerSession = "X-Session-ID"
)

// Agent is Agent State: versioned JSON values under (subject, key), where a
// subject is a user or an agent. It shares no key with the State Store.
type Agent struct{ c *Client }

// AgentEntry is a key as it was read.
type AgentEntry struct {
	Key       string
	Value     json.RawMessage // as it was set, less white space between tokens
	Version   uint64
	Session   string // of the last writer; empty: none
	CreatedAt time.Time
	UpdatedAt time.Time
	ExpiresAt time.Time // zero: no end
}

// Decode unmarshals the value.
func (e AgentEntry) Decode(into any) error { return decodeValue(e.Key, e.Value, into) }

type agentEntryBody struct {
	Key       string          `json:"key"`
	Value     json.RawMessage `json:"value"`
	Version   uint64          `json:"version"`
	Session   string          `json:"session_id"`
	CreatedAt instant         `json:"created_at"`
	UpdatedAt instant         `json:"updated_at"`
	ExpiresAt instant         `json:"expires_at"`
}

func (b agentEntryBody) entry() AgentEntry {
	return AgentEntry{b.Key, b.Value, b.Version, b.Session, b.CreatedAt.Time, b.UpdatedAt.Time, b.ExpiresAt.Time}
}

// Get reads a key. An absent one is ErrNotFound.
func (a *Agent) Get(ctx context.Context, subject, key string, opts ...ReadOption) (AgentEntry, error) {
	path, err := agentPath(subject, key)
	if err != nil {
		return AgentEntry{}, err
	}
	var body agentEntryBody
	if err := a.c.do(ctx, a.read(subject, path, opts), &body); err != nil {
		return AgentEntry{}, err
	}
	return body.entry(), nil
}

type agentSetBody struct {
	Value any     `json:"value"`
	TTL   float64 `json:"ttl_seconds,omitempty"`
}

// Set stores value, which is marshalled as encoding/json does, and returns the
// key's new version. It replaces value, TTL and session. Of the options it takes
// all but ReturnCurrent.
func (a *Agent) Set(ctx context.Context, subject, key string, value any, opts ...WriteOption) (uint64, error) {
	o := gatherWrite(opts)
	body, err := encode(agentSetBody{value, seconds(o.ttl)})
	if err != nil {
		return 0, err
	}
	r, err := agentWrite("PUT", subject, key, o)
	if err != nil {
		return 0, err
	}
	if o.session != "" {
		r.setHeader(headerSession, o.session)
	}
	r.body = body
	var answer versionBody
	if err := a.c.do(ctx, r, &answer); err != nil {
		return 0, err
	}
	return answer.Version, nil
}

// Delete removes a key. That there is none is no error.
func (a *Agent) Delete(ctx context.Context, subject, key string, opts ...WriteOption) error {
	o := gatherWrite(opts)
	if o.ttl != 0 || o.session != "" {
		return refuse(ErrInvalidRequest, "a delete has neither TTL nor session")
	}
	r, err := agentWrite("DELETE", subject, key, o)
	if err != nil {
		return err
	}
	return a.c.do(ctx, r, nil)
}

// agentWrite returns a write of a key, less its body.
func agentWrite(method, subject, key string, o writeOptions) (*request, *Error) {
	path, err := agentPath(subject, key)
	if err != nil {
		return nil, err
	}
	if o.returnCurrent {
		return nil, refuse(ErrInvalidRequest, "a conflict of agent state has no current value to return")
	}
	r := &request{kind: o.kind(false), method: method, path: path}
	r.setHeader(headerSubject, subject)
	return r, o.apply(r)
}

// AgentQuery selects keys of one subject, in the order of their bytes.
type AgentQuery struct {
	Prefix  string  // only keys that begin so
	After   string  // begin behind this key
	Limit   int     // most entries of one page, up to 10,000; 0: 1,000
	Session *string // only keys that were written last in this session, "" for none; nil: in whichever
}

// AgentPage is a piece of a list.
type AgentPage struct {
	Entries []AgentEntry
	Next    string // goes into AgentQuery.After for the next page; empty: this is the last
}

// List reads one page of a subject's keys with their values. A subject without
// keys has an empty page.
func (a *Agent) List(ctx context.Context, subject string, q AgentQuery, opts ...ReadOption) (AgentPage, error) {
	if err := checkSubject(subject); err != nil {
		return AgentPage{}, err
	}
	r := a.read(subject, agentStatePath, opts)
	q.apply(r)
	var body struct {
		Data []agentEntryBody `json:"data"`
		Next string           `json:"next"`
	}
	if err := a.c.do(ctx, r, &body); err != nil {
		return AgentPage{}, err
	}
	page := AgentPage{Next: body.Next}
	for _, e := range body.Data {
		page.Entries = append(page.Entries, e.entry())
	}
	return page, nil
}

func (q AgentQuery) apply(r *request) {
	r.setRange(q.Prefix, q.After, q.Limit)
	if q.Session != nil {
		r.setQuery("session_id", *q.Session)
	}
}

// Pages reads a list to its end, as State.Pages does.
func (a *Agent) Pages(ctx context.Context, subject string, q AgentQuery, opts ...ReadOption) iter.Seq2[AgentPage, error] {
	if q.Limit == 0 {
		q.Limit = pageLimit
	}
	return pages(q.After, func(after string) (AgentPage, string, error) {
		q := q
		q.After = after
		page, err := a.List(ctx, subject, q, opts...)
		return page, page.Next, err
	})
}

// Subscribe tells the changes of a key, as State.Subscribe does.
func (a *Agent) Subscribe(ctx context.Context, subject, key string, opts ...SubscribeOption) (*Subscription, error) {
	path, err := agentPath(subject, key)
	if err != nil {
		return nil, err
	}
	o := gatherSubscribe(opts)
	if o.prefix != "" {
		return nil, refuse(ErrInvalidRequest, "a prefix goes with SubscribeSubject")
	}
	return a.c.subscribe(ctx, topic{path: path, subject: subject}, o)
}

// SubscribeSubject is Subscribe for all keys of a subject.
func (a *Agent) SubscribeSubject(ctx context.Context, subject string, opts ...SubscribeOption) (*Subscription, error) {
	if err := checkSubject(subject); err != nil {
		return nil, err
	}
	return a.c.subscribe(ctx, topic{path: agentStatePath, subject: subject}, gatherSubscribe(opts))
}

func (a *Agent) read(subject, path string, opts []ReadOption) *request {
	r := a.c.readRequest(path, opts)
	r.setHeader(headerSubject, subject)
	return r
}

const agentStatePath = "/api/v1/state"

// agentPath returns the path of a key. None of the key's segments may be one
// that a server on the way could take for another path.
func agentPath(subject, key string) (string, *Error) {
	if err := checkSubject(subject); err != nil {
		return "", err
	}
	if key == "" {
		return "", checkSegment("key", key)
	}
	for segment := range strings.SplitSeq(key, "/") {
		if segment == "" {
			continue
		}
		if err := checkSegment("a segment of the key", segment); err != nil {
			return "", err
		}
	}
	return agentStatePath + "/" + url.PathEscape(key), nil
}

// checkSubject refuses what is no subject, or would be another one once it has
// travelled in a header.
func checkSubject(subject string) *Error {
	if err := checkSegment("subject", subject); err != nil {
		return err
	}
	if !fitsHeader(subject) {
		return refuse(ErrInvalidKey, "subject has control characters, or white space at an end")
	}
	return nil
}
