package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stateraft/stateraft/client"
)

// setting returns a number from the environment, or what a default run takes.
func setting(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}

// streamKeys are what subscribers follow. Versions of a key that is deleted are
// consecutive only if its workflow has no other.
var streamKeys = map[string][]string{
	"streams-1": {"a", "b", "c", "d"},
	"streams-2": {"a", "b", "c", "d"},
	"streams-3": {"deleted"},
}

// Ensure that subscribers see every version of a key once and in order, all that
// were acknowledged among them, while nodes are killed and restarted at random
// under writes, and that none has to start over.
func TestStreamsOverKills(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	subscribers, seconds := setting("STATERAFT_TEST_SUBSCRIBERS", 200), setting("STATERAFT_TEST_SECONDS", 6)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()

	followers := make([]*follower, subscribers)
	var opening sync.WaitGroup
	for i := range followers {
		followers[i] = newFollower(i)
		opening.Go(func() { followers[i].subscribe(t, ctx, c) })
	}
	opening.Wait()
	if t.Failed() {
		return
	}
	w := startStreamWriters(t, c, time.Duration(subscribers)*time.Second/4000)
	var following sync.WaitGroup
	for _, f := range followers {
		following.Go(func() { f.follow() })
	}

	faults := 0
	for end := time.Now().Add(time.Duration(seconds) * time.Second); time.Now().Before(end); faults++ {
		time.Sleep(time.Duration(rand.IntN(500)) * time.Millisecond) // of load on all
		n := c.nodes[rand.IntN(len(c.nodes))]
		n.stop(t, []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM}[rand.IntN(2)])
		time.Sleep(time.Duration(rand.IntN(500)) * time.Millisecond) // of load on the others
		n.start(t)
		n.waitReady(t)
	}
	last := w.finish()
	for _, f := range followers {
		f.want.Store(&last)
	}
	w.wake(c)
	late := time.AfterFunc(testTimeout, cancel)
	defer late.Stop()
	following.Wait()
	events := 0
	for i, f := range followers {
		if f.err != nil {
			t.Errorf("subscriber %d of %s %s: %v; it has seen %v of %v", i, f.workflow, f.key, f.err, f.seen, last[f.workflow])
		}
		events += f.events
	}
	t.Logf("%d subscribers, %d kills and restarts, %d events", subscribers, faults, events)
}

// versions is how far each key of a workflow is.
type versions map[string]uint64

// follower is one subscriber, and what it has seen.
type follower struct {
	workflow, key string // no key: all of the workflow
	sub           *client.Subscription
	revision      uint64
	seen          versions
	events        int
	err           error

	want atomic.Pointer[map[string]versions] // where it may end, once that is known
}

// newFollower spreads followers over keys and workflows.
func newFollower(i int) *follower {
	f := &follower{workflow: fmt.Sprint("streams-", i%3+1), seen: versions{}}
	if keys := streamKeys[f.workflow]; i%4 != 0 {
		f.key = keys[i/4%len(keys)]
	}
	return f
}

// subscribe begins at one node, and may go on at all.
func (f *follower) subscribe(t *testing.T, ctx context.Context, c *processCluster) {
	cl, err := client.New(client.Config{Endpoints: c.shuffled()})
	if err != nil {
		t.Error(err)
		return
	}
	if f.key == "" {
		f.sub, err = cl.State.SubscribeWorkflow(ctx, f.workflow)
	} else {
		f.sub, err = cl.State.Subscribe(ctx, f.workflow, f.key)
	}
	if err != nil {
		t.Error(err)
	}
}

func (c *processCluster) shuffled() (urls []string) {
	for _, n := range c.nodes {
		urls = append(urls, n.url)
	}
	rand.Shuffle(len(urls), func(i, j int) { urls[i], urls[j] = urls[j], urls[i] })
	return urls
}

func (f *follower) follow() {
	defer f.sub.Close()
	for f.err == nil && !f.done() {
		event, err := f.sub.Next()
		if err == nil {
			err = f.take(event)
		}
		f.err = err
	}
}

// done reports whether it has seen the last version of all it follows.
func (f *follower) done() bool {
	want := f.want.Load()
	if want == nil {
		return false
	}
	for key, version := range (*want)[f.workflow] {
		if f.seen[key] < version && (f.key == "" || f.key == key) {
			return false
		}
	}
	return true
}

func (f *follower) take(e client.Event) error {
	switch {
	case !e.IsChange():
		return fmt.Errorf("got %s although the history reaches back", e.Type)
	case e.Workflow != f.workflow, f.key != "" && e.Key != f.key:
		return fmt.Errorf("got an event of %s %s", e.Workflow, e.Key)
	case e.Version != f.seen[e.Key]+1:
		return fmt.Errorf("got version %d of %s after %d", e.Version, e.Key, f.seen[e.Key])
	case e.Revision <= f.revision:
		return fmt.Errorf("got revision %d after %d", e.Revision, f.revision)
	}
	f.seen[e.Key], f.revision = e.Version, e.Revision
	f.events++
	return nil
}

// streamWriters is a writer for each key.
type streamWriters struct {
	t     *testing.T
	stop  atomic.Bool
	wg    sync.WaitGroup
	mu    sync.Mutex // guards acked
	acked map[string]versions
}

func startStreamWriters(t *testing.T, c *processCluster, pause time.Duration) *streamWriters {
	w := &streamWriters{t: t, acked: map[string]versions{}}
	for workflow := range streamKeys {
		w.acked[workflow] = versions{} // before any writer reads the map
	}
	for workflow, keys := range streamKeys {
		for _, key := range keys {
			cl, err := client.New(client.Config{Endpoints: c.shuffled()})
			if err != nil {
				t.Fatal(err)
			}
			w.wg.Go(func() { w.write(cl.State, workflow, key, pause) })
		}
	}
	return w
}

// write ends with a write whose version is known, and so the last.
func (w *streamWriters) write(s *client.State, workflow, key string, pause time.Duration) {
	for n := 1; ; n++ {
		last := w.stop.Load()
		if key == "deleted" && n%3 == 0 && !last {
			s.Delete(context.Background(), workflow, key)
			continue
		}
		version, err := s.Set(context.Background(), workflow, key, n)
		w.mu.Lock()
		if err == nil {
			w.acked[workflow][key] = max(version, w.acked[workflow][key])
		}
		w.mu.Unlock()
		if err == nil && last {
			return
		}
		time.Sleep(pause)
	}
}

// finish returns the last version of each key, which is its highest: what came
// of writes that were lost is below.
func (w *streamWriters) finish() map[string]versions {
	w.stop.Store(true)
	w.wg.Wait()
	return w.acked
}

// wake gives every subscriber an event to see that it may end.
func (w *streamWriters) wake(c *processCluster) {
	s := c.nodes[0].client(w.t).State
	for workflow, keys := range streamKeys {
		for _, key := range keys {
			if _, err := s.Set(w.t.Context(), workflow, key, "end"); err != nil {
				w.t.Error(err)
			}
		}
	}
}

// rawStream is a stream as it comes, without what a client does for it.
type rawStream struct {
	res *http.Response
	in  *bufio.Reader
}

// openRaw asks until the node serves the stream: one that was just started may
// not be able to yet.
func openRaw(t *testing.T, url string, lastID uint64) *rawStream {
	t.Helper()
	for deadline := time.Now().Add(testTimeout); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		req, err := http.NewRequest(http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", "text/event-stream")
		if lastID > 0 {
			req.Header.Set("Last-Event-ID", strconv.FormatUint(lastID, 10))
		}
		res, err := http.DefaultClient.Do(req)
		if err == nil && res.StatusCode == http.StatusOK {
			return &rawStream{res, bufio.NewReader(res.Body)}
		}
		if err == nil {
			res.Body.Close()
		}
	}
	t.Fatalf("no stream at %s", url)
	return nil
}

func (s *rawStream) close() { s.res.Body.Close() }

// read returns that many bytes.
func (s *rawStream) read(t *testing.T, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	if _, err := io.ReadFull(s.in, b); err != nil {
		t.Fatal(err)
	}
	return b
}

// event returns the next block with data: keep-alives may come between.
func (s *rawStream) event(t *testing.T) rawBlock {
	t.Helper()
	for {
		if b := s.next(t); b.data != "" {
			return b
		}
	}
}

// next returns the next block.
func (s *rawStream) next(t *testing.T) rawBlock {
	t.Helper()
	var text []byte
	for !bytes.HasSuffix(text, []byte("\n\n")) {
		line, err := s.in.ReadBytes('\n')
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, line...)
	}
	return parseRaw(t, text)
}

// rawBlock is a block of a stream of unnamed events.
type rawBlock struct {
	text string
	id   uint64 // 0: it sets none
	data string
}

func parseRaw(t *testing.T, text []byte) rawBlock {
	t.Helper()
	b := rawBlock{text: string(text)}
	for line := range strings.Lines(b.text) {
		if id, ok := strings.CutPrefix(line, "id: "); ok {
			n, err := strconv.ParseUint(strings.TrimSpace(id), 10, 64)
			if err != nil {
				t.Fatalf("id of %q: %v", text, err)
			}
			b.id = n
		}
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			b.data = strings.TrimSpace(data)
		}
	}
	return b
}

// Ensure that a stream which is cut after any byte of an atomic write's events
// goes on, at another node, with exactly those that had not come in whole.
func TestStreamCutAtEachByte(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	state := c.nodes[0].client(t).State
	if _, err := state.Set(t.Context(), "cut", "b", 0); err != nil {
		t.Fatal(err)
	}
	whole := openRaw(t, c.nodes[0].url+"/v1/state/cut", 0)
	defer whole.close()
	opening := whole.next(t)
	if _, err := state.Atomic(t.Context(), "cut", []client.Op{
		client.SetOp("a", "é<>"), client.DeleteOp("b"), client.SetOp("c", map[string]any{"x": []int{1, 2}}),
	}); err != nil {
		t.Fatal(err)
	}
	events := []rawBlock{whole.event(t), whole.event(t), whole.event(t)}
	checkTx(t, opening.id, events)

	stream := opening.text + events[0].text + events[1].text + events[2].text
	for n := range len(stream) + 1 {
		first := openRaw(t, c.nodes[n%3].url+"/v1/state/cut", opening.id)
		got, lastID := wholeBlocks(t, first.read(t, n), opening.id)
		first.close()
		if lastID == events[2].id {
			if len(got) != 3 {
				t.Errorf("cut after %d bytes: got %q", n, got)
			}
			continue
		}
		second := openRaw(t, c.nodes[(n+1)%3].url+"/v1/state/cut", lastID)
		for lastID != events[2].id {
			b := second.event(t)
			got, lastID = append(got, b.data), b.id
		}
		second.close()
		if want := []string{events[0].data, events[1].data, events[2].data}; !slices.Equal(got, want) {
			t.Fatalf("cut after %d bytes: got %q\nwant %q", n, got, want)
		}
	}
}

// checkTx expects the events of one atomic write, behind that revision.
func checkTx(t *testing.T, after uint64, events []rawBlock) {
	t.Helper()
	for i, b := range events {
		var e client.Event
		if err := json.Unmarshal([]byte(b.data), &e); err != nil {
			t.Fatal(err)
		}
		if want := (client.Tx{First: after + 1, Last: after + 3}); e.Tx != want || e.Revision != after+1+uint64(i) || b.id != e.Revision {
			t.Errorf("event %d: %s", i, b.text)
		}
	}
}

// wholeBlocks returns the data of what is complete, and the last id.
func wholeBlocks(t *testing.T, text []byte, id uint64) (data []string, lastID uint64) {
	lastID = id
	for {
		block, rest, ok := bytes.Cut(text, []byte("\n\n"))
		if !ok {
			return data, lastID
		}
		b := parseRaw(t, block)
		if b.id > 0 {
			lastID = b.id
		}
		if b.data != "" {
			data = append(data, b.data)
		}
		text = rest
	}
}

// Ensure that a node which was just killed and started again goes on behind an
// id from before, for a key whose last change was before as well.
func TestStreamResumesAtRestartedNode(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	state := c.nodes[0].client(t).State
	live := openRaw(t, c.nodes[1].url+"/v1/state/restart/k/stream", 0)
	defer live.close()
	live.next(t) // the opening
	var ids []uint64
	for i := range 5 {
		if _, err := state.Set(t.Context(), "restart", "k", i); err != nil {
			t.Fatal(err)
		}
		if _, err := state.Set(t.Context(), "restart", "other", i); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, live.event(t).id)
	}
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		c.nodes[2].stop(t, sig)
		c.nodes[2].start(t)
		s := openRaw(t, c.nodes[2].url+"/v1/state/restart/k/stream", ids[1])
		if b := s.next(t); b.data != "" || b.id != ids[1] {
			t.Errorf("opened with %q, want id %d alone", b.text, ids[1])
		}
		for i, id := range ids[2:] {
			if b := s.event(t); b.id != id || !strings.Contains(b.data, fmt.Sprintf(`"newValue":%d,`, i+2)) {
				t.Errorf("got %q, want id %d", b.text, id)
			}
		}
		s.close()
	}
}

// Ensure that a subscriber whose place the history no longer reaches is told so,
// and gets the state and what follows.
func TestStreamResync(t *testing.T) {
	t.Parallel()
	node := &processNode{process: startNode(t, t.TempDir(), "--history-events", "10")}
	state := node.client(t).State
	for i := range 20 {
		if _, err := state.Set(t.Context(), "resync", fmt.Sprint("k", i%3), i); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := state.Delete(t.Context(), "resync", "k0"); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		option client.SubscribeOption
		want   []string
	}{
		{client.FromRevision(19), []string{"set k1=7@20", "delete k0=8@21"}},
		{client.FromRevision(2), []string{"resync =0@0", "snapshot k1=7@0", "snapshot k2=6@0", "synced =0@21"}},
		{client.FromRevision(1 << 40), []string{"resync =0@0", "snapshot k1=7@0", "snapshot k2=6@0", "synced =0@21"}},
		{client.Snapshot(), []string{"snapshot k1=7@0", "snapshot k2=6@0", "synced =0@21"}},
	} {
		sub, err := state.SubscribeWorkflow(t.Context(), "resync", tt.option)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range tt.want {
			e, err := sub.Next()
			if got := fmt.Sprintf("%s %s=%d@%d", e.Type, e.Key, e.Version, e.Revision); err != nil || got != want {
				t.Errorf("got %s, %v, want %s", got, err, want)
			}
		}
		if sub.Revision() != 21 {
			t.Errorf("at revision %d, want 21", sub.Revision())
		}
		sub.Close()
	}
}
