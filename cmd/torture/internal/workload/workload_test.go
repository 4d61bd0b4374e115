package workload_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync"
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
			record := history.NewRecorder()
			env := workload.Env{Name: spec.Name, Nodes: []*wire.Node{wire.NewNode("n1", srv.URL)}, Record: record, Seed: 1}
			w := spec.New(env)
			ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
			defer cancel()
			w.Run(ctx)
			ended, cancel := context.WithCancel(context.Background())
			cancel()
			w.Finish(ended) // nobody follows its streams, so it may fail
			ops := record.History().Of(spec.Name)
			if len(ops) == 0 || len(ops) != len(record.History().Ops) {
				t.Errorf("%d operations under its name of %d", len(ops), len(record.History().Ops))
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

// Ensure the prober asks on although nobody answers.
func TestProbeIsOpenLoop(t *testing.T) {
	hang := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang }))
	defer srv.Close()
	record := history.NewRecorder()
	env := workload.Env{Nodes: []*wire.Node{wire.NewNode("n1", srv.URL)}, Record: record}
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	time.AfterFunc(600*time.Millisecond, func() { close(hang) })
	workload.RunProbe(ctx, env)
	if n := len(record.History().Of(workload.Probe)); n < 5 {
		t.Errorf("%d questions in 500 ms", n)
	}
}
