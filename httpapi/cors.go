package httpapi

import (
	"net/http"
	"slices"
)

const (
	// What browsers may send and read across origins.
	corsRequestHeaders = "Accept, Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Last-Event-ID, " +
		"X-Anthropic-Key, X-Api-Key, X-CntrlNode-Key, X-Mnexium-Key, X-OpenAI-Key, X-Session-ID, X-Subject-ID, " +
		headerMinRevision + ", " + headerTimeout
	corsResponseHeaders = "ETag, Retry-After, " + headerNode + ", " + headerRevision +
		", X-Mnx-State-Key, X-Mnx-State-Version, X-Mnx-Subject-Id"
	corsMaxAge = "600" // seconds a browser may remember a preflight
)

// cors says which web pages may call this server.
type cors struct {
	any     bool
	origins []string
	guard   *http.CrossOriginProtection
}

// newCORS takes origins as scheme://host[:port], or "*" for any.
func newCORS(origins []string) (*cors, error) {
	c := &cors{guard: http.NewCrossOriginProtection(), origins: origins}
	for _, o := range origins {
		if o == "*" {
			c.any = true
			continue
		}
		if err := c.guard.AddTrustedOrigin(o); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// apply lets pages of the configured origins read the answer, and refuses
// writes by those of others: a browser sends some of them without asking
// first, and this server may need no key.
func (c *cors) apply(h http.Header, r *http.Request) error {
	if len(c.origins) > 0 && !c.any {
		h.Add("Vary", "Origin")
	}
	if origin := r.Header.Get("Origin"); origin != "" && c.allows(origin) {
		h.Set("Access-Control-Allow-Origin", c.answer(origin))
		h.Set("Access-Control-Expose-Headers", corsResponseHeaders)
		return nil
	}
	if c.any || c.guard.Check(r) == nil {
		return nil
	}
	return refuse(codeForbidden, "web pages of this origin may not write here: see --cors-origins")
}

func (c *cors) allows(origin string) bool { return c.any || slices.Contains(c.origins, origin) }

func (c *cors) answer(origin string) string {
	if c.any {
		return "*"
	}
	return origin
}

// preflight answers a browser that asks whether it may send a request. What
// it asks for may go with it: clients of the proxy send what their provider knows.
func (c *cors) preflight(h http.Header, r *http.Request, methods string) {
	if r.Header.Get("Access-Control-Request-Method") == "" || h.Get("Access-Control-Allow-Origin") == "" {
		return
	}
	h.Set("Access-Control-Allow-Methods", methods)
	headers := corsRequestHeaders
	if asked := r.Header.Get("Access-Control-Request-Headers"); asked != "" {
		headers += ", " + asked
	}
	h.Set("Access-Control-Allow-Headers", headers)
	h.Set("Access-Control-Max-Age", corsMaxAge)
}
