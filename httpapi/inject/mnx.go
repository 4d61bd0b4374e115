package inject

import (
	"slices"

	"github.com/stateraft/stateraft/httpapi/internal/jsonscan"
	"github.com/stateraft/stateraft/httpapi/internal/names"
)

const (
	// DefaultKey is loaded when a request names none.
	DefaultKey = "current_task"

	// MaxKeys is how many keys one request may load.
	MaxKeys = 16

	// maxKeysBytes bounds the keys together, which are told back in a header:
	// clients take 16 KiB of headers, and percent-encoding makes three of one.
	maxKeysBytes = 4 << 10
)

// An ask is what a request says about state, in its member mnx.
type ask struct {
	subject string // "" if not given
	load    bool
	keys    []string // to load, in order, without repetition
}

// parseAsk reads the object mnx, which begins at b[i]. Members that are not
// about state are ignored.
func parseAsk(b []byte, i int) (a ask, err error) {
	found, _, err := fields(b, i, "mnx.", "subject_id", "state")
	if err != nil {
		return a, err
	}
	if raw := found[0].raw(b); raw != nil && string(raw) != `""` { // published clients send it for none
		if a.subject, err = name(raw, "mnx.subject_id", names.MaxSubjectBytes); err != nil {
			return a, err
		}
	}
	raw := found[1].raw(b)
	switch {
	case raw == nil:
		return a, nil
	case raw[0] != '{':
		return a, invalid("mnx.state must be an object, not %s", jsonscan.Kind(raw))
	}
	return a, a.parseState(raw)
}

func (a *ask) parseState(b []byte) error {
	found, _, err := fields(b, 0, "mnx.state.", "load", "key", "keys")
	if err != nil {
		return err
	}
	if raw := found[0].raw(b); raw != nil {
		if kind := jsonscan.Kind(raw); kind != "a boolean" {
			return invalid("mnx.state.load must be a boolean, not %s", kind)
		}
		a.load = raw[0] == 't'
	}
	if raw := found[1].raw(b); raw != nil {
		key, err := name(raw, "mnx.state.key", names.MaxKeyBytes)
		if err != nil {
			return err
		}
		a.keys = append(a.keys, key)
	}
	if raw := found[2].raw(b); raw != nil {
		if err := a.addKeys(raw); err != nil {
			return err
		}
	}
	if len(a.keys) == 0 {
		a.keys = append(a.keys, DefaultKey)
	}
	return nil
}

// addKeys adds the keys of the array b to that of mnx.state.key.
func (a *ask) addKeys(b []byte) error {
	if b[0] != '[' {
		return invalid("mnx.state.keys must be an array of strings, not %s", jsonscan.Kind(b))
	}
	size := 0
	for _, key := range a.keys {
		size += len(key)
	}
	for e := range jsonscan.Elements(b, 0) {
		key, err := name(e.Of(b), "a key in mnx.state.keys", names.MaxKeyBytes)
		if err != nil {
			return err
		}
		if slices.Contains(a.keys, key) {
			continue
		}
		a.keys = append(a.keys, key)
		if size += len(key); len(a.keys) > MaxKeys || size > maxKeysBytes {
			return invalid("mnx.state may name at most %d keys of together %d bytes", MaxKeys, maxKeysBytes)
		}
	}
	return nil
}
