package workload

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
	"github.com/stateraft/stateraft/cmd/torture/internal/wire"
)

// keyed is a node that answers each idempotency key once.
type keyed struct {
	tells bool // that a key comes with another request

	mu     sync.Mutex
	bodies map[string]string
	asked  map[string]int
}

func (k *keyed) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if r.Method == http.MethodGet {
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"code":"NOT_FOUND"}`)
		return
	}
	body, _ := io.ReadAll(r.Body)
	id := r.Header.Get("Idempotency-Key")
	k.asked[id]++
	if first, known := k.bodies[id]; known && first != string(body) && k.tells {
		w.WriteHeader(http.StatusUnprocessableEntity)
		fmt.Fprint(w, `{"code":"IDEMPOTENCY_MISMATCH","outcome":"not_applied"}`)
		return
	}
	k.bodies[id] = string(body)
	fmt.Fprint(w, `{"version":1}`)
}

// Ensure writes of the whole time are sent again in the end, those that are too
// old are not, and a node that takes another write with the key of one is told.
func TestOnceAgain(t *testing.T) {
	for _, tells := range []bool{true, false} {
		node := &keyed{tells: tells, bodies: map[string]string{}, asked: map[string]int{}}
		srv := httptest.NewServer(node)
		record := history.NewRecorder()
		w := newOnce(Env{Name: "once", Nodes: []*wire.Node{wire.NewNode("n1", srv.URL)}, Record: record, Slack: 1}).(*once)
		set := wire.Request{Kind: history.Set, Workflow: "once", Key: "k0", Value: `"x"`, Idempotency: "new"}
		old := set
		old.Idempotency = "old"
		w.kept.kept = []sent{{set, record.Now()}, {old, record.Now() - onceAge}}
		err := w.Finish(t.Context())
		srv.Close()
		if told := err != nil && strings.Contains(err.Error(), "once/k0 with the idempotency key new"); told == tells {
			t.Errorf("refuses another write %t: %v", tells, err)
		}
		if ops := record.History().Ops; len(ops) != 1 || ops[0].Idempotency != "new" || node.asked["new"] != 2 || node.asked["old"] != 0 {
			t.Errorf("recorded %+v, asked %v", ops, node.asked)
		}
	}
}

// Ensure a sample of many writes is small, and is not of the first or the last.
func TestSample(t *testing.T) {
	var s sample
	rng := rand.New(rand.NewPCG(1, 2))
	const many = 20 * onceKept
	for i := range many {
		s.add(sent{Request: wire.Request{Expected: uint64(i)}}, rng)
	}
	early := 0
	for _, w := range s.kept {
		if w.Expected < many/2 {
			early++
		}
	}
	if len(s.kept) != onceKept || early < onceKept/5 || early > onceKept*4/5 {
		t.Errorf("kept %d writes, %d of the first half", len(s.kept), early)
	}
}
