package workload

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
	"github.com/stateraft/stateraft/cmd/torture/internal/wire"
)

// Ensure the end of a workflow is written although the first answer is lost, as
// one operation, and its copies are known as such.
func TestEndIsWritten(t *testing.T) {
	var mu sync.Mutex
	var copies []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.Method == http.MethodPost {
			copies = append(copies, r.Header.Get("Idempotency-Key"))
		}
		switch {
		case isRead(r):
			notFound(w)
		case r.Method == http.MethodGet && len(copies) < 2: // a stream that ends at once
		case len(copies) < 2:
			panic(http.ErrAbortHandler)
		case r.Method == http.MethodPost:
			fmt.Fprint(w, `{"version":1}`)
		default:
			fmt.Fprint(w, tellEnd)
		}
	}))
	defer srv.Close()
	record := history.NewRecorder()
	f := newFollowers(Env{Name: "atomic", Nodes: []*wire.Node{wire.NewNode("n1", srv.URL)}, Record: record, Slack: 1})
	f.readers(1, wire.Feed{Workflow: "w"})
	if err := f.finish(t.Context()); err != nil {
		t.Error(err)
	}
	if ops := record.History().Ops; len(ops) != 2 || ops[0].Kind != history.Get || ops[1].Kind != history.Set || ops[1].Outcome != history.OK {
		t.Errorf("recorded %+v", ops)
	}
	if !slices.Equal(copies, []string{theEnd, theEnd}) {
		t.Errorf("the idempotency keys are %q", copies)
	}
}

// tellEnd is the end of workflow w in a stream.
const tellEnd = "id: 7\ndata: {\"type\":\"set\",\"key\":\"" + theEnd + "\",\"newValue\":\"end of w\",\"version\":1,\"revision\":7}\n\n"

func isRead(r *http.Request) bool {
	return r.Method == http.MethodGet && r.Header.Get("Accept") != "text/event-stream"
}

// notFound answers a read from revision 5.
func notFound(w http.ResponseWriter) {
	w.Header().Set("X-Stateraft-Revision", "5")
	w.WriteHeader(http.StatusNotFound)
	fmt.Fprint(w, `{"code":"NOT_FOUND"}`)
}

// Ensure a stream is open before the end is written, and a node that tells the end
// only to streams that begin later is told.
func TestEndIsPushed(t *testing.T) {
	for _, pushes := range []bool{true, false} {
		written := make(chan struct{})
		var early atomic.Int64 // streams from before the end
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case isRead(r):
				notFound(w)
			case r.Method == http.MethodPost:
				w.Header().Set("X-Stateraft-Revision", "7")
				fmt.Fprint(w, `{"version":1}`)
				if early.Load() == 0 {
					t.Error("no stream was open when the end was written")
				}
				close(written)
			case r.Header.Get("Last-Event-ID") == "6":
				fmt.Fprint(w, tellEnd)
				w.(http.Flusher).Flush()
				<-r.Context().Done()
			default:
				if id := r.Header.Get("Last-Event-ID"); id != "5" {
					t.Errorf("a stream begins behind %s, want the revision of the read", id)
				}
				early.Add(1)
				w.(http.Flusher).Flush()
				select {
				case <-written:
				case <-r.Context().Done():
				}
				if pushes {
					fmt.Fprint(w, tellEnd)
					w.(http.Flusher).Flush()
				}
				<-r.Context().Done()
			}
		}))
		f := newFollowers(Env{Name: "atomic", Nodes: []*wire.Node{wire.NewNode("n1", srv.URL)}, Record: history.NewRecorder(), Slack: 1})
		a := &actor{env: f.env, id: 1}
		if err := f.end(t.Context(), a, wire.Feed{Workflow: "w"}, catchUp); err != nil {
			t.Error(err)
		}
		limit := catchUp
		if !pushes {
			limit = 3 * time.Second // it passes
		}
		err := f.wait(t.Context(), limit)
		f.stop()
		f.wg.Wait()
		srv.Close()
		if pushes && err != nil || !pushes && (err == nil || !strings.Contains(err.Error(), "w at n1 from revision 5") || strings.Contains(err.Error(), "revision 6")) {
			t.Errorf("pushes %t: told %v", pushes, err)
		}
	}
}

// Ensure a reader that is told more keys than it stays for changes hears all of them:
// it would begin anew for ever.
func TestReaderHearsAllKeys(t *testing.T) {
	const keys = 3 * mostEvents
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "event: resync\ndata: {}\n\n")
		for i := range keys {
			fmt.Fprintf(w, "data: {\"type\":\"snapshot\",\"key\":\"k%d\",\"newValue\":1,\"version\":1}\n\n", i)
		}
		fmt.Fprint(w, "event: synced\nid: 7\ndata: {\"revision\":7}\n\n")
	}))
	defer srv.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	env := Env{Name: "pages", Nodes: []*wire.Node{wire.NewNode("n1", srv.URL)}, Record: history.NewRecorder()}
	told := 0
	hop(ctx, 0, &actor{env: env, rng: env.rng("reader")}, wire.Feed{Workflow: "w"}, func(e history.Event) {
		switch e.Type {
		case "resync":
			told = 0
		case "snapshot":
			told++
		case "synced":
			cancel()
		}
	})
	if !errors.Is(ctx.Err(), context.Canceled) || told != keys {
		t.Errorf("%v: told %d keys of %d, and not all at once", ctx.Err(), told, keys)
	}
}

// Ensure a stream that a node refuses is recorded with its reason.
func TestRefusedStreamIsRecorded(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"code":"INVALID_REQUEST"}`)
	}))
	defer srv.Close()
	record := history.NewRecorder()
	cursor := uint64(7)
	Env{Name: "stream", Record: record}.listen(t.Context(), wire.NewNode("n1", srv.URL), wire.Feed{Workflow: "w"}, &cursor, nil)
	if ops := record.History().Ops; len(ops) != 1 || ops[0].Kind != history.Open || ops[0].Error != "INVALID_REQUEST" || ops[0].Node != "n1" || ops[0].Workload != "stream" {
		t.Errorf("recorded %+v", ops)
	}
}

// Ensure the last reads are made again until they are answered, and a node that
// stays silent is told.
func TestReadEverywhereInsists(t *testing.T) {
	var asked atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) < 3 {
			panic(http.ErrAbortHandler)
		}
		fmt.Fprint(w, `{"value":1,"version":1}`)
	}))
	defer srv.Close()
	record := history.NewRecorder()
	a := &actor{env: Env{Nodes: []*wire.Node{wire.NewNode("n1", srv.URL)}, Record: record, Slack: 1}}
	r := wire.Request{Kind: history.Get, Workflow: "w", Key: "k"}
	if err := a.readEverywhere(t.Context(), r); err != nil {
		t.Error(err)
	}
	if ops := record.History().Ops; len(ops) != 1 || ops[0].Outcome != history.OK {
		t.Errorf("recorded %+v", ops)
	}
	a.env.Slack = 0 // no time
	if err := a.readEverywhere(t.Context(), r); err == nil {
		t.Error("a node that did not answer is not told")
	}
}

// Ensure a key that is followed alone gets the end itself, and by streams of that
// key.
func TestEndOfOneKey(t *testing.T) {
	var mu sync.Mutex
	asked := map[string]bool{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked[r.Method+" "+r.RequestURI] = true
		switch {
		case isRead(r):
			notFound(w)
		case r.Method == http.MethodPost:
			fmt.Fprint(w, `{"version":1}`)
		case asked["POST /v1/state/w/k0"]:
			fmt.Fprint(w, strings.Replace(tellEnd, theEnd, "k0", 1))
		}
	}))
	defer srv.Close()
	f := newFollowers(Env{Name: "stream", Nodes: []*wire.Node{wire.NewNode("n1", srv.URL)}, Record: history.NewRecorder(), Slack: 1})
	f.readers(1, wire.Feed{Workflow: "w", Key: "k0"})
	f.readers(1, wire.Feed{Workflow: "w", Prefix: "k"})
	if err := f.finish(t.Context()); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"GET /v1/state/w/k0/stream", "GET /v1/state/w?prefix=k", "GET /v1/state/w/k0", "POST /v1/state/w/k0"} {
		if !asked[want] {
			t.Errorf("asked %v, and not %s", asked, want)
		}
	}
	if len(asked) != 4 {
		t.Errorf("asked %v", asked)
	}
}
