package main

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/stateraft/stateraft/client"
)

// entryJSON is an entry as --output json tells it: as the wire contract does.
type entryJSON struct {
	Key       string          `json:"key"`
	Value     json.RawMessage `json:"value"`
	Version   uint64          `json:"version"`
	ExpiresAt *string         `json:"expiresAt"`
	UpdatedAt *string         `json:"updatedAt"`
}

func newEntryJSON(e client.Entry) entryJSON {
	return entryJSON{e.Key, e.Value, e.Version, instantJSON(e.ExpiresAt), instantJSON(e.UpdatedAt)}
}

func instantJSON(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	s := formatInstant(t)
	return &s
}

// formatInstant is RFC 3339 in UTC with milliseconds; empty for none.
func formatInstant(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z07:00")
}

// entryTable shows entries with one row each.
func entryTable(entries []client.Entry, value func(json.RawMessage) string) table {
	t := table{columns: []column{{title: "KEY"}, {title: "VERSION", right: true}, {title: "UPDATED"}, {title: "EXPIRES"}, {title: "VALUE"}}}
	for _, e := range entries {
		t.add(e.Key, strconv.FormatUint(e.Version, 10), formatInstant(e.UpdatedAt), formatInstant(e.ExpiresAt), value(e.Value))
	}
	return t
}
