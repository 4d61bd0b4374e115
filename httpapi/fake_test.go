package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stateraft/stateraft/cluster"
	"github.com/stateraft/stateraft/fsm"
	"github.com/stateraft/stateraft/fsm/fsmpb"
	"github.com/stateraft/stateraft/httpapi/proxy"
)

// epoch is the instant that cluster time 0 is shown as.
var epoch = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// fakeCluster is a cluster of one node without a log: commands are applied to
// a real state at once.
type fakeCluster struct {
	tb    testing.TB
	state *fsm.State

	mu       sync.Mutex // guards the fields below, and the order of Apply
	index    uint64
	session  uint64
	sequence uint64
	clock    int64 // cluster time, µs

	changed     chan struct{}    // closed when the state changes
	commands    []*fsmpb.Command // that were proposed
	readIndexes int
	waited      []uint64
	transferred []string
	removed     []string
	drains      int
	restores    int

	// What the methods return instead of doing their work.
	admitsErr, proposeErr, readErr, waitErr, readyErr, adminErr error
	panics                                                      bool
	alone                                                       bool                      // Status knows no members
	onPropose, onReadIndex                                      func(ctx context.Context) // called first, without mu
	onWait                                                      func()                    // as they are, by WaitRevision
}

func newFakeCluster(tb testing.TB) *fakeCluster {
	c := &fakeCluster{tb: tb, state: fsm.New(), clock: time.Second.Microseconds(), changed: make(chan struct{})}
	c.apply(tb, &fsmpb.Entry{LeaderStart: &fsmpb.LeaderStart{WallOffset: epoch.UnixMicro()}})
	c.session = c.apply(tb, &fsmpb.Entry{OpenSession: &fsmpb.OpenSession{
		BootId: []byte("boot"), Node: &fsmpb.Node{Id: "1", Name: "n1"},
	}}).Session
	return c
}

// apply requires c.mu, or a c that nobody else has.
func (c *fakeCluster) apply(tb testing.TB, e *fsmpb.Entry) fsm.Applied {
	e.Stamp = c.clock
	data, err := fsm.Encode(e)
	if err != nil {
		tb.Fatal(err)
	}
	c.index++
	applied, err := c.state.Apply(c.index, data)
	if err != nil {
		tb.Fatal(err)
	}
	c.announce()
	return applied
}

// announce wakes those who wait for a change. It requires c.mu.
func (c *fakeCluster) announce() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// raise raises the protocol version.
func (c *fakeCluster) raise(tb testing.TB, version uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.apply(tb, &fsmpb.Entry{RaiseVersion: &fsmpb.RaiseVersion{Version: version}})
}

// advance moves cluster time.
func (c *fakeCluster) advance(tb testing.TB, d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clock += d.Microseconds()
	c.apply(tb, &fsmpb.Entry{})
}

func (c *fakeCluster) Admits(int) error { return c.admitsErr }

func (c *fakeCluster) Propose(ctx context.Context, cmd *fsmpb.Command) (*fsmpb.Answer, error) {
	if c.onPropose != nil {
		c.onPropose(ctx)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.panics {
		panic("propose")
	}
	if c.proposeErr != nil {
		return nil, c.proposeErr
	}
	c.commands = append(c.commands, cmd)
	c.sequence++
	batch := &fsmpb.Batch{Session: c.session, Sequence: c.sequence, Low: c.sequence, Commands: []*fsmpb.Command{cmd}}
	e := &fsmpb.Entry{Stamp: c.clock, Batches: []*fsmpb.Batch{batch}}
	data, err := fsm.Encode(e)
	if err != nil {
		return nil, err
	}
	c.index++
	applied, err := c.state.Apply(c.index, data)
	if err != nil {
		return nil, err
	}
	c.announce()
	return applied.Batches[0].Answers[0], nil
}

// proposeMany applies cmd n times, in one entry.
func (c *fakeCluster) proposeMany(tb testing.TB, cmd *fsmpb.Command, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sequence++
	batch := &fsmpb.Batch{Session: c.session, Sequence: c.sequence, Low: c.sequence}
	for range n {
		batch.Commands = append(batch.Commands, cmd)
	}
	c.apply(tb, &fsmpb.Entry{Batches: []*fsmpb.Batch{batch}})
}

// limitHistory lets the history hold at most events.
func (c *fakeCluster) limitHistory(tb testing.TB, events uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	settings := fsm.DefaultSettings()
	settings.HistoryEvents = events
	c.apply(tb, &fsmpb.Entry{LeaderStart: &fsmpb.LeaderStart{WallOffset: epoch.UnixMicro(), Settings: settings}})
}

func (c *fakeCluster) ReadIndex(ctx context.Context) error {
	c.mu.Lock()
	c.readIndexes++
	c.mu.Unlock()
	if c.onReadIndex != nil {
		c.onReadIndex(ctx)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.readErr
}

func (c *fakeCluster) WaitRevision(_ context.Context, revision uint64) error {
	if c.onWait != nil {
		c.onWait()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waited = append(c.waited, revision)
	return c.waitErr
}

func (c *fakeCluster) WaitChange(ctx context.Context, revision uint64) error {
	for {
		c.mu.Lock()
		changed := c.changed
		c.mu.Unlock()
		if c.state.Point().Revision > revision {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (c *fakeCluster) State() *fsm.State { return c.state }
func (c *fakeCluster) Name() string      { return "n1" }

// Ready is asked at any time once there was a stream.
func (c *fakeCluster) Ready() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.readyErr
}

func (c *fakeCluster) setReady(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.readyErr = err
}

func (c *fakeCluster) Status(context.Context) cluster.Status {
	if c.alone {
		return cluster.Status{}
	}
	return cluster.Status{
		ClusterID: "c", Leader: "n1", Term: 3, Revision: c.state.Point().Revision,
		Version: cluster.VersionStatus{Cluster: 1, Min: 1, Max: 1},
		Nodes:   []cluster.MemberStatus{{ID: "1", Name: "n1", Role: "voter", Leader: true, Healthy: true}},
	}
}

func (c *fakeCluster) TransferLeadership(_ context.Context, to string) error {
	c.transferred = append(c.transferred, to)
	return c.adminErr
}

func (c *fakeCluster) RemoveMember(_ context.Context, member string) error {
	c.removed = append(c.removed, member)
	return c.adminErr
}

func (c *fakeCluster) Backup(omit string) *fsm.Backup { return c.state.Backup("c", epoch, omit) }

// Restore brings the whole backup in one entry.
func (c *fakeCluster) Restore(_ context.Context, r io.Reader, how cluster.Restore) (cluster.Restored, error) {
	b, err := fsm.NewBackupReader(r, how.Keep)
	if err != nil {
		return cluster.Restored{}, fmt.Errorf("%w: %w", cluster.ErrDamaged, err)
	}
	add := &fsmpb.Restore{Step: fsmpb.Restore_ADD}
	for err == nil {
		var keys []*fsmpb.ImageKey
		var floors []*fsmpb.ImageFloor
		keys, floors, err = b.Next()
		add.Keys, add.Floors = append(add.Keys, keys...), append(add.Floors, floors...)
	}
	if err != io.EOF {
		return cluster.Restored{}, fmt.Errorf("%w: %w", cluster.ErrDamaged, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.restores++
	commit := &fsmpb.Restore{Step: fsmpb.Restore_COMMIT, Revision: b.Info().Revision}
	for i, s := range []*fsmpb.Restore{{Step: fsmpb.Restore_BEGIN}, add, commit} {
		s.Id, s.Sequence, s.Force, s.Keep = fmt.Appendf(nil, "%016d", c.restores), uint64(i), how.Force, how.Keep
		if a := c.apply(c.tb, &fsmpb.Entry{Restore: s}).Restore; a.Refusal != fsmpb.RestoreAnswer_NONE {
			return cluster.Restored{}, fmt.Errorf("%w: %v", cluster.ErrRefused, a.Refusal)
		}
	}
	return cluster.Restored{BackupInfo: b.Info(), At: c.state.Point().Revision}, nil
}

func (c *fakeCluster) Drain(context.Context) error {
	c.drains++
	return c.adminErr
}

// nowhere is an upstream that nobody serves, so that no test leaves the machine.
const nowhere = "http://127.0.0.1:1/v1"

// An api is a server over a fake cluster, and how tests talk to it.
type api struct {
	tb      testing.TB
	cluster *fakeCluster
	server  *Server
}

func newAPI(tb testing.TB, configure ...func(*Config)) *api {
	tb.Helper()
	c := newFakeCluster(tb)
	config := Config{Cluster: c, Version: "test", Proxy: proxy.Config{OpenAIURL: nowhere, AnthropicURL: nowhere}}
	for _, f := range configure {
		f(&config)
	}
	s, err := New(config)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.cutoff.stop)
	tb.Cleanup(s.streams.Close)
	tb.Cleanup(s.proxy.Close)
	return &api{tb: tb, cluster: c, server: s}
}

// An answer is a response, with its body decoded if it is JSON.
type answer struct {
	status int
	header http.Header
	body   string
	json   map[string]any
}

// do sends a request; headers are names and values in turn. With
// Transfer-Encoding the body has no known length.
func (x *api) do(method, path, body string, headers ...string) answer {
	x.tb.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Transfer-Encoding" {
			r.ContentLength = -1
			continue
		}
		r.Header.Add(headers[i], headers[i+1])
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	w := httptest.NewRecorder()
	x.server.Handler().ServeHTTP(&leaver{w, cancel}, r.WithContext(ctx))
	a := answer{status: w.Code, header: w.Header(), body: w.Body.String()}
	_ = json.Unmarshal(w.Body.Bytes(), &a.json)
	return a
}

// A leaver is a client that leaves once it has seen how a stream begins.
type leaver struct {
	*httptest.ResponseRecorder
	leave func()
}

func (l *leaver) Flush() { l.leave() }

func (x *api) get(path string, headers ...string) answer {
	x.tb.Helper()
	return x.do("GET", path, "", headers...)
}

func (x *api) post(path, body string, headers ...string) answer {
	x.tb.Helper()
	return x.do("POST", path, body, headers...)
}

func (x *api) delete(path string, headers ...string) answer {
	x.tb.Helper()
	return x.do("DELETE", path, "", headers...)
}

// ok fails the test unless a is 200 with this body, which may be "" for any.
func (x *api) ok(a answer, body string) answer {
	x.tb.Helper()
	if a.status != http.StatusOK || body != "" && a.body != body {
		x.tb.Fatalf("got %d %s, want 200 %s", a.status, a.body, body)
	}
	return a
}

// refused fails the test unless a is an error of this status and code.
func (x *api) refused(a answer, status int, code string) answer {
	x.tb.Helper()
	if a.status != status || a.json["error"] != code || a.json["code"] != codeMember(code) {
		x.tb.Fatalf("got %d %s, want %d %s", a.status, a.body, status, code)
	}
	if a.json["message"] == "" {
		x.tb.Errorf("an error without a message: %s", a.body)
	}
	return a
}

// codeMember is the member code of an error's body: Agent State, whose codes
// are in snake_case, has none.
func codeMember(code string) any {
	if code == strings.ToLower(code) {
		return nil
	}
	return code
}

func (x *api) revision() uint64 { return x.cluster.state.Point().Revision }

// number returns a member of a's body that is a number.
func (a answer) number(name string) int {
	n, ok := a.json[name].(float64)
	if !ok {
		return -1
	}
	return int(n)
}
