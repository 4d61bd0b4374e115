package httpapi

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stateraft/stateraft/cluster"
)

// unread fails the test if anybody reads it.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("the body is read")
	return 0, io.EOF
}

// A node without room for a write refuses it before it reads the value.
func TestRefusedUnread(t *testing.T) {
	for _, tt := range []struct{ method, path string }{
		{"POST", valuePath},
		{"POST", valuePath + "/version"},
		{"PUT", "/api/v1/state/key"},
	} {
		x := newAPI(t)
		x.cluster.admitsErr = cluster.ErrOverloaded
		r := httptest.NewRequest(tt.method, tt.path, unread{t})
		r.Header.Set("X-Subject-ID", "s")
		w := httptest.NewRecorder()
		x.server.Handler().ServeHTTP(w, r)
		if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" {
			t.Errorf("%s %s: %d %s", tt.method, tt.path, w.Code, w.Body)
		}
	}
}

// Few refusals leave at once, and none is held for longer
// than the bound, however many there are.
func TestPacer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPacer()
		start := time.Now()
		for range refusalsAtOnce {
			p.wait(t.Context())
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("the first %d took %v", refusalsAtOnce, took)
		}
		for range 10 * refusalsPerSecond {
			go p.wait(t.Context())
		}
		synctest.Wait()
		p.wait(t.Context())
		if took := time.Since(start); took != refusalHold {
			t.Errorf("one of many was held for %v, want %v", took, refusalHold)
		}
		time.Sleep(2 * refusalHold)
		start = time.Now()
		p.wait(t.Context())
		if took := time.Since(start); took != 0 {
			t.Errorf("the crowd has gone, and a refusal took %v", took)
		}
	})
}

func TestPacerLetsGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPacer()
		for range refusalsAtOnce {
			p.wait(t.Context())
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		start := time.Now()
		p.wait(gone)
		if took := time.Since(start); took != 0 {
			t.Errorf("a client that has gone was held for %v", took)
		}
	})
}
