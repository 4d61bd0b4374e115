package client

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// encode is json.Marshal, except that it leaves `<`, `>` and `&` as they are: a
// json.RawMessage reaches the store with every byte but its white space.
func encode(v any) ([]byte, *Error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, refuse(ErrInvalidRequest, "encode value: %v", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

func decodeValue(key string, value json.RawMessage, into any) error {
	if err := json.Unmarshal(value, into); err != nil {
		return fmt.Errorf("decode value of %q: %w", key, err)
	}
	return nil
}

// seconds is a TTL as the contract wants it. It rounds up, so that a TTL never
// becomes 0, which would mean no end; a negative one is the node's to refuse.
func seconds(ttl time.Duration) float64 {
	if ttl < 0 {
		return ttl.Seconds()
	}
	return float64((ttl + time.Millisecond - 1).Milliseconds()) / 1000
}

// workflowPath returns the path of a workflow. What a server on the way could
// take for another path is refused here.
func workflowPath(workflow string) (string, *Error) {
	if err := checkSegment("workflow", workflow); err != nil {
		return "", err
	}
	return "/v1/state/" + url.PathEscape(workflow), nil
}

func keyPath(workflow, key string) (string, *Error) {
	path, err := workflowPath(workflow)
	if err != nil {
		return "", err
	}
	if err := checkSegment("key", key); err != nil {
		return "", err
	}
	return path + "/" + url.PathEscape(key), nil
}

func checkSegment(member, s string) *Error {
	switch s {
	case "":
		return refuse(ErrInvalidKey, "%s is empty", member)
	case ".", "..":
		return refuse(ErrInvalidKey, "%s is %q, which is not allowed", member, s)
	}
	return nil
}

// fitsHeader reports whether s arrives as it is when it travels in a header.
func fitsHeader(s string) bool {
	control := func(c rune) bool { return c < ' ' || c == 0x7f }
	return strings.Trim(s, " \t") == s && strings.IndexFunc(s, control) < 0
}

// instant reads the contract's RFC 3339; null and "" are the zero time.
type instant struct{ time.Time }

func (i *instant) UnmarshalJSON(b []byte) error {
	if string(b) == `""` {
		return nil
	}
	return i.Time.UnmarshalJSON(b)
}
