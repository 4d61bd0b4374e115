package workload_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
	"github.com/stateraft/stateraft/cmd/torture/internal/wire"
	"github.com/stateraft/stateraft/cmd/torture/internal/workload"
)

// counting is a node that takes sets, gives each key its versions, and finds
// nothing.
type counting struct {
	mu       sync.Mutex
	versions map[string]int
}

func (c *counting) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch r.Method {
	case http.MethodPost:
		c.versions[r.URL.Path]++
		json.NewEncoder(w).Encode(map[string]any{"version": c.versions[r.URL.Path]})
	case http.MethodDelete:
		w.Write([]byte(`{"deleted":false,"ok":true}`))
	default:
		w.WriteHeader(http.StatusNotFound)
		w.Write([]byte(`{"code":"NOT_FOUND","error":"NOT_FOUND","outcome":"not_applied"}`))
	}
}

// Ensure every workload records what it does, under its own name, with times in
// order, and ends when its context does.
func TestWorkloadsRecord(t *testing.T) {
	srv := httptest.NewServer(&counting{versions: map[string]int{}})
	defer srv.Close()
	for _, spec := range workload.All {
		t.Run(spec.Name, func(t *testing.T) {
			h := recorded(spec, srv.URL, 200*time.Millisecond)
			if len(h.Ops) == 0 { // the machine was busy
				h = recorded(spec, srv.URL, 5*time.Second)
			}
			ops := h.Of(spec.Name)
			if len(ops) == 0 || len(ops) != len(h.Ops) {
				t.Errorf("%d operations under its name of %d", len(ops), len(h.Ops))
			}
			for _, op := range ops {
				isOfKey := op.Kind == history.Get || op.Kind.IsWrite() && op.Kind != history.Atomic
				if op.Return <= op.Call || op.Outcome == "" || isOfKey && (op.Key == "" || op.Workflow == "") {
					t.Errorf("%+v", op)
				}
			}
		})
	}
}

// recorded returns what a workload records in a while.
func recorded(spec workload.Spec, url string, d time.Duration) *history.History {
	record := history.NewRecorder()
	w := spec.New(workload.Env{Name: spec.Name, Nodes: []*wire.Node{wire.NewNode("n1", url)}, Record: record, Seed: 1})
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	w.Run(ctx)
	w.Finish(ctx) // nobody follows its streams, so it may fail
	return record.History()
}

// Ensure the prober asks on although nobody answers.
func TestProbeIsOpenLoop(t *testing.T) {
	const want = 5
	ctx, cancel := context.WithTimeout(context.Background(), 2*wire.Patience) // too short for as many questions in turn
	defer cancel()
	var asked atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if asked.Add(1) == want {
			cancel()
		}
		<-ctx.Done()
	}))
	defer srv.Close()
	record := history.NewRecorder()
	env := workload.Env{Nodes: []*wire.Node{wire.NewNode("n1", srv.URL)}, Record: record}
	workload.RunProbe(ctx, env)
	if n := len(record.History().Of(workload.Probe)); n < want || asked.Load() < want {
		t.Errorf("%d questions were asked and %d recorded, want %d", asked.Load(), n, want)
	}
}
