package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
)

// A token is "sr_", the key's id, "_" and the secret.
const (
	tokenPrefix = "sr_"
	idLength    = 12 // of a-z and 2-7
	secretBytes = 32 // of randomness, in base64url
)

// maxTokenBytes bounds what is hashed of what a caller sends.
const maxTokenBytes = 1024

// NewToken returns the token of a key that nobody else has, and its id and
// what is to be stored of its secret.
func NewToken() (token, id string, hash Hash) {
	secret := make([]byte, secretBytes)
	rand.Read(secret) // never fails
	id = strings.ToLower(rand.Text()[:idLength])
	text := base64.RawURLEncoding.EncodeToString(secret)
	return tokenPrefix + id + "_" + text, id, hashOf(text)
}

// parseToken splits a token, and reports false if it is not of NewToken's form.
func parseToken(token string) (id string, hash Hash, ok bool) {
	rest, isKey := strings.CutPrefix(token, tokenPrefix)
	id, secret, hasSecret := strings.Cut(rest, "_")
	if !isKey || !hasSecret || !IsID(id) || len(secret) != base64.RawURLEncoding.EncodedLen(secretBytes) {
		return "", Hash{}, false
	}
	return id, hashOf(secret), true
}

// IsID reports whether s has the form of a key's id.
func IsID(s string) bool {
	if len(s) != idLength {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '2' || c > '7') {
			return false
		}
	}
	return true
}

// A Hash is the SHA-256 of a secret. Secrets are random and long, so that one
// cannot be found by trying.
type Hash [sha256.Size]byte

func hashOf(secret string) Hash { return sha256.Sum256([]byte(secret)) }

// equal takes the same time wherever the two differ.
func (h Hash) equal(other Hash) bool { return subtle.ConstantTimeCompare(h[:], other[:]) == 1 }

// MarshalJSON returns the hash in hexadecimal digits.
func (h Hash) MarshalJSON() ([]byte, error) { return json.Marshal(hex.EncodeToString(h[:])) }

// UnmarshalJSON reads what MarshalJSON returns.
func (h *Hash) UnmarshalJSON(b []byte) error {
	var digits string
	if err := json.Unmarshal(b, &digits); err != nil {
		return err
	}
	if len(digits) != hex.EncodedLen(len(h)) {
		return errors.New("a hash of the wrong length")
	}
	_, err := hex.Decode(h[:], []byte(digits))
	return err
}
