package client_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// fakeNode serves as much of the State Store as this package's tests need, from
// one map: it has no limits, and no time.
type fakeNode struct {
	mu       sync.Mutex // guards the fields below
	revision int
	entries  map[string]fakeEntry // by workflow + "\x00" + key
	streams  map[string][]chan string
}

type fakeEntry struct {
	Key     string          `json:"key"`
	Value   json.RawMessage `json:"value"`
	Version int             `json:"version"`
}

func newFakeNode() http.Handler {
	n := &fakeNode{entries: map[string]fakeEntry{}, streams: map[string][]chan string{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/state/{wf}/{key}", n.get)
	mux.HandleFunc("POST /v1/state/{wf}/{key}", n.set)
	mux.HandleFunc("POST /v1/state/{wf}/{key}/version", n.set)
	mux.HandleFunc("DELETE /v1/state/{wf}/{key}", n.delete)
	mux.HandleFunc("GET /v1/state/{wf}", n.list)
	mux.HandleFunc("POST /v1/state/{wf}", n.atomic)
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, `{"status":"ok"}`) })
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, r *http.Request) { n.fail(w, 503, "NO_LEADER", nil) })
	mux.HandleFunc("GET /api/v1/state/{key}", asAgent(n.get))
	mux.HandleFunc("PUT /api/v1/state/{key}", asAgent(n.set))
	root := http.NewServeMux()
	root.HandleFunc("GET /v1/state/{wf}/{key}/stream", n.stream)
	root.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept") == "text/event-stream" {
			r.SetPathValue("wf", strings.TrimPrefix(r.URL.Path, "/v1/state/"))
			n.stream(w, r)
			return
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		mux.ServeHTTP(w, r)
	})
	return root
}

// asAgent serves Agent State: subjects are workflows of another name.
func asAgent(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r.SetPathValue("wf", "\x01"+r.Header.Get("X-Subject-ID"))
		h(w, r)
	}
}

// stream tells the sets of a key, or of a workflow after a snapshot, up to a few
// that nobody reads.
func (n *fakeNode) stream(w http.ResponseWriter, r *http.Request) {
	events := make(chan string, 10)
	n.mu.Lock()
	n.streams[id(r)] = append(n.streams[id(r)], events)
	next := fmt.Sprintf("id: %d\n\n", n.revision)
	if r.FormValue("snapshot") == "true" {
		next = n.snapshot(r.PathValue("wf")) + fmt.Sprintf("event: synced\nid: %d\ndata: {}\n\n", n.revision)
	}
	n.mu.Unlock()
	w.Header().Set("Content-Type", "text/event-stream")
	for r.Context().Err() == nil {
		io.WriteString(w, next)
		w.(http.Flusher).Flush()
		select {
		case <-r.Context().Done():
		case next = <-events:
		}
	}
}

// snapshot requires n.mu.
func (n *fakeNode) snapshot(workflow string) (blocks string) {
	for _, id := range slices.Sorted(maps.Keys(n.entries)) {
		if e := n.entries[id]; id == workflow+"\x00"+e.Key {
			blocks += fmt.Sprintf(`data: {"type":"snapshot","key":%q,"newValue":%s,"version":%d}`+"\n\n", e.Key, e.Value, e.Version)
		}
	}
	return blocks
}

func (n *fakeNode) tell(workflow, key string, e fakeEntry) {
	for _, events := range slices.Concat(n.streams[workflow+"\x00"+key], n.streams[workflow+"\x00"]) {
		events <- fmt.Sprintf(`data: {"type":"set","workflowId":%q,"key":%q,"oldValue":null,"newValue":%s,"version":%d,"revision":%d}`+"\n\n",
			workflow, key, e.Value, e.Version, n.revision)
	}
}

func (n *fakeNode) reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("X-Stateraft-Revision", strconv.Itoa(n.revision))
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body)
}

func (n *fakeNode) fail(w http.ResponseWriter, status int, code string, more map[string]any) {
	body := map[string]any{"error": code, "code": code, "message": "the fake says so", "outcome": "not_applied"}
	maps.Copy(body, more)
	n.reply(w, status, body)
}

func id(r *http.Request) string { return r.PathValue("wf") + "\x00" + r.PathValue("key") }

func (n *fakeNode) get(w http.ResponseWriter, r *http.Request) {
	e, ok := n.entries[id(r)]
	if !ok {
		n.fail(w, 404, "NOT_FOUND", nil)
		return
	}
	n.reply(w, 200, e)
}

// write is the body of a set, and of an operation.
type fakeWrite struct {
	Op, Key         string
	Value           json.RawMessage
	ExpectedVersion *int
}

// allows applies the condition of a body or of the headers.
func (n *fakeNode) allows(b fakeWrite, h http.Header, current int) bool {
	switch match := h.Get("If-Match"); {
	case h.Get("If-None-Match") == "*":
		return current == 0
	case match == "*":
		return current > 0
	case match != "":
		return match == strconv.Quote(strconv.Itoa(current))
	}
	return b.ExpectedVersion == nil || *b.ExpectedVersion == current
}

func (n *fakeNode) set(w http.ResponseWriter, r *http.Request) {
	var b fakeWrite
	json.NewDecoder(r.Body).Decode(&b)
	e := n.entries[id(r)]
	if !n.allows(b, r.Header, e.Version) {
		more := map[string]any{"currentVersion": e.Version}
		if b.ExpectedVersion != nil {
			more["expectedVersion"] = *b.ExpectedVersion
		}
		if r.FormValue("returnCurrent") == "true" {
			more["currentValue"] = e.Value
		}
		n.fail(w, 409, "VERSION_CONFLICT", more)
		return
	}
	n.revision++
	e = fakeEntry{r.PathValue("key"), b.Value, e.Version + 1}
	n.entries[id(r)] = e
	n.tell(r.PathValue("wf"), e.Key, e)
	n.reply(w, 200, map[string]any{"version": e.Version})
}

func (n *fakeNode) delete(w http.ResponseWriter, r *http.Request) {
	e, ok := n.entries[id(r)]
	if !n.allows(fakeWrite{}, r.Header, e.Version) {
		n.fail(w, 412, "VERSION_CONFLICT", map[string]any{"currentVersion": e.Version})
		return
	}
	delete(n.entries, id(r))
	n.reply(w, 200, map[string]any{"deleted": ok, "ok": true})
}

func (n *fakeNode) list(w http.ResponseWriter, r *http.Request) {
	keys, entries := []string{}, []fakeEntry{}
	limit, err := strconv.Atoi(r.FormValue("limit"))
	if err != nil {
		limit = 1000
	}
	body := map[string]any{}
	for _, id := range slices.Sorted(maps.Keys(n.entries)) {
		wf, key, _ := strings.Cut(id, "\x00")
		if wf != r.PathValue("wf") || !strings.HasPrefix(key, r.FormValue("prefix")) || key <= r.FormValue("after") {
			continue
		}
		if len(keys) == limit {
			body["next"] = keys[limit-1]
			break
		}
		keys, entries = append(keys, key), append(entries, n.entries[id])
	}
	body["keys"] = keys
	if r.FormValue("values") == "true" {
		body["entries"] = entries
	}
	n.reply(w, 200, body)
}

func (n *fakeNode) atomic(w http.ResponseWriter, r *http.Request) {
	var b struct{ Ops []fakeWrite }
	json.NewDecoder(r.Body).Decode(&b)
	wf := r.PathValue("wf") + "\x00"
	for i, op := range b.Ops {
		if current := n.entries[wf+op.Key].Version; !n.allows(op, nil, current) {
			n.fail(w, 409, "VERSION_CONFLICT", map[string]any{"op": i, "currentVersion": current})
			return
		}
	}
	results := []map[string]any{}
	for _, op := range b.Ops {
		e, ok := n.entries[wf+op.Key]
		switch op.Op {
		case "set":
			n.entries[wf+op.Key] = fakeEntry{op.Key, op.Value, e.Version + 1}
			results = append(results, map[string]any{"version": e.Version + 1})
		case "delete":
			delete(n.entries, wf+op.Key)
			results = append(results, map[string]any{"deleted": ok, "version": e.Version})
		case "check":
			results = append(results, map[string]any{"version": e.Version})
		}
	}
	n.reply(w, 200, map[string]any{"results": results})
}
