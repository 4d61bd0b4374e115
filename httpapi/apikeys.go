package httpapi

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/stateraft/stateraft/fsm"
	"github.com/stateraft/stateraft/fsm/fsmpb"
	"github.com/stateraft/stateraft/httpapi/auth"
	"github.com/stateraft/stateraft/httpapi/internal/jsonscan"
)

// maxAPIKeys bounds how many there are, in all projects.
const maxAPIKeys = 10_000

// An apiKey is a key as its administrators see it.
type apiKey struct {
	ID        string   `json:"id"`
	Token     string   `json:"token,omitempty"` // only in the answer that makes the key
	Name      string   `json:"name"`
	Project   string   `json:"project"`
	Scopes    []string `json:"scopes"`
	Prefixes  []string `json:"prefixes"`
	CreatedAt string   `json:"createdAt"`
	ExpiresAt *string  `json:"expiresAt"`
}

func newAPIKey(id string, r auth.Record, created, expires time.Time) apiKey {
	k := apiKey{
		ID: id, Name: r.Name, Project: r.Project, Scopes: r.Scopes.Names(),
		Prefixes:  append([]string{}, r.Prefixes...), // an empty list, not null
		CreatedAt: created.UTC().Format(instantFormat),
	}
	if !expires.IsZero() {
		at := expires.UTC().Format(instantFormat)
		k.ExpiresAt = &at
	}
	return k
}

// createAPIKey serves POST /v1/keys. The token is in this answer and nowhere
// else.
func (s *Server) createAPIKey(w http.ResponseWriter, r *request) error {
	if _, sent := r.Header[headerIdempotency]; sent {
		return refuse(codeInvalidRequest, "header %s is not for making keys: a token cannot be told twice", headerIdempotency)
	}
	if err := noPrecondition(r); err != nil {
		return err
	}
	body, err := s.readBody(w, r, maxSmallBody)
	if err != nil {
		return err
	}
	record, ttl, err := parseAPIKey(body, r.principal)
	if err != nil {
		return err
	}
	if s.cluster.State().List(auth.Namespace, fsm.Query{Limit: maxAPIKeys - 1}).More {
		return refuse(codeOverloaded, "there are %d API keys already: revoke those that are not needed", maxAPIKeys)
	}
	token, id, hash := auth.NewToken()
	record.Hash = hash
	a, err := s.storeAPIKey(w, r, id, record, ttl)
	if err != nil {
		return err
	}
	var expires time.Time
	if ttl > 0 {
		expires = s.cluster.State().Shown(a.Time + ttl)
	}
	k := newAPIKey(id, record, s.cluster.State().Shown(a.Time), expires)
	k.Token = token
	w.Header().Set("Cache-Control", "no-store")
	s.log.Info("an API key was made", "id", id, "project", record.Project, "by", r.principal.ID)
	return writeDocument(w, k)
}

func (s *Server) storeAPIKey(w http.ResponseWriter, r *request, id string, record auth.Record, ttl int64) (*fsmpb.Answer, error) {
	value, err := record.Encode()
	if err != nil {
		return nil, fmt.Errorf("encode the record of an API key: %w", err)
	}
	op := &fsmpb.Op{Kind: fsmpb.Op_SET, Key: id, Value: value, Ttl: ttl}
	atVersion(op, 0)
	return s.propose(w, r, &fsmpb.Command{Namespace: auth.Namespace, Ops: []*fsmpb.Op{op}})
}

// parseAPIKey reads what a key is to be. by is who makes it.
func parseAPIKey(body []byte, by auth.Principal) (record auth.Record, keyTTL int64, err error) {
	f, err := fields(body, "", "name", "project", "scopes", "prefixes", "ttl")
	if err != nil {
		return record, 0, err
	}
	if record.Name, err = optionalText(f[0], "name", ""); err != nil {
		return record, 0, err
	}
	if record.Project, err = optionalText(f[1], "project", by.Project); err != nil {
		return record, 0, err
	}
	scopes, err := texts(f[2], "scopes")
	if err != nil {
		return record, 0, err
	}
	if record.Scopes, err = auth.ParseScopes(scopes); err != nil {
		return record, 0, refuse(codeInvalidRequest, "scopes %s", err)
	}
	if record.Prefixes, err = texts(f[3], "prefixes"); err != nil {
		return record, 0, err
	}
	if err := record.Check(); err != nil {
		return record, 0, refuse(codeInvalidRequest, "%s", err)
	}
	if record.Project != by.Project && !by.IsRoot() {
		return record, 0, refuse(codeForbidden, "only the root token makes keys of another project than its own")
	}
	keyTTL, err = ttl(f[4], "ttl")
	return record, keyTTL, err
}

func optionalText(raw []byte, name, otherwise string) (string, error) {
	if raw == nil {
		return otherwise, nil
	}
	return text(raw, name)
}

// texts reads an array of strings; absent is none. Arrays that are much too
// long are cut: whoever checks their length finds them too long still.
func texts(raw []byte, name string) ([]string, error) {
	const most = 64
	if raw == nil {
		return nil, nil
	}
	if raw[0] != '[' {
		return nil, refuse(codeInvalidRequest, "%s must be an array of strings, not %s", name, jsonscan.Kind(raw))
	}
	var list []string
	for i, item := range elements(raw, most) {
		s, err := text(item, fmt.Sprintf("%s[%d]", name, i))
		if err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	return list, nil
}

// listAPIKeys serves GET /v1/keys: the keys of the sender's project, or of all
// projects for the root token, the oldest first.
func (s *Server) listAPIKeys(w http.ResponseWriter, r *request) error {
	state, err := s.consistent(r)
	if err != nil {
		return err
	}
	page := state.List(auth.Namespace, fsm.Query{})
	slices.SortStableFunc(page.Entries, func(a, b fsm.Entry) int { return cmp.Compare(a.Revision, b.Revision) })
	keys := []apiKey{} // an empty list, not null
	for _, e := range page.Entries {
		record, err := auth.DecodeRecord(e.Value)
		if err != nil {
			return fmt.Errorf("the record of API key %s: %w", e.Key, err)
		}
		if sees(r.principal, record) {
			keys = append(keys, newAPIKey(e.Key, record, e.CreatedAt, e.ExpiresAt))
		}
	}
	setRevision(w, page.Point.Revision)
	w.Header().Set("Cache-Control", "no-store")
	return writeDocument(w, map[string][]apiKey{"keys": keys})
}

// sees reports whether p administers a key.
func sees(p auth.Principal, r auth.Record) bool { return p.IsRoot() || p.Project == r.Project }

// revokeAPIKey serves DELETE /v1/keys/{id}. A key that is not there is
// proposed too, so that a request that is sent again under its
// Idempotency-Key gets its first answer.
func (s *Server) revokeAPIKey(w http.ResponseWriter, r *request) error {
	id, err := r.segment(segMember)
	if err != nil {
		return err
	}
	if err := noPrecondition(r); err != nil {
		return err
	}
	if _, err := s.readOptional(w, r); err != nil {
		return err
	}
	if err := s.checkRevocable(r, id); err != nil {
		return err
	}
	op := &fsmpb.Op{Kind: fsmpb.Op_DELETE, Key: id}
	a, err := s.propose(w, r, &fsmpb.Command{Namespace: auth.Namespace, Ops: []*fsmpb.Op{op}})
	if err != nil {
		return err
	}
	if !a.Results[0].Deleted {
		return errNoAPIKey
	}
	s.log.Info("an API key was revoked", "id", id, "by", r.principal.ID)
	return writeOK(w)
}

var errNoAPIKey = refuse(codeNotFound, "there is no API key of this id")

func (s *Server) checkRevocable(r *request, id string) error {
	if !auth.IsID(id) {
		return errNoAPIKey
	}
	data, err := s.lookupKey(r.Context(), id)
	if err != nil || data == nil {
		return err
	}
	record, err := auth.DecodeRecord(data)
	if err != nil {
		return fmt.Errorf("the record of API key %s: %w", id, err)
	}
	if !sees(r.principal, record) {
		return errNoAPIKey
	}
	return nil
}
