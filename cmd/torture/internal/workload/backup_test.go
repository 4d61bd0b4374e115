package workload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/check"
	"github.com/stateraft/stateraft/cmd/torture/internal/history"
	"github.com/stateraft/stateraft/cmd/torture/internal/wire"
)

// spareCluster is an empty one that is asked to restore a backup of nothing. It
// answers each kind of request only when it is asked again.
type spareCluster struct {
	file  []byte
	wrong map[string]bool // what it does that it should not

	mu    sync.Mutex // guards the fields below
	asked map[string]int
	keys  map[string][]string // idempotency keys, by kind of request
}

const (
	noLeader  = `{"code":"NO_LEADER","outcome":"not_applied"}`
	refusal   = `{"code":"REFUSED","outcome":"not_applied"}`
	damage    = `{"code":"INVALID_REQUEST","outcome":"not_applied"}`
	fromAfore = `{"code":"REVISION_UNKNOWN"}`
)

func (c *spareCluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	kind := c.kindOf(r, body)
	switch c.count(kind, r) {
	case 1:
		panic(http.ErrAbortHandler)
	case 2:
		w.WriteHeader(http.StatusServiceUnavailable)
		io.WriteString(w, noLeader)
		return
	case 3:
		if strings.HasSuffix(r.URL.RequestURI(), "force=true") {
			w.WriteHeader(http.StatusConflict)
			io.WriteString(w, refusal)
			return
		}
	}
	status, text := c.answer(kind)
	w.WriteHeader(status)
	io.WriteString(w, text)
}

func (c *spareCluster) kindOf(r *http.Request, body []byte) string {
	switch {
	case r.URL.Path == "/v1/restore" && r.URL.RawQuery == "":
		return "unasked"
	case r.URL.Path == "/v1/restore" && bytes.Equal(body, c.file):
		return "whole"
	case r.URL.Path == "/v1/restore":
		return fmt.Sprint("damaged ", len(body) == len(c.file))
	case r.Method == http.MethodPost:
		return "set"
	case r.Header.Get("Accept") == "text/event-stream":
		return "stream"
	case r.Header.Get("X-Stateraft-Min-Revision") != "":
		return "token"
	}
	return "list"
}

func (c *spareCluster) count(kind string, r *http.Request) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked[kind]++
	c.keys[kind] = append(c.keys[kind], r.Header.Get("Idempotency-Key"))
	return c.asked[kind]
}

func (c *spareCluster) answer(kind string) (status int, text string) {
	right := map[string]struct {
		status int
		text   string
	}{
		"unasked": {409, refusal}, "whole": {200, `{"revision":9}`}, "damaged true": {400, damage}, "damaged false": {400, damage},
		"set": {200, `{"version":1}`}, "list": {200, `{"entries":[]}`}, "token": {412, fromAfore},
		"stream": {200, "event: resync\ndata: {}\n\nevent: synced\nid: 9\ndata: {\"revision\":9}\n\n"},
	}[kind]
	if !c.wrong[kind] {
		return right.status, right.text
	}
	switch kind {
	case "token":
		return 503, `{"code":"BEHIND"}`
	case "stream":
		return 200, "data: {\"type\":\"set\",\"key\":\"k\",\"newValue\":1,\"version\":1,\"revision\":9}\n\n"
	case "whole", "list":
		return 400, damage
	}
	return 200, `{"version":0}`
}

// Ensure a cluster that nobody hurts is not blamed for what hurts the machine,
// as far as it answers in the end, and is for every wrong answer.
func TestRestoreIsRepeated(t *testing.T) {
	for _, wrong := range []string{"", "whole", "unasked", "damaged true", "damaged false", "set", "list", "token", "stream"} {
		t.Run("wrong: "+wrong, func(t *testing.T) {
			t.Parallel()
			c := &spareCluster{file: bytes.Repeat([]byte("backup"), 20), wrong: map[string]bool{wrong: true}, asked: map[string]int{}, keys: map[string][]string{}}
			srv := httptest.NewServer(c)
			defer srv.Close()
			record := history.NewRecorder()
			record.Subscriber("s", history.Subscriber{Workload: "backup", Workflow: "backup", Follows: true})
			w := &backup{env: Env{Name: "backup", Record: record, Slack: 1}, spare: wire.NewNode("spare", srv.URL)}
			w.restore(context.Background(), &actor{rng: rand.New(rand.NewPCG(1, 1))}, c.file, 7)
			if v := check.Backup(record.History()); v.OK() != (wrong == "") || v.Checked < 7 {
				t.Errorf("%d operations, violations %q", v.Checked, v.Told)
			}
			if sets := c.keys["set"]; len(slices.Compact(slices.Clone(sets))) != 1 || sets[0] == "" {
				t.Errorf("copies of a set have the idempotency keys %q", sets)
			}
		})
	}
}

// Ensure a spare cluster that the end of the load cuts off is no fault of anybody,
// and one that does not start is.
func TestSpareIsCutOff(t *testing.T) {
	for _, late := range []bool{false, true} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost { // the load has begun
				cancel()
			}
		}))
		w := newBackup(Env{Name: "backup", Record: history.NewRecorder(), Slack: 1, Spare: func(context.Context) (*wire.Node, func(), error) {
			if late {
				cancel()
			}
			return nil, nil, errors.New("it does not start")
		}, Nodes: []*wire.Node{wire.NewNode("n1", srv.URL)}}).(*backup)
		w.Run(ctx)
		if (w.failed == nil) != late {
			t.Errorf("the load ended before it started: %t; %v", late, w.failed)
		}
		w.follow.stop()
		srv.Close()
		cancel()
	}
}
