package httpapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stateraft/stateraft/client"
)

// A backup holds what there is but for API keys, and says of which revision.
func TestBackup(t *testing.T) {
	x := newAPI(t)
	x.ok(x.post("/v1/state/wf/k", `{"value":"mark"}`), "")
	x.ok(x.post("/v1/keys", `{"scopes":["state:read"],"name":"secretary"}`), "")
	a := x.ok(x.get("/v1/backup"), "")
	if a.header.Get(headerRevision) != strconv.FormatUint(x.revision(), 10) || a.header.Get("Content-Type") != backupType {
		t.Errorf("headers are %v", a.header)
	}
	if !strings.Contains(a.body, `"mark"`) || strings.Contains(a.body, "secretary") {
		t.Error("the backup holds an API key, or not the key of the workflow")
	}
	x.refused(x.post("/v1/restore", a.body), 409, "REFUSED")
	x.refused(x.post("/v1/restore?force=true", a.body[:len(a.body)-1]), 400, "INVALID_REQUEST")
	x.ok(x.post("/v1/restore?force=true", a.body), "")
	x.ok(x.get("/v1/state/wf/k"), "")
}

// Only one backup is sent at a time.
func TestBackupOneAtATime(t *testing.T) {
	x := newAPI(t)
	x.server.backups.Lock()
	x.refused(x.get("/v1/backup"), 429, "OVERLOADED")
	x.server.backups.Unlock()
	x.ok(x.get("/v1/backup"), "")
}

// What reaches all projects takes the root token, not an administrator's key.
func TestBackupTakesRoot(t *testing.T) {
	x := newAPI(t, withAuth)
	admin, _ := x.newKey(`"scopes":["admin"],"project":"other"`)
	x.denied("backup", x.get("/v1/backup", as(admin)...), 403, "FORBIDDEN")
	a := x.ok(x.get("/v1/backup", as(rootToken)...), "")
	x.denied("restore", x.post("/v1/restore", a.body, as(admin)...), 403, "FORBIDDEN")
	x.ok(x.post("/v1/restore", a.body, as(rootToken)...), "")
	x.admitted("a key from before", x.get("/v1/keys", as(admin)...))
}

// A restore, over the wire and over three nodes: streams that are open, and
// those that come back with an id from before or from the source, resync; a
// token from before is told to be one.
func TestRestoreResyncs(t *testing.T) {
	source := newAPI(t)
	for i := range 5 {
		source.ok(source.post("/v1/state/wf/k", fmt.Sprint(`{"value":`, i, `}`)), "")
	}
	backup := source.ok(source.get("/v1/backup"), "").body

	c, addrs := threeNodes(t)
	namespace := workflowNamespace("wf")
	before := c.Nodes[0].Set(t, namespace, "old", "1").Revision
	c.WaitEqual()
	live := open(t, addrs[0], listPath, "Accept", "text/event-stream")
	live.blocks(opened(before))

	cl, err := client.New(client.Config{Endpoints: []string{"http://" + addrs[1]}})
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := cl.Cluster.Restore(ctx, strings.NewReader(backup), false); !errors.Is(err, client.ErrRefused) {
		t.Fatalf("into a cluster with keys: %v", err)
	}
	restored, err := cl.Cluster.Restore(ctx, strings.NewReader(backup), true)
	if err != nil || restored.Keys != 1 || restored.Backup != 5 {
		t.Fatalf("restored %+v, %v", restored, err)
	}
	whole := []string{
		"event: resync\ndata: {}\n\n",
		`data: {"type":"snapshot","workflowId":"wf","key":"k","oldValue":null,"newValue":4,"value":4,"version":5}` + "\n\n",
		fmt.Sprintf("event: synced\nid: %d\ndata: {\"revision\":%[1]d}\n\n", restored.Revision),
	}
	live.blocks(whole...)
	c.WaitEqual()
	for _, addr := range addrs {
		for _, id := range []uint64{before, restored.Revision - 1, restored.Revision + 1_000} {
			r := open(t, addr, listPath, "Accept", "text/event-stream", headerLastEventID, fmt.Sprint(id))
			r.blocks("retry: 1000\n\n")
			r.blocks(whole...)
		}
		r := open(t, addr, listPath, "Accept", "text/event-stream", headerLastEventID, fmt.Sprint(restored.Revision))
		r.blocks(opened(restored.Revision))
	}
	for _, read := range []client.ReadOption{client.MinRevision(before), client.MinRevision(restored.Revision + 1000)} {
		if _, err := cl.State.Get(ctx, "wf", "k", read); !errors.Is(err, client.ErrRevisionUnknown) {
			t.Errorf("a revision of another state: %v", err)
		}
	}
	var again bytes.Buffer
	if revision, err := cl.Cluster.Backup(ctx, &again); err != nil || revision != restored.Revision {
		t.Errorf("a backup of that: revision %d, %v; want %d", revision, err, restored.Revision)
	}
}

// A restore ends when its sender leaves, and leaves the way to the next one.
func TestRestoreEndsWithItsSender(t *testing.T) {
	backup := newAPI(t).get("/v1/backup").body
	_, addrs := threeNodes(t)
	cl, err := client.New(client.Config{Endpoints: []string{"http://" + addrs[0]}})
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	r, w := io.Pipe()
	result := make(chan error, 1)
	go func() {
		_, err := cl.Cluster.Restore(t.Context(), r, false)
		result <- err
	}()
	_, _ = w.Write([]byte(backup[:10])) // it was read: the request is under way
	w.CloseWithError(errors.New("the sender leaves"))
	if err := <-result; err == nil {
		t.Error("a restore whose sender left succeeded")
	}
	eventually(t, "a restore after that", func() bool {
		_, err := cl.Cluster.Restore(t.Context(), strings.NewReader(backup), false)
		return err == nil
	})
}

// A node that takes its time leaves no deadline behind: over HTTP/2 one ends the
// stream although nobody waits for the client.
func TestPatientBodyLeavesNoDeadline(t *testing.T) {
	w := &deadlineRecorder{}
	b := &patientBody{r: strings.NewReader("0123"), w: io.Discard, conn: http.NewResponseController(w)}
	if _, err := b.Read(make([]byte, 2)); err != nil || !w.read.IsZero() || !w.wasSet {
		t.Errorf("after a read: %v, deadline %v, set %v", err, w.read, w.wasSet)
	}
	w.wasSet = false
	if _, err := b.Write([]byte("0")); err != nil || !w.write.IsZero() || !w.wasSet {
		t.Errorf("after a write: %v, deadline %v, set %v", err, w.write, w.wasSet)
	}
}

// deadlineRecorder notes the deadlines in force, and whether there was one.
type deadlineRecorder struct {
	http.ResponseWriter
	read, write time.Time
	wasSet      bool
}

func (d *deadlineRecorder) SetReadDeadline(at time.Time) error {
	d.read, d.wasSet = at, d.wasSet || !at.IsZero()
	return nil
}

func (d *deadlineRecorder) SetWriteDeadline(at time.Time) error {
	d.write, d.wasSet = at, d.wasSet || !at.IsZero()
	return nil
}
