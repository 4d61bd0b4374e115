package auth

import "strings"

// Headers that carry a key, in canonical form.
const (
	HeaderKey           = "X-Mnexium-Key"
	HeaderCntrlNodeKey  = "X-Cntrlnode-Key" // of the published cntrlnode-sdk
	HeaderAuthorization = "Authorization"
)

// Headers are those that FromHeader looks at.
var Headers = []string{HeaderKey, HeaderCntrlNodeKey, HeaderAuthorization}

// FromHeader returns the token that a request's header carries; "" if it
// carries none. X-Mnexium-Key wins, and then X-CntrlNode-Key: Authorization may be
// for somebody else. A header that is there and holds no token is ErrMalformed.
func FromHeader(h map[string][]string) (string, error) {
	for _, name := range []string{HeaderKey, HeaderCntrlNodeKey} {
		if values, sent := h[name]; sent {
			return only(values)
		}
	}
	values, sent := h[HeaderAuthorization]
	if !sent {
		return "", nil
	}
	line, err := only(values)
	if err != nil {
		return "", err
	}
	scheme, token, _ := strings.Cut(line, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", ErrMalformed
	}
	return only([]string{strings.TrimSpace(token)})
}

// only returns the value of a header that may come once.
func only(values []string) (string, error) {
	if len(values) != 1 || values[0] == "" {
		return "", ErrMalformed
	}
	return values[0], nil
}
