package history_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
)

// Ensure a saved history has all that checkers look at.
func TestSave(t *testing.T) {
	r := history.NewRecorder()
	r.Op(history.Op{Workload: "stream", Kind: history.Set, Outcome: history.OK})
	r.Event(history.Event{Subscriber: "s", Type: "set"})
	r.Subscriber("s", history.Subscriber{Workload: "stream", Workflow: "w", From: 7, Follows: true})
	r.Final("n1", []history.Entry{{Workflow: "w", Key: "k", Value: "1", Version: 1}})
	r.Reach(20)
	h := r.History()
	h.Slack, h.Drifts = 3, []history.Drift{{From: 1, To: time.Second, Gain: 0.01}}
	path := filepath.Join(t.TempDir(), "history.jsonl")
	if err := h.Save(path); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(bytes.TrimSpace(text), []byte("\n"))
	var got history.History
	got.Ops, got.Events = make([]history.Op, 1), make([]history.Event, 1)
	for i, into := range []any{&got.Ops[0], &got.Events[0], &got} {
		if err := json.Unmarshal(lines[i], into); err != nil {
			t.Fatal(err)
		}
	}
	if !reflect.DeepEqual(&got, h) {
		t.Errorf("got %+v, want %+v", got, h)
	}
	if h.Subscribers["s"].Begun == 0 {
		t.Error("nobody knows when the subscriber began")
	}
}
