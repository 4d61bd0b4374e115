package workload

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
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
		case len(copies) < 2:
			panic(http.ErrAbortHandler)
		case r.Method == http.MethodPost:
			fmt.Fprint(w, `{"version":1}`)
		default:
			fmt.Fprintf(w, "id: 7\ndata: {\"type\":\"set\",\"key\":%q,\"newValue\":1,\"version\":1,\"revision\":7}\n\n", theEnd)
		}
	}))
	defer srv.Close()
	record := history.NewRecorder()
	f := newFollowers(Env{Name: "atomic", Nodes: []*wire.Node{wire.NewNode("n1", srv.URL)}, Record: record, Slack: 1})
	f.readers(1, wire.Feed{Workflow: "w"})
	if err := f.finish(t.Context()); err != nil {
		t.Error(err)
	}
	if ops := record.History().Ops; len(ops) != 1 || ops[0].Outcome != history.OK {
		t.Errorf("recorded %+v", ops)
	}
	if !slices.Equal(copies, []string{theEnd, theEnd}) {
		t.Errorf("the idempotency keys are %q", copies)
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
