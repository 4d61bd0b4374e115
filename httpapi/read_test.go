package httpapi

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stateraft/stateraft/cluster"
)

func TestConsistency(t *testing.T) {
	tests := []struct {
		query, minRevision string
		readIndexes        int
		waited             string
	}{
		{"", "", 1, "[]"},
		{"?consistency=linearizable", "", 1, "[]"},
		{"?consistency=stale", "", 0, "[]"},
		{"?consistency=stale", "0", 0, "[]"},
		{"?consistency=stale", "1", 0, "[1]"},
		{"", "1", 1, "[]"},
	}
	for _, tt := range tests {
		for _, path := range []string{"/v1/state/wf/k", "/v1/state/wf"} {
			t.Run(path+tt.query+" "+tt.minRevision, func(t *testing.T) {
				x := newAPI(t)
				x.ok(x.post("/v1/state/wf/k", `{"value":1}`), "")
				var headers []string
				if tt.minRevision != "" {
					headers = []string{headerMinRevision, tt.minRevision}
				}
				x.ok(x.get(path+tt.query, headers...), "")
				if x.cluster.readIndexes != tt.readIndexes || fmt.Sprint(x.cluster.waited) != tt.waited {
					t.Errorf("%d read indexes and waits for %v", x.cluster.readIndexes, x.cluster.waited)
				}
			})
		}
	}
}

func TestMinRevisionNotReached(t *testing.T) {
	x := newAPI(t)
	x.ok(x.post("/v1/state/wf/k", `{"value":1}`), "")
	x.refused(x.get("/v1/state/wf/k", headerMinRevision, "2"), 412, "REVISION_UNKNOWN")
	x.ok(x.get("/v1/state/wf/k", headerMinRevision, "1"), "")
	x.cluster.waitErr = cluster.ErrBehind
	x.refused(x.get("/v1/state/wf/k?consistency=stale", headerMinRevision, "2"), 503, "BEHIND")
	x.cluster.waitErr = cluster.ErrRevisionUnknown
	x.refused(x.get("/v1/state/wf?consistency=stale", headerMinRevision, "2"), 412, "REVISION_UNKNOWN")
}

func TestDeadline(t *testing.T) {
	tests := []struct {
		headers []string
		want    time.Duration
	}{
		{nil, 15 * time.Second},
		{[]string{headerTimeout, "60"}, time.Minute},
		{[]string{headerTimeout, "0.25"}, 250 * time.Millisecond},
	}
	for _, tt := range tests {
		x := newAPI(t)
		start := time.Now()
		x.cluster.onPropose = func(ctx context.Context) {
			deadline, ok := ctx.Deadline()
			if left := deadline.Sub(start); !ok || left < tt.want || left > tt.want+time.Since(start) {
				t.Errorf("%v: deadline in %v, want %v", tt.headers, left, tt.want)
			}
		}
		x.ok(x.post("/v1/state/wf/k", `{"value":1}`, tt.headers...), "")
	}
}
