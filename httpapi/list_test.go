package httpapi

import (
	"fmt"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestList(t *testing.T) {
	x := newAPI(t)
	for _, k := range []string{"b", "a", "ab", "é", "B", `q"\`, "c/d"} {
		x.ok(x.post("/v1/state/wf/"+url.PathEscape(k), `{"value":"`+url.PathEscape(k)+`"}`), "")
	}
	x.ok(x.delete("/v1/state/wf/b"), "")
	tests := []struct{ query, want string }{
		{"", `{"keys":["B","a","ab","c/d","q\"\\","é"]}`},
		{"prefix=a", `{"keys":["a","ab"]}`},
		{"prefix=&after=", `{"keys":["B","a","ab","c/d","q\"\\","é"]}`},
		{"prefix=x", `{"keys":[]}`},
		{"after=ab", `{"keys":["c/d","q\"\\","é"]}`},
		{"after=abc", `{"keys":["c/d","q\"\\","é"]}`}, // need not exist
		{"after=c%2Fd&reverse=true", `{"keys":["ab","a","B"]}`},
		{"reverse=true", `{"keys":["é","q\"\\","c/d","ab","a","B"]}`},
		{"reverse=false&limit=2", `{"keys":["B","a"],"next":"a"}`},
		{"limit=2&after=a", `{"keys":["ab","c/d"],"next":"c/d"}`},
		{"limit=2&after=c%2Fd", `{"keys":["q\"\\","é"]}`}, // ends exactly
		{"limit=6", `{"keys":["B","a","ab","c/d","q\"\\","é"]}`},
		{"limit=1&reverse=true&prefix=a", `{"keys":["ab"],"next":"ab"}`},
		{"limit=1&reverse=true&prefix=a&after=ab", `{"keys":["a"]}`},
		{"keys=names&limit=1", `{"keys":["B"],"next":"B"}`},
		{"consistency=stale&prefix=B", `{"keys":["B"]}`},
		{"values=true&prefix=a&limit=1",
			`{"keys":["a"],"entries":[{"key":"a","value":"a","version":1,"expiresAt":null,"updatedAt":"2026-11-21T12:00:01.000Z"}],"next":"a"}`},
		{"values=true&prefix=x", `{"keys":[],"entries":[]}`},
		{"values=false&prefix=B", `{"keys":["B"]}`},
		{"keys=objects&prefix=B",
			`{"keys":[{"key":"B","version":1,"createdAt":"2026-11-21T12:00:01.000Z","updatedAt":"2026-11-21T12:00:01.000Z","expiresAt":""}]}`},
	}
	for _, tt := range tests {
		t.Run(tt.query, func(t *testing.T) {
			a := x.get("/v1/state/wf?" + tt.query)
			if a.status != 200 || a.body != tt.want {
				t.Errorf("got %d %s, want %s", a.status, a.body, tt.want)
			}
			if got := a.header.Get(headerRevision); got != "8" {
				t.Errorf("revision = %q, want 8", got)
			}
		})
	}
	x.ok(x.get("/v1/state/unknown"), `{"keys":[]}`)
}

// The published Python client asks barely, and reads keys as objects.
func TestListForPublishedPythonClient(t *testing.T) {
	const httpx = "python-httpx/0.28.1"
	x := newAPI(t)
	x.ok(x.post("/v1/state/wf/k", `{"value":1,"ttl":60}`), "")
	const objects = `{"keys":[{"key":"k","version":1,"createdAt":"2026-11-21T12:00:01.000Z","updatedAt":"2026-11-21T12:00:01.000Z","expiresAt":"2026-11-21T12:01:01.000Z"}]}`
	const names = `{"keys":["k"]}`
	tests := []struct{ query, agent, want string }{
		{"", httpx, objects},
		{"", "curl/8.5.0", names},
		{"", "", names},
		{"", "my python-httpx/1", names},
		{"?limit=5", httpx, names},
		{"?keys=names", httpx, names},
		{"?keys=objects", "curl/8.5.0", objects},
	}
	for _, tt := range tests {
		x.ok(x.get("/v1/state/wf"+tt.query, "User-Agent", tt.agent), tt.want)
	}
}

// Following next visits every key once, in either direction.
func TestListPages(t *testing.T) {
	x := newAPI(t)
	x.ok(x.post("/v1/state/wf", `{"ops":[`+manyOps(100)+`]}`), "")
	all := x.ok(x.get("/v1/state/wf"), "").json["keys"].([]any)
	for _, query := range []string{"limit=7", "limit=7&values=true", "limit=7&reverse=true", "limit=50"} {
		var got []any
		after := ""
		for {
			a := x.ok(x.get("/v1/state/wf?"+query+"&after="+url.QueryEscape(after)), "")
			keys := a.json["keys"].([]any)
			got = append(got, keys...)
			next, more := a.json["next"].(string)
			if !more {
				break
			}
			if next != keys[len(keys)-1] {
				t.Fatalf("next = %q after %v", next, keys)
			}
			after = next
		}
		if strings.Contains(query, "reverse") {
			for i, j := 0, len(got)-1; i < j; i, j = i+1, j-1 {
				got[i], got[j] = got[j], got[i]
			}
		}
		if !reflect.DeepEqual(got, all) {
			t.Errorf("%s: got %v, want %v", query, got, all)
		}
	}
}

// A page with values has bounds of its own; a list of keys has none.
func TestListBounds(t *testing.T) {
	x := newAPI(t)
	for from := 0; from < 1100; from += 100 {
		var ops []string
		for i := from; i < from+100; i++ {
			ops = append(ops, fmt.Sprintf(`{"op":"set","key":"%04d","value":1}`, i))
		}
		x.ok(x.post("/v1/state/wf", `{"ops":[`+strings.Join(ops, ",")+`]}`), "")
	}
	count := func(query string) (keys int, next any) {
		a := x.ok(x.get("/v1/state/wf?"+query), "")
		return len(a.json["keys"].([]any)), a.json["next"]
	}
	if n, next := count(""); n != 1100 || next != nil {
		t.Errorf("all keys: %d, next %v", n, next)
	}
	if n, next := count("values=true"); n != 1000 || next != "0999" {
		t.Errorf("values: %d, next %v", n, next)
	}
	big := `{"value":"` + strings.Repeat("v", 1<<20-2) + `"}`
	for i := range 5 {
		x.ok(x.post(fmt.Sprintf("/v1/state/big/%d", i), big), "")
	}
	a := x.ok(x.get("/v1/state/big?values=true"), "")
	if n := len(a.json["entries"].([]any)); n != 3 || a.json["next"] != "2" {
		t.Errorf("%d entries of 1 MiB in a page, next %v", n, a.json["next"])
	}
	for range 40 {
		var ops []string
		for i := range 128 {
			ops = append(ops, fmt.Sprintf(`{"op":"set","key":"%s%d","value":%q}`, strings.Repeat("k", 500), x.revision()+uint64(i), strings.Repeat("v", 500)))
		}
		x.ok(x.post("/v1/state/long", `{"ops":[`+strings.Join(ops, ",")+`]}`), "")
	}
	if a := x.ok(x.get("/v1/state/long?values=true&limit=10000"), ""); len(a.body) > maxPageBytes || len(a.body) < maxPageBytes*9/10 || a.json["next"] == nil {
		t.Errorf("a page of %d bytes, next %v", len(a.body), a.json["next"])
	}
	if n := len(x.ok(x.get("/v1/state/big"), "").json["keys"].([]any)); n != 5 {
		t.Errorf("%d keys", n)
	}
}

func TestListLeavesOutExpired(t *testing.T) {
	x := newAPI(t)
	x.ok(x.post("/v1/state/wf/a", `{"value":1,"ttl":1}`), "")
	x.ok(x.post("/v1/state/wf/b", `{"value":1,"ttl":2}`), "")
	x.cluster.advance(t, time.Second)
	x.ok(x.get("/v1/state/wf"), `{"keys":["b"]}`)
}
