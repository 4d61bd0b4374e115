package httpapi

import (
	"strings"
	"testing"
)

const (
	page  = "https://app.example"
	other = "https://evil.example"
)

func withOrigins(origins ...string) func(*Config) {
	return func(c *Config) { c.CORSOrigins = origins }
}

func TestPreflight(t *testing.T) {
	tests := []struct {
		name    string
		origins []string
		origin  string
		want    string // Access-Control-Allow-Origin
		vary    string
	}{
		{"configured", []string{"https://a.example", page}, page, page, "Origin"},
		{"another", []string{page}, other, "", "Origin"},
		{"another port", []string{page}, page + ":8443", "", "Origin"},
		{"any", []string{"*"}, other, "*", ""},
		{"none configured", nil, page, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x := newAPI(t, withOrigins(tt.origins...))
			a := x.do("OPTIONS", "/v1/state/wf/k", "", "Origin", tt.origin,
				"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "anthropic-version,content-type")
			if a.status != 204 || a.body != "" {
				t.Fatalf("got %d %s", a.status, a.body)
			}
			if got := a.header.Get("Access-Control-Allow-Origin"); got != tt.want {
				t.Errorf("allowed origin = %q, want %q", got, tt.want)
			}
			if got := a.header.Get("Vary"); got != tt.vary {
				t.Errorf("Vary = %q, want %q", got, tt.vary)
			}
			methods := a.header.Get("Access-Control-Allow-Methods")
			if tt.want == "" {
				if methods != "" {
					t.Errorf("methods for a foreign page: %s", methods)
				}
				return
			}
			if methods != "DELETE, GET, HEAD, POST, OPTIONS" {
				t.Errorf("methods = %s", methods)
			}
			headers := strings.ToLower(a.header.Get("Access-Control-Allow-Headers"))
			for _, want := range []string{
				"content-type", "if-match", "if-none-match", "idempotency-key", "authorization", "x-mnexium-key",
				"x-subject-id", "x-session-id", "x-stateraft-min-revision", "x-stateraft-timeout", "last-event-id", "x-openai-key",
				"anthropic-version",
			} {
				if !strings.Contains(headers, want) {
					t.Errorf("header %s is not allowed", want)
				}
			}
		})
	}
}

func TestCrossOriginRead(t *testing.T) {
	x := newAPI(t, withOrigins(page))
	a := x.refused(x.get(valuePath, "Origin", page), 404, "NOT_FOUND") // errors can be read too
	if a.header.Get("Access-Control-Allow-Origin") != page || a.header.Get("Vary") != "Origin" {
		t.Errorf("headers: %v", a.header)
	}
	exposed := a.header.Get("Access-Control-Expose-Headers")
	for _, want := range []string{"ETag", headerRevision, headerNode, "Retry-After"} {
		if !strings.Contains(exposed, want) {
			t.Errorf("%s is not exposed", want)
		}
	}
	a = x.get(valuePath, "Origin", other)
	if a.header.Get("Access-Control-Allow-Origin") != "" || a.header.Get("Vary") != "Origin" {
		t.Errorf("headers for a foreign page: %v", a.header)
	}
}

// A page that is not allowed must not write: browsers send a text/plain POST
// without asking.
func TestCrossOriginWrite(t *testing.T) {
	x := newAPI(t, withOrigins(page))
	const body = `{"value":1}`
	x.ok(x.post(valuePath, body, "Origin", page, "Sec-Fetch-Site", "cross-site"), "")
	x.ok(x.post(valuePath, body, "Origin", "http://example.com"), "") // the server's own host
	x.ok(x.post(valuePath, body, "Sec-Fetch-Site", "none"), "")
	x.ok(x.post(valuePath, body), "") // no browser
	before := x.revision()
	for _, headers := range [][]string{
		{"Origin", other},
		{"Origin", "null"},
		{"Origin", other, "Sec-Fetch-Site", "cross-site", "Content-Type", "text/plain"},
	} {
		a := x.refused(x.post(valuePath, body, headers...), 403, "FORBIDDEN")
		if a.json["outcome"] != "not_applied" || x.revision() != before {
			t.Errorf("%v: %s", headers, a.body)
		}
	}
	open := newAPI(t, withOrigins("*"))
	open.ok(open.post(valuePath, body, "Origin", other, "Sec-Fetch-Site", "cross-site"), "")
}
