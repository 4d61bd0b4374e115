package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// browserPage uses an EventSource as the vendor's document shows it, and shows
// each version that it gets. It tells the site when it listens, and what it
// shows in the end. With several nodes it goes on at the next one itself when
// one fails, as a page has to that cannot wait for the node to come back.
const browserPage = `<!doctype html>
<main></main>
<script>
const {nodes, path} = %s;
const tell = (where, what) => fetch(where, {method: 'POST', body: what});
const shown = document.querySelector('main');
let lastEventId = '', at = 0;

function connect() {
	const query = lastEventId ? '?lastEventId=' + lastEventId : '';
	const source = new EventSource(nodes[at] + path + query);
	source.onopen = () => tell('/open', nodes[at]);
	source.onmessage = (e) => {
		const { oldValue, newValue, version } = JSON.parse(e.data);
		if (!lastEventId) {
			tell('/first', version);
		}
		lastEventId = e.lastEventId;
		shown.append(version + ' ');
		if (newValue === 'end') {
			source.close();
			tell('/shown', shown.textContent);
		}
	};
	source.onerror = () => {
		if (nodes.length > 1) {
			source.close();
			at = (at + 1) %% nodes.length;
			setTimeout(connect, 20);
		} else if (source.readyState === EventSource.CLOSED) {
			tell('/shown', 'the browser has given up after ' + shown.textContent);
		}
	};
}
connect();
</script>`

// site serves the page, and hears from it.
type site struct {
	*httptest.Server
	page               atomic.Value // string
	open, first, shown chan string
}

func newSite(t *testing.T) *site {
	s := &site{open: make(chan string, 100), first: make(chan string, 100), shown: make(chan string, 100)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		io.WriteString(w, s.page.Load().(string))
	})
	hear := func(what chan<- string) http.HandlerFunc {
		return func(_ http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			what <- string(body)
		}
	}
	mux.HandleFunc("POST /open", hear(s.open))
	mux.HandleFunc("POST /first", hear(s.first))
	mux.HandleFunc("POST /shown", hear(s.shown))
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

// heard returns what is said next.
func heard(t *testing.T, what <-chan string) string {
	t.Helper()
	select {
	case s := <-what:
		return s
	case <-time.After(testTimeout):
		t.Fatalf("nothing was heard for %v", testTimeout)
		return ""
	}
}

// startBrowser opens url in a headless Chromium until the test ends.
func startBrowser(t *testing.T, name, url string) {
	t.Helper()
	profile, err := os.MkdirTemp("", "browser-")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(name, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--no-proxy-server", "--remote-debugging-port=0", "--user-data-dir="+profile, url)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // with the processes of its own
		cmd.Wait()
		os.RemoveAll(profile) // as far as it is still
	})
}

// findBrowser returns the name of a Chromium, of whichever package.
func findBrowser(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"} {
		if _, err := exec.LookPath(name); err == nil {
			return name
		}
	}
	t.Skip("no Chromium on this machine; scripts/test.sh installs one")
	return ""
}

// Ensure that a page of another origin shows every version of a key once and in
// order, while the writes go to node 1 and nodes fail.
func TestBrowser(t *testing.T) {
	t.Parallel()
	browser := findBrowser(t)
	s := newSite(t)
	c := startCluster(t, "--cors-origins", s.URL)
	all := t // nodes live longer than the cases that restart them
	for i, tt := range []struct {
		name   string
		nodes  []*processNode // of the page
		leader int
		fail   *processNode
		sig    syscall.Signal
	}{
		{"the leader is killed", c.nodes[1:2], 2, c.nodes[2], syscall.SIGKILL},
		{"the page's node is restarted", c.nodes[1:2], 0, c.nodes[1], syscall.SIGTERM},
		{"the page's node is killed, and it has others", c.nodes[1:3], 1, c.nodes[1], syscall.SIGKILL},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c.lead(t, tt.leader)
			workflow := fmt.Sprint("browser-", i)
			s.show(t, "/v1/state/"+workflow+"/status/stream", tt.nodes)
			startBrowser(t, browser, s.URL)
			if at := heard(t, s.open); at != tt.nodes[0].url {
				t.Errorf("the page listens to %s", at)
			}
			var last uint64
			var writing sync.WaitGroup
			defer writing.Wait()
			ctx, stop := context.WithCancel(t.Context())
			defer stop() // also where a node does not come back
			writing.Go(func() { last = writeUntil(ctx, t, c.nodes[0], workflow) })
			heard(t, s.first)                  // else the page that goes elsewhere asks for no earlier writes
			time.Sleep(300 * time.Millisecond) // of writes before
			tt.fail.stop(t, tt.sig)
			time.Sleep(300 * time.Millisecond) // of writes meanwhile
			tt.fail.start(all)
			tt.fail.waitReady(t)
			stop()
			writing.Wait()
			want := new(strings.Builder)
			for version := range last {
				fmt.Fprintf(want, "%d ", version+1)
			}
			if got := strings.TrimSpace(heard(t, s.shown)); got != strings.TrimSpace(want.String()) {
				t.Errorf("the page shows %s\nwant %s", got, want)
			}
		})
	}
}

// show makes the page for a stream, from the first of the nodes on.
func (s *site) show(t *testing.T, path string, nodes []*processNode) {
	t.Helper()
	settings := map[string]any{"path": path}
	var urls []string
	for _, n := range nodes {
		urls = append(urls, n.url)
	}
	settings["nodes"] = urls
	text, err := json.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}
	s.page.Store(fmt.Sprintf(browserPage, text))
	for len(s.open) > 0 {
		<-s.open // of the page before
	}
}

// writeUntil writes to a key through one node until ctx ends, then once more,
// and returns the last version.
func writeUntil(ctx context.Context, t *testing.T, n *processNode, workflow string) (version uint64) {
	state := n.client(t).State
	for i := 1; ; i++ {
		var value any = i
		ended := false
		select {
		case <-ctx.Done():
			value, ended = "end", true
		case <-time.After(10 * time.Millisecond):
		}
		var err error
		if version, err = state.Set(context.Background(), workflow, "status", value); err != nil {
			t.Errorf("write at a node that lives: %v", err)
			return 0
		}
		if ended {
			return version
		}
	}
}

// lead makes a node the leader.
func (c *processCluster) lead(t *testing.T, node int) {
	t.Helper()
	for deadline := time.Now().Add(testTimeout); c.leader(t) != node; {
		if time.Now().After(deadline) {
			t.Fatalf("node %d does not become the leader", node+1)
		}
		if err := c.nodes[node].client(t).Cluster.TransferLeadership(t.Context(), fmt.Sprint("n", node+1)); err != nil {
			time.Sleep(50 * time.Millisecond) // its log is not level yet
		}
	}
}
