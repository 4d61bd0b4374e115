package proxy

import (
	"mime"
	"net/http"
	"net/textproto"
	"strings"

	"github.com/stateraft/stateraft/httpapi/inject"
)

// Headers that carry keys. No name of a header here is ever forwarded as such,
// but for those set anew in setKeys.
const (
	headerOurKey       = "X-Mnexium-Key"
	headerOurOtherKey  = "X-Cntrlnode-Key"
	headerOpenAIKey    = "X-Openai-Key"
	headerAnthropicKey = "X-Anthropic-Key"
	headerAPIKey       = "X-Api-Key"
	headerAuth         = "Authorization"
)

// hopByHop are the headers of one connection, both ways.
var hopByHop = set(
	"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection",
	"Te", "Trailer", "Transfer-Encoding", "Upgrade",
)

// notForwarded are request headers that end here: keys, what is ours, and what
// is between the caller, the browser it runs in and this server.
var notForwarded = set(
	headerOurKey, headerOurOtherKey, headerOpenAIKey, headerAnthropicKey, headerAPIKey, headerAuth, "X-Google-Key",
	"X-Subject-Id", "X-Session-Id",
	"Cookie", "Origin", "Referer", "Expect", "Host", "Content-Length",
	"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto",
)

// notReturned are response headers by which an upstream would speak for this
// server's origin.
var notReturned = set("Set-Cookie", "Alt-Svc", "Strict-Transport-Security")

// requestHeader returns the header of the request upstream.
func requestHeader(in http.Header, api inject.API, plain bool) http.Header {
	out := make(http.Header, len(in)+2)
	copyHeader(out, in, notForwarded)
	setKeys(out, in, api)
	if t, _, err := mime.ParseMediaType(in.Get("Content-Type")); err != nil || t != "application/json" {
		out["Content-Type"] = []string{"application/json"} // it is: curl says it sends a form
	}
	if plain {
		out["Accept-Encoding"] = []string{"identity"}
	}
	if _, given := out["User-Agent"]; !given {
		out["User-Agent"] = []string{""} // or net/http sends its own
	}
	return out
}

// setKeys passes the provider's key on. Authorization is the provider's only
// if our own key came beside it.
func setKeys(out, in http.Header, api inject.API) {
	if (in.Get(headerOurKey) != "" || in.Get(headerOurOtherKey) != "") && len(in[headerAuth]) > 0 {
		out[headerAuth] = in[headerAuth]
	}
	if api != inject.Messages {
		if key := in.Get(headerOpenAIKey); key != "" {
			out.Set(headerAuth, "Bearer "+key)
		}
		return
	}
	for _, name := range []string{headerAnthropicKey, headerAPIKey} {
		if key := in.Get(name); key != "" {
			out.Set(headerAPIKey, key)
			return
		}
	}
}

// responseHeader adds an upstream's header to ours.
func responseHeader(out, in http.Header) { copyHeader(out, in, notReturned) }

// copyHeader adds the headers of in to out that are for both ends of the
// exchange, not ours, and not among except.
func copyHeader(out, in http.Header, except map[string]bool) {
	listed := connectionHeaders(in)
	for name, values := range in {
		if !except[name] && !hopByHop[name] && !listed[name] && !isOurs(name) {
			out[name] = append(out[name], values...)
		}
	}
}

// isOurs reports whether a header is for this server, or its to say.
func isOurs(name string) bool {
	return strings.HasPrefix(name, "X-Stateraft-") || strings.HasPrefix(name, "X-Mnx-") || strings.HasPrefix(name, "Access-Control-")
}

// connectionHeaders returns the headers that Connection names.
func connectionHeaders(h http.Header) (names map[string]bool) {
	for _, list := range h["Connection"] {
		for name := range strings.SplitSeq(list, ",") {
			if names == nil {
				names = make(map[string]bool)
			}
			names[textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(name))] = true
		}
	}
	return names
}

func set(names ...string) map[string]bool {
	m := make(map[string]bool, len(names))
	for _, n := range names {
		m[n] = true
	}
	return m
}
