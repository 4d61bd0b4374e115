package httpapi

import (
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/stateraft/stateraft/httpapi/internal/jsonscan"
)

const (
	// bodySlack is what a body may hold beside the value: the other members,
	// and white space inside the value.
	bodySlack = 1 << 20

	// maxSmallBody bounds bodies that carry no value.
	maxSmallBody = 64 << 10

	// maxDiscarded bounds what is read of a body that is refused.
	maxDiscarded = 16 << 20

	// maxTTLSeconds keeps deadlines within instants that can be shown.
	maxTTLSeconds = 100_000_000_000
)

// readBody reads a body of at most limit bytes, which must be exactly one JSON
// object in UTF-8. The caller owns the bytes.
func (s *Server) readBody(w http.ResponseWriter, r *request, limit int) ([]byte, error) {
	body, err := s.readAll(w, r, limit)
	if err != nil {
		return nil, err
	}
	return body, checkObject(body)
}

// readOptional reads a small body that may be empty, and returns the raw values
// of its members of these names.
func (s *Server) readOptional(w http.ResponseWriter, r *request, names ...string) ([][]byte, error) {
	body, err := s.readAll(w, r, maxSmallBody)
	if err != nil {
		return nil, err
	}
	if jsonscan.Space(body, 0) == len(body) {
		return make([][]byte, len(names)), nil
	}
	if err := checkObject(body); err != nil {
		return nil, err
	}
	return fields(body, "", names...)
}

// readAll reads the body into room that is reserved first and given back when
// the request has been answered.
func (s *Server) readAll(w http.ResponseWriter, r *request, limit int) ([]byte, error) {
	n, err := bodySize(r, limit)
	if err != nil {
		return nil, err
	}
	if err := s.reserveBody(r, n); err != nil {
		return nil, err
	}
	// A length that is told is taken at once: to grow towards it would take
	// more than is reserved.
	if r.ContentLength >= 0 {
		body := make([]byte, r.ContentLength)
		_, err := io.ReadFull(r.Body, body)
		return body, bodyError(err, limit)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(limit)))
	return body, bodyError(err, limit)
}

// discardBody reads what is left of a body: to a client that sends it all before it
// looks, an answer and the end of the connection before that are a reset.
func discardBody(r *http.Request) {
	if r.Header.Get("Expect") == "" { // or it would be asked for
		_, _ = io.CopyN(io.Discard, r.Body, maxDiscarded) // the client has left: nobody to tell
	}
}

// bodySize returns the body's length or, if that is not told, the most it can
// be.
func bodySize(r *request, limit int) (int64, error) {
	if r.ContentLength > int64(limit) {
		return 0, bodyTooLarge(limit)
	}
	if r.ContentLength < 0 {
		return int64(limit), nil
	}
	return r.ContentLength, nil
}

// reserveBody reserves n bytes for the body.
func (s *Server) reserveBody(r *request, n int64) error {
	if !s.bodies.reserve(n) {
		return overLimit(uint64(s.bodies.used.Load()), uint64(s.bodies.limit), "other requests' bodies leave no room for one of %d bytes", n)
	}
	r.reserved = n
	return nil
}

// shrinkBody gives back what is reserved for the body beyond n bytes.
func (s *Server) shrinkBody(r *request, n int64) {
	if n < r.reserved {
		s.bodies.release(r.reserved - n)
		r.reserved = n
	}
}

// releaseBody gives back what is reserved for the body. It may be called again.
func (s *Server) releaseBody(r *request) {
	s.bodies.release(r.reserved)
	r.reserved = 0
}

func bodyError(err error, limit int) error {
	if tooBig := (*http.MaxBytesError)(nil); errors.As(err, &tooBig) {
		return bodyTooLarge(limit)
	}
	if err != nil {
		return refuse(codeInvalidBody, "the body could not be read: %s", err)
	}
	return nil
}

func bodyTooLarge(limit int) error {
	return refuse(codeTooLarge, "the body must be at most %d bytes", limit)
}

// checkObject checks that body is one JSON object: what follows in this file
// walks over bytes that are known to be valid.
func checkObject(body []byte) error {
	switch {
	case !utf8.Valid(body):
		return refuse(codeInvalidBody, "the body must be valid UTF-8")
	case !json.Valid(body):
		// Valid does not say why; decoding does.
		return refuse(codeInvalidBody, "the body must be one JSON object: %s", json.Unmarshal(body, new(any)))
	case body[jsonscan.Space(body, 0)] != '{':
		return refuse(codeInvalidBody, "the body must be one JSON object, not %s", jsonscan.Kind(body[jsonscan.Space(body, 0):]))
	}
	return nil
}

// fields returns the raw values of object's members of these names, in the
// order of the names; nil for those that are absent. Other members, and a
// member given twice, are refused by name; at stands before it, as in "ops[3].".
// Names are case-sensitive.
func fields(object []byte, at string, names ...string) ([][]byte, error) {
	values := make([][]byte, len(names))
	for m := range jsonscan.Members(object, jsonscan.Space(object, 0)) {
		if err := setField(values, names, at, jsonscan.Text(m.Name.Of(object)), m.Value.Of(object)); err != nil {
			return nil, err
		}
	}
	return values, nil
}

func setField(values [][]byte, names []string, at, name string, value []byte) error {
	for i := range names {
		if names[i] != name {
			continue
		}
		if values[i] != nil {
			return refuse(codeInvalidRequest, "%s%s is given more than once", at, name)
		}
		values[i] = value
		return nil
	}
	return refuse(codeInvalidRequest, "unknown member %s; known here: %s", quoted(at+name), strings.Join(names, ", "))
}

// elements returns the raw elements of array, at most limit+1 of them.
func elements(array []byte, limit int) [][]byte {
	var all [][]byte
	for e := range jsonscan.Elements(array, 0) {
		if all = append(all, e.Of(array)); len(all) > limit {
			break
		}
	}
	return all
}

// value checks and compacts a value that is to be stored. It works in place.
func (s *Server) value(raw []byte, name string) ([]byte, error) {
	if raw == nil {
		return nil, refuse(codeValueRequired, "%s is required; null is a value", name)
	}
	value := compact(raw)
	if len(value) > s.maxValue {
		return nil, refuse(codeTooLarge, "%s must be at most %d bytes, not %d", name, s.maxValue, len(value))
	}
	return value, nil
}

// ttl turns a number of seconds into µs, rounded up; absent is 0, no expiry.
func ttl(raw []byte, name string) (int64, error) {
	if raw == nil {
		return 0, nil
	}
	if jsonscan.Kind(raw) != "a number" {
		return 0, refuse(codeInvalidTTL, "%s must be a number of seconds, not %s", name, jsonscan.Kind(raw))
	}
	seconds, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || seconds > maxTTLSeconds || raw[0] == '-' && !isZero(raw) {
		return 0, refuse(codeInvalidTTL, "%s must be from 0 (no expiry) to %d seconds", name, int64(maxTTLSeconds))
	}
	if seconds == 0 && !isZero(raw) {
		return 1, nil // too small for a float; it must not mean "for ever"
	}
	return int64(math.Ceil(seconds * 1e6)), nil
}

// isZero reports whether no digit of a number's mantissa is above 0.
func isZero(number []byte) bool {
	for _, c := range number {
		if c == 'e' || c == 'E' {
			break
		}
		if '1' <= c && c <= '9' {
			return false
		}
	}
	return true
}

// version reads a version that a condition names; 0 is an absent key.
func version(raw []byte, name string) (uint64, error) {
	v, err := strconv.ParseUint(string(raw), 10, 63)
	if err != nil {
		return 0, refuse(codeInvalidRequest, "%s must be an integer from 0 (absent) to %d", name, math.MaxInt64)
	}
	return v, nil
}

// text reads a string that must be whole Unicode: half of a surrogate pair
// would silently become another character.
func text(raw []byte, name string) (string, error) {
	switch {
	case raw == nil:
		return "", refuse(codeInvalidRequest, "%s is required", name)
	case raw[0] != '"':
		return "", refuse(codeInvalidRequest, "%s must be a string, not %s", name, jsonscan.Kind(raw))
	case jsonscan.LoneSurrogate(raw):
		return "", refuse(codeInvalidKey, "%s must be valid Unicode: it has half of a surrogate pair", name)
	}
	return jsonscan.Text(raw), nil
}
