package httpapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"
	"unicode/utf8"
)

// instantFormat shows instants in UTC with milliseconds.
const instantFormat = "2006-01-02T15:04:05.000Z"

// jsonType is shared by all responses, and never modified.
var jsonType = []string{"application/json"}

// writeJSON sends a whole body. Values are written byte for byte as they were
// sent, which encoding/json would not do: so bodies are appended by hand.
func writeJSON(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	h["Content-Type"] = jsonType
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client has left: nobody to tell
}

// writeDocument answers with what encoding/json makes of v.
func writeDocument(w http.ResponseWriter, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode an answer: %w", err)
	}
	writeJSON(w, http.StatusOK, body)
	return nil
}

func setRevision(w http.ResponseWriter, revision uint64) {
	w.Header().Set(headerRevision, strconv.FormatUint(revision, 10))
}

func setETag(w http.ResponseWriter, version uint64) {
	w.Header().Set("ETag", etag(version))
}

func etag(version uint64) string {
	return string(append(strconv.AppendUint([]byte{'"'}, version, 10), '"'))
}

// appendMember appends a comma and a member with a number.
func appendMember(b []byte, name string, n uint64) []byte {
	b = append(b, ',', '"')
	b = append(b, name...)
	b = append(b, '"', ':')
	return strconv.AppendUint(b, n, 10)
}

// appendInstant appends t, or null if it is zero.
func appendInstant(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(b, "null"...)
	}
	b = append(b, '"')
	b = t.UTC().AppendFormat(b, instantFormat)
	return append(b, '"')
}

// appendString appends s as a JSON string; invalid UTF-8 becomes U+FFFD.
func appendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ':
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		case c < utf8.RuneSelf:
			b = append(b, c)
		default:
			r, n := utf8.DecodeRuneInString(s[i:])
			b = utf8.AppendRune(b, r)
			i += n
			continue
		}
		i++
	}
	return append(b, '"')
}
