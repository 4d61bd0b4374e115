package wire

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
)

func method(r Request) string {
	switch {
	case r.Kind == history.Get, r.Kind == history.List:
		return http.MethodGet
	case r.Kind == history.Delete:
		return http.MethodDelete
	case r.Agent:
		return http.MethodPut
	}
	return http.MethodPost
}

// target is the path and the query of the request.
func (r Request) target() string {
	path := "/v1/state/" + url.PathEscape(r.Workflow)
	if r.Agent {
		path = "/api/v1/state"
	}
	if r.Kind != history.List && r.Kind != history.Atomic {
		path += "/" + url.PathEscape(r.Key)
	}
	if r.Kind == history.SetAt {
		path += "/version"
	}
	if query := r.query(); len(query) > 0 {
		path += "?" + query.Encode()
	}
	return path
}

func (r Request) query() url.Values {
	query := url.Values{}
	if r.Stale {
		query.Set("consistency", "stale")
	}
	if r.Current {
		query.Set("returnCurrent", "true")
	}
	if r.Kind != history.List {
		return query
	}
	if !r.Agent {
		query.Set("values", "true")
	}
	for name, value := range map[string]string{"prefix": r.Query.Prefix, "after": r.Query.After} {
		if value != "" {
			query.Set(name, value)
		}
	}
	if r.Query.Limit > 0 {
		query.Set("limit", strconv.Itoa(r.Query.Limit))
	}
	if r.Query.Reverse {
		query.Set("reverse", "true")
	}
	return query
}

func (r Request) headers() map[string]string {
	h := map[string]string{}
	if r.Agent {
		h["X-Subject-ID"] = r.Workflow
	}
	if r.MinRevision > 0 {
		h["X-Stateraft-Min-Revision"] = strconv.FormatUint(r.MinRevision, 10)
	}
	if r.Idempotency != "" {
		h["idempotency-key"] = r.Idempotency // in this case: net/http sends such a request again by itself if it knows the header
	}
	version := `"` + strconv.FormatUint(r.Expected, 10) + `"`
	switch r.If {
	case history.IfVersion:
		h["If-Match"] = version
	case history.IfExists:
		h["If-Match"] = "*"
	case history.IfAbsent:
		h["If-None-Match"] = "*"
	case history.IfChanged:
		h["If-None-Match"] = version
	}
	return h
}

// body is that of a write; nil: there is none.
func (r Request) body() io.Reader {
	body := map[string]any{}
	switch r.Kind {
	case history.Atomic:
		body["ops"] = operations(r.Steps)
	case history.SetAt:
		body["expectedVersion"] = r.Expected
		fallthrough
	case history.Set:
		body["value"] = json.RawMessage(r.Value)
		if r.TTL > 0 && r.Agent {
			body["ttl_seconds"] = r.TTL.Seconds()
		} else if r.TTL > 0 {
			body["ttl"] = r.TTL.Seconds()
		}
	default:
		return nil
	}
	text, err := json.Marshal(body)
	if err != nil {
		panic(err) // a value that is no JSON text is a bug of a workload
	}
	return bytes.NewReader(text)
}

func operations(steps []history.Step) []map[string]any {
	var ops []map[string]any
	for _, s := range steps {
		op := map[string]any{"op": s.Kind, "key": s.Key}
		switch s.Kind {
		case history.Set:
			op["value"] = json.RawMessage(s.Value)
		case history.Get:
			op["op"] = "check"
		}
		if s.Expected != nil {
			op["expectedVersion"] = *s.Expected
		}
		ops = append(ops, op)
	}
	return ops
}
