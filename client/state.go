package client

import (
	"context"
	"encoding/json"
	"iter"
	"time"
)

// State is the State Store: versioned JSON values under (workflow, key).
type State struct{ c *Client }

// Entry is a key as it was read.
type Entry struct {
	Key       string
	Value     json.RawMessage // as it was set, less white space between tokens
	Version   uint64
	UpdatedAt time.Time // zero if the node did not tell
	ExpiresAt time.Time // zero: no end
}

// Decode unmarshals the value.
func (e Entry) Decode(into any) error { return decodeValue(e.Key, e.Value, into) }

type entryBody struct {
	Key       string          `json:"key"`
	Value     json.RawMessage `json:"value"`
	Version   uint64          `json:"version"`
	UpdatedAt instant         `json:"updatedAt"`
	ExpiresAt instant         `json:"expiresAt"`
}

func (b entryBody) entry() Entry {
	return Entry{b.Key, b.Value, b.Version, b.UpdatedAt.Time, b.ExpiresAt.Time}
}

// Get reads a key. An absent one is ErrNotFound.
func (s *State) Get(ctx context.Context, workflow, key string, opts ...ReadOption) (Entry, error) {
	path, err := keyPath(workflow, key)
	if err != nil {
		return Entry{}, err
	}
	body := entryBody{Key: key}
	if err := s.c.do(ctx, s.c.readRequest(path, opts), &body); err != nil {
		return Entry{}, err
	}
	return body.entry(), nil
}

type setBody struct {
	Value           any     `json:"value"`
	TTL             float64 `json:"ttl,omitempty"`
	ExpectedVersion *uint64 `json:"expectedVersion,omitempty"`
}

type versionBody struct {
	Version uint64 `json:"version"`
}

// Set stores value, which is marshalled as encoding/json does, and returns the
// key's new version. It replaces both value and TTL.
func (s *State) Set(ctx context.Context, workflow, key string, value any, opts ...WriteOption) (uint64, error) {
	return s.set(ctx, workflow, key, "", setBody{Value: value}, gatherWrite(opts))
}

// SetWithVersion stores value only if the key is at the expected version; 0: if
// it is absent. Else it fails with ErrVersionConflict, and the error tells the
// current version.
func (s *State) SetWithVersion(ctx context.Context, workflow, key string, value any, expected uint64, opts ...WriteOption) (uint64, error) {
	o := gatherWrite(opts)
	if o.condition.header != "" {
		return 0, refuse(ErrInvalidRequest, "the expected version is the condition; %s goes with Set", o.condition.header)
	}
	return s.set(ctx, workflow, key, "/version", setBody{Value: value, ExpectedVersion: &expected}, o)
}

func (s *State) set(ctx context.Context, workflow, key, suffix string, body setBody, o writeOptions) (uint64, error) {
	path, err := keyPath(workflow, key)
	if err != nil {
		return 0, err
	}
	if o.session != "" {
		return 0, refuse(ErrInvalidRequest, "a session goes with Agent.Set")
	}
	body.TTL = seconds(o.ttl)
	encoded, err := encode(body)
	if err != nil {
		return 0, err
	}
	atVersion := body.ExpectedVersion != nil && *body.ExpectedVersion > 0
	r := &request{kind: o.kind(atVersion), method: "POST", path: path + suffix, body: encoded}
	if err := o.apply(r); err != nil {
		return 0, err
	}
	var answer versionBody
	if err := s.c.do(ctx, r, &answer); err != nil {
		return 0, err
	}
	return answer.Version, nil
}

// Delete removes a key and reports whether it was there.
func (s *State) Delete(ctx context.Context, workflow, key string, opts ...WriteOption) (bool, error) {
	path, err := keyPath(workflow, key)
	if err != nil {
		return false, err
	}
	o := gatherWrite(opts)
	if o.ttl != 0 || o.session != "" {
		return false, refuse(ErrInvalidRequest, "a delete has neither TTL nor session")
	}
	r := &request{kind: o.kind(false), method: "DELETE", path: path}
	if err := o.apply(r); err != nil {
		return false, err
	}
	var answer struct {
		Deleted bool `json:"deleted"`
	}
	if err := s.c.do(ctx, r, &answer); err != nil {
		return false, err
	}
	return answer.Deleted, nil
}

// Query selects keys of one workflow, in the order of their bytes.
type Query struct {
	Prefix  string // only keys that begin so
	After   string // begin behind this key, in the direction of the list
	Reverse bool
	Limit   int  // most keys of one page; 0: all, or 1,000 with Values
	Values  bool // entries beside the keys
}

// Page is a piece of a list.
type Page struct {
	Keys    []string
	Entries []Entry // with Query.Values
	Next    string  // goes into Query.After for the next page; empty: this is the last
}

// List reads one page of a workflow's keys. A workflow without keys has an
// empty page.
func (s *State) List(ctx context.Context, workflow string, q Query, opts ...ReadOption) (Page, error) {
	path, err := workflowPath(workflow)
	if err != nil {
		return Page{}, err
	}
	r := s.c.readRequest(path, opts)
	q.apply(r)
	var body struct {
		Keys    []string    `json:"keys"`
		Entries []entryBody `json:"entries"`
		Next    string      `json:"next"`
	}
	if err := s.c.do(ctx, r, &body); err != nil {
		return Page{}, err
	}
	page := Page{Keys: body.Keys, Next: body.Next}
	for _, e := range body.Entries {
		page.Entries = append(page.Entries, e.entry())
	}
	return page, nil
}

func (q Query) apply(r *request) {
	r.setRange(q.Prefix, q.After, q.Limit)
	if q.Reverse {
		r.setQuery("reverse", "true")
	}
	if q.Values {
		r.setQuery("values", "true")
	}
}

// pageLimit is Pages' where the query has none.
const pageLimit = 1000

// Pages reads a list to its end, page by page, of 1,000 keys if the query sets
// no limit. Each page is read when it is asked for, so keys that change
// meanwhile may be seen as they were or as they became; each key comes at most
// once. After an error, which comes with an empty page, there is nothing more.
func (s *State) Pages(ctx context.Context, workflow string, q Query, opts ...ReadOption) iter.Seq2[Page, error] {
	if q.Limit == 0 {
		q.Limit = pageLimit
	}
	return pages(q.After, func(after string) (Page, string, error) {
		q := q
		q.After = after
		page, err := s.List(ctx, workflow, q, opts...)
		return page, page.Next, err
	})
}

// pages reads page after page; list returns one and where the next begins.
func pages[P any](after string, list func(after string) (page P, next string, err error)) iter.Seq2[P, error] {
	return func(yield func(P, error) bool) {
		for after := after; ; {
			page, next, err := list(after)
			if err == nil && next != "" && next == after {
				err = &Error{Code: ErrBadResponse, Message: "the list does not advance", Outcome: OutcomeNotApplied}
			}
			if err != nil {
				var none P
				yield(none, err)
				return
			}
			if !yield(page, nil) || next == "" {
				return
			}
			after = next
		}
	}
}
