package auth

import (
	"context"
	"errors"
	"fmt"
)

// Why a request has no principal. None of these repeats what was sent.
var (
	ErrMissing   = errors.New("an API key is required: Authorization: Bearer KEY, x-mnexium-key or X-CntrlNode-Key")
	ErrMalformed = errors.New("the API key is not sent as Authorization: Bearer KEY, x-mnexium-key or X-CntrlNode-Key, once")
	ErrUnknown   = errors.New("the API key is unknown, revoked or has run out")
)

// A Lookup finds the record that is stored under an id; nil if there is none.
// An error is that it could not find out.
type Lookup func(ctx context.Context, id string) (record []byte, err error)

// A Verifier verifies tokens. Its methods may be called at the same time.
type Verifier struct {
	lookup Lookup
	root   *Hash // nil: there is no root token
}

// NewVerifier returns a Verifier of the keys that lookup finds, and of the root
// token, if that is not empty: CheckRoot says what it must be like.
func NewVerifier(lookup Lookup, rootToken string) (*Verifier, error) {
	v := &Verifier{lookup: lookup}
	if rootToken == "" {
		return v, nil
	}
	if err := CheckRoot(rootToken); err != nil {
		return nil, fmt.Errorf("the root token %w", err)
	}
	root := hashOf(rootToken)
	v.root = &root
	return v, nil
}

// Verify returns who holds the token. ErrMissing and ErrUnknown mean that nobody
// does; another error, that the record was not found out or is not readable.
func (v *Verifier) Verify(ctx context.Context, token string) (Principal, error) {
	switch {
	case token == "":
		return Principal{}, ErrMissing
	case len(token) > maxTokenBytes:
		return Principal{}, ErrUnknown
	case v.root != nil && v.root.equal(hashOf(token)):
		return Root, nil
	}
	id, hash, ok := parseToken(token)
	if !ok {
		return Principal{}, ErrUnknown
	}
	data, err := v.lookup(ctx, id)
	if err != nil {
		return Principal{}, err
	}
	if data == nil {
		return Principal{}, ErrUnknown
	}
	record, err := DecodeRecord(data)
	if err != nil {
		return Principal{}, fmt.Errorf("the record of key %s: %w", id, err)
	}
	if !record.Hash.equal(hash) {
		return Principal{}, ErrUnknown
	}
	return record.Principal(id), nil
}

// MinRootBytes is the least length of a root token.
const MinRootBytes = 16

// CheckRoot says which rule a root token breaks.
func CheckRoot(token string) error {
	if len(token) < MinRootBytes || len(token) > maxTokenBytes {
		return fmt.Errorf("must be %d to %d bytes", MinRootBytes, maxTokenBytes)
	}
	for _, c := range []byte(token) {
		if c <= ' ' || c > '~' {
			return errors.New("must be visible ASCII characters")
		}
	}
	return nil
}
