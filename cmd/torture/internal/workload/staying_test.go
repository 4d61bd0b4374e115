package workload

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
	"github.com/stateraft/stateraft/cmd/torture/internal/wire"
)

// Ensure a node whose streams say no more than that they are alive is told, and
// one whose streams end early is not.
func TestSilentNode(t *testing.T) {
	silent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, ": keep-alive\n\n")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}))
	defer silent.Close()
	asked := 0
	brief := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if id := r.Header.Get("Last-Event-ID"); id != "6" {
			t.Errorf("the stream begins behind %s", id)
		}
		if asked++; asked > 2 {
			fmt.Fprint(w, tellEnd)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}
	}))
	defer brief.Close()
	record := history.NewRecorder()
	f := newFollowers(Env{Name: "pages", Record: record})
	for name, url := range map[string]string{"n1": silent.URL, "n2": brief.URL} {
		f.staying(wire.NewNode(name, url), wire.Feed{Workflow: "w"}, 6)
	}
	err := f.wait(t.Context(), 3*time.Second)
	f.stop()
	f.wg.Wait()
	if err == nil || !strings.Contains(err.Error(), "w at n1 from revision 6") || strings.Contains(err.Error(), "n2") {
		t.Errorf("told %v", err)
	}
	if subscribers := record.History().Subscribers; len(subscribers) != 2 {
		t.Errorf("recorded %+v", subscribers)
	}
}

// Ensure a key that was set without a TTL is deleted in the end, and only such.
func TestLastingKeysAreDeleted(t *testing.T) {
	there := map[string]bool{"for good": true, "ends": true}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodDelete {
			delete(there, strings.TrimPrefix(r.URL.Path, "/v1/state/ttl/"))
			fmt.Fprint(w, `{"deleted":true}`)
			return
		}
		var entries []string
		for key := range there {
			entries = append(entries, fmt.Sprintf(`{"key":%q,"value":1,"version":1}`, key))
		}
		fmt.Fprintf(w, `{"entries":[%s]}`, strings.Join(entries, ","))
	}))
	defer srv.Close()
	w := newTTL(Env{Name: "ttl", Nodes: []*wire.Node{wire.NewNode("n1", srv.URL)}, Record: history.NewRecorder(), Slack: 1}).(*ttl)
	w.lasting["for good"] = true
	if err := w.Finish(t.Context()); err == nil || len(there) != 1 || !there["ends"] {
		t.Errorf("%v is left, %v", there, err)
	}
}
