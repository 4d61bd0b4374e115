package workload

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

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
