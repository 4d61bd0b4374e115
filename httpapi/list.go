package httpapi

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/stateraft/stateraft/fsm"
	"github.com/stateraft/stateraft/httpapi/internal/names"
)

// Limits of a page with values.
const (
	defaultPage  = 1_000
	maxPage      = 10_000
	maxPageBytes = 4 << 20 // of its body; a page always has an entry
	pageFrame    = 4 << 10 // what the body has beside the entries, and more
)

// listChunk is how much of a list is gathered before it is sent.
const listChunk = 64 << 10

// listedBytes is what an entry of a list takes until all are sent. Values are
// those of the state.
const listedBytes = 160

// A listing is what a list request asks for.
type listing struct {
	query   fsm.Query
	values  bool // entries beside the keys
	objects bool // keys as objects instead of strings
}

// listKeys serves GET /v1/state/{workflow}; see also streamKeys.
func (s *Server) listKeys(w http.ResponseWriter, r *request) error {
	w.Header().Add("Vary", "Accept")
	if r.wantsEvents() {
		return s.streamKeys(w, r)
	}
	if err := r.only("a list", queryPrefix, queryAfter, queryLimit, "reverse", "values", "keys", queryConsistency); err != nil {
		return err
	}
	namespace, err := r.namespace()
	if err != nil {
		return err
	}
	l, err := parseListing(r)
	if err != nil {
		return err
	}
	state, err := s.consistent(r)
	if err != nil {
		return err
	}
	var reserved int64
	defer func() { s.lists.release(reserved) }()
	l.query.Admit = func(n int) (ok bool) {
		reserved, ok = s.reserveList(n)
		return ok
	}
	page := state.List(namespace, l.query)
	if page.Refused {
		return refuse(codeOverloaded, "other long lists are being sent: ask again later, or for pages with limit")
	}
	if l.values {
		cut(&page, l.appendKey, appendListed)
	}
	setRevision(w, page.Point.Revision)
	writeList(w, l, page)
	return nil
}

// reserveList reserves room for n entries, and returns how much that is: short
// lists need none.
func (s *Server) reserveList(n int) (bytes int64, ok bool) {
	if n <= maxPage {
		return 0, true
	}
	bytes = int64(n) * listedBytes
	if !s.lists.reserveOrAlone(bytes) {
		return 0, false
	}
	return bytes, true
}

func parseListing(r *request) (l listing, err error) {
	if l.query.Prefix, err = r.namePart(queryPrefix); err != nil {
		return l, err
	}
	if l.query.After, err = r.namePart(queryAfter); err != nil {
		return l, err
	}
	if l.query.Reverse, err = r.flag("reverse"); err != nil {
		return l, err
	}
	if l.values, err = r.flag("values"); err != nil {
		return l, err
	}
	if l.objects, err = r.wantsObjects(); err != nil {
		return l, err
	}
	if l.query.Limit, err = r.limit(l.values); err != nil {
		return l, err
	}
	if l.values {
		l.query.MaxBytes = maxPageBytes
	}
	return l, nil
}

// namePart reads a parameter that is a key or the beginning of one.
func (r *request) namePart(name string) (string, error) {
	part := r.query.Get(name)
	what := "query parameter " + name
	if len(part) > names.MaxKeyBytes {
		return "", refuse(codeInvalidRequest, "%s must be at most %d bytes, not %d", what, names.MaxKeyBytes, len(part))
	}
	return part, checkText(codeInvalidRequest, what, part)
}

// limit reads the most entries a page may have; 0 is all of them.
func (r *request) limit(values bool) (int, error) {
	if !r.query.Has(queryLimit) {
		if values {
			return defaultPage, nil
		}
		return 0, nil
	}
	n, err := strconv.ParseUint(r.query.Get(queryLimit), 10, 31)
	switch {
	case err != nil || n == 0:
		return 0, refuse(codeInvalidRequest, "query parameter limit must be an integer from 1")
	case values && n > maxPage:
		return 0, refuse(codeInvalidRequest, "query parameter limit must be at most %d for a list with values", maxPage)
	}
	return int(n), nil
}

// wantsObjects decides how keys are listed. The published cntrlnode-sdk for
// Python reads them as objects, and can be told only by its User-Agent.
func (r *request) wantsObjects() (bool, error) {
	if !r.query.Has("keys") {
		return r.URL.RawQuery == "" && strings.HasPrefix(r.UserAgent(), "python-httpx/"), nil
	}
	switch r.query.Get("keys") {
	case "names":
		return false, nil
	case "objects":
		return true, nil
	}
	return false, refuse(codeInvalidRequest, "query parameter keys must be names or objects")
}

// cut ends the page where its body would pass maxPageBytes. An entry is in the body
// as each of the functions appends it.
func cut(page *fsm.Page, appendOne ...func([]byte, fsm.Entry) []byte) {
	var b []byte
	left := maxPageBytes - pageFrame
	for i, e := range page.Entries {
		b = b[:0]
		for _, f := range appendOne {
			b = append(f(b, e), ',')
		}
		if left -= len(b); left < 0 && i > 0 {
			page.Entries, page.More = page.Entries[:i], true
			return
		}
	}
}

// writeList sends the page in chunks: a list without a limit has no bound, and
// is not to be held in memory a second time.
func writeList(w http.ResponseWriter, l listing, page fsm.Page) {
	w.Header()["Content-Type"] = jsonType
	b := append(make([]byte, 0, 1024), `{"keys":[`...)
	b = writeEach(w, b, page.Entries, l.appendKey)
	b = append(b, ']')
	if l.values {
		b = append(b, `,"entries":[`...)
		b = writeEach(w, b, page.Entries, appendListed)
		b = append(b, ']')
	}
	if page.More {
		b = append(b, `,"next":`...)
		b = appendString(b, page.Entries[len(page.Entries)-1].Key)
	}
	_, _ = w.Write(append(b, '}')) // the client has left: nobody to tell
}

// writeEach appends the entries to b, and sends b whenever it is a chunk.
func writeEach(w http.ResponseWriter, b []byte, entries []fsm.Entry, appendOne func([]byte, fsm.Entry) []byte) []byte {
	for i, e := range entries {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendOne(b, e)
		if len(b) >= listChunk {
			if _, err := w.Write(b); err != nil {
				return b[:0]
			}
			b = b[:0]
		}
	}
	return b
}

func (l listing) appendKey(b []byte, e fsm.Entry) []byte {
	if !l.objects {
		return appendString(b, e.Key)
	}
	b = append(b, `{"key":`...)
	b = appendString(b, e.Key)
	b = appendMember(b, "version", e.Version)
	b = append(b, `,"createdAt":`...)
	b = appendInstant(b, e.CreatedAt)
	b = append(b, `,"updatedAt":`...)
	b = appendInstant(b, e.UpdatedAt)
	b = append(b, `,"expiresAt":`...)
	return append(appendInstantText(b, e.ExpiresAt), '}')
}

// appendInstantText appends t, or an empty string if it is zero, for clients
// that know no null.
func appendInstantText(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(b, `""`...)
	}
	return appendInstant(b, t)
}

func appendListed(b []byte, e fsm.Entry) []byte {
	b = append(b, `{"key":`...)
	b = appendString(b, e.Key)
	b = append(b, ',')
	return append(appendEntry(b, e), '}')
}
