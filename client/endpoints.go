package client

import (
	"fmt"
	"net/url"
	"strings"
	"sync/atomic"
)

// endpoints is a ring of base URLs with the one in use.
type endpoints struct {
	urls []string // without a trailing slash
	at   atomic.Int64
}

func newEndpoints(list []string) (*endpoints, error) {
	e := &endpoints{}
	for _, endpoint := range list {
		base, err := parseEndpoint(endpoint)
		if err != nil {
			return nil, err
		}
		e.urls = append(e.urls, base)
	}
	return e, nil
}

func parseEndpoint(endpoint string) (string, error) {
	u, err := url.Parse(endpoint)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		return "", fmt.Errorf("endpoint %q: want http://host:port or https://host:port", endpoint)
	case u.RawQuery != "", u.Fragment != "", u.User != nil:
		return "", fmt.Errorf("endpoint %q: a query, a fragment or a user has no place in it", endpoint)
	}
	return strings.TrimRight(u.String(), "/"), nil
}

// choose returns where a call of that kind goes, and the endpoint's place in the
// ring: that in use, but for a call that is for the first alone.
func (e *endpoints) choose(k kind) (base string, at int64) {
	if k != local {
		at = e.at.Load()
	}
	return e.urls[at], at
}

// leave moves on from the endpoint at that place. Of many calls that fail there
// together one moves; the others find it done.
func (e *endpoints) leave(at int64) {
	e.at.CompareAndSwap(at, (at+1)%int64(len(e.urls)))
}
