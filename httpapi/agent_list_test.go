package httpapi

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// listed returns the keys of a list.
func (a answer) listed() (keys []string) {
	data, _ := a.json["data"].([]any)
	for _, e := range data {
		keys = append(keys, e.(map[string]any)["key"].(string))
	}
	return keys
}

func TestAgentList(t *testing.T) {
	x := newAPI(t)
	x.ok(x.as("s", "GET", "/api/v1/state", ""), `{"data":[],"count":0}`)
	for i, key := range []string{"tool:b", "tool:a", "flow/x", "current_task"} {
		x.put("/api/v1/state/"+key, fmt.Sprintf(`{"value":%d,"ttl_seconds":60}`, i), "X-Session-ID", fmt.Sprint("sess", i%2))
	}
	x.put("/api/v1/state/gone", `{"value":1}`)
	x.ok(x.as("s", "DELETE", "/api/v1/state/gone", ""), "")
	x.put("/api/v1/state/none", `{"value":null}`)
	tests := []struct {
		query string
		want  string // keys
		next  any
	}{
		{"", "current_task flow/x none tool:a tool:b", nil},
		{"?prefix=tool:", "tool:a tool:b", nil},
		{"?prefix=tool%3Ab", "tool:b", nil},
		{"?prefix=x", "", nil},
		{"?limit=2", "current_task flow/x", "flow/x"},
		{"?limit=2&after=flow/x", "none tool:a", "tool:a"},
		{"?limit=2&after=tool:a", "tool:b", nil},
		{"?limit=5", "current_task flow/x none tool:a tool:b", nil},
		{"?session_id=sess0", "flow/x tool:b", nil},
		{"?session_id=sess1&limit=1", "current_task", "current_task"},
		{"?session_id=", "none", nil},
		{"?session_id=other", "", nil},
		{"?consistency=stale", "current_task flow/x none tool:a tool:b", nil},
	}
	for _, tt := range tests {
		a := x.ok(x.as("s", "GET", "/api/v1/state"+tt.query, ""), "")
		if got := strings.Join(a.listed(), " "); got != tt.want || a.json["next"] != tt.next || a.number("count") != len(strings.Fields(tt.want)) {
			t.Errorf("%s: %s, want %s, next %v", tt.query, a.body, tt.want, tt.next)
		}
	}
	one := x.ok(x.as("s", "GET", "/api/v1/state/tool:a", ""), "")
	list := x.ok(x.as("s", "GET", "/api/v1/state?prefix=tool:a", ""), `{"data":[`+one.body+`],"count":1}`)
	if list.header.Get(headerRevision) != fmt.Sprint(x.revision()) {
		t.Errorf("headers: %v", list.header)
	}
}

// A list is read page by page, none larger than a page may be.
func TestAgentListPages(t *testing.T) {
	x := newAPI(t)
	var want []string
	for i := range 9 {
		key := fmt.Sprintf("k%02d", i)
		want = append(want, key)
		x.put("/api/v1/state/"+key, `{"value":"`+strings.Repeat("v", 1<<20-2)+`"}`)
	}
	var got []string
	for after := ""; ; {
		a := x.ok(x.as("s", "GET", "/api/v1/state?after="+after, ""), "")
		if len(a.body) > maxPageBytes {
			t.Errorf("a page of %d bytes", len(a.body))
		}
		got = append(got, a.listed()...)
		next, more := a.json["next"].(string)
		if !more {
			break
		}
		after = next
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
