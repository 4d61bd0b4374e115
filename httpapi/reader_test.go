package httpapi

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stateraft/stateraft/fsm/fsmpb"
)

const patience = 20 * time.Second

// A reader is a client of one stream that sees every byte.
type reader struct {
	tb     testing.TB
	conn   net.Conn
	buf    *bufio.Reader
	header http.Header
	closes bool // the head says that the connection ends with the answer
}

// open sends a request for a stream and reads the head of the answer.
func open(tb testing.TB, addr, path string, headers ...string) *reader {
	tb.Helper()
	r := dial(tb, addr, path, headers...)
	r.head()
	return r
}

// dial sends a request for a stream; headers are names and values in turn.
func dial(tb testing.TB, addr, path string, headers ...string) *reader {
	tb.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		tb.Fatal(err)
	}
	r := &reader{tb: tb, conn: conn, buf: bufio.NewReader(conn)}
	tb.Cleanup(r.close)
	request := "GET " + path + " HTTP/1.1\r\nHost: x\r\n"
	for i := 0; i < len(headers); i += 2 {
		request += headers[i] + ": " + headers[i+1] + "\r\n"
	}
	if _, err := io.WriteString(conn, request+"\r\n"); err != nil {
		tb.Fatal(err)
	}
	return r
}

func (r *reader) response() *http.Response {
	r.tb.Helper()
	_ = r.conn.SetReadDeadline(time.Now().Add(patience))
	res, err := http.ReadResponse(r.buf, nil)
	if err != nil {
		r.tb.Fatal(err)
	}
	return res
}

// head reads the head of a stream.
func (r *reader) head() {
	r.tb.Helper()
	res := r.response()
	r.header, r.closes = res.Header, res.Close
	if res.StatusCode != 200 {
		body, _ := io.ReadAll(res.Body)
		r.tb.Fatalf("got %s %s", res.Status, body)
	}
}

func (r *reader) close() { _ = r.conn.Close() }

// block returns the next block with the empty line that ends it, or "" at the
// end of the stream.
func (r *reader) block() string {
	r.tb.Helper()
	_ = r.conn.SetReadDeadline(time.Now().Add(patience))
	block := ""
	for {
		line, err := r.buf.ReadString('\n')
		block += line
		if err == io.EOF {
			return ""
		}
		if err != nil {
			r.tb.Fatalf("after %q: %v", block, err)
		}
		if line == "\n" {
			return block
		}
	}
}

// blocks fails the test unless these blocks come next.
func (r *reader) blocks(want ...string) {
	r.tb.Helper()
	for _, w := range want {
		if got := r.block(); got != w {
			r.tb.Fatalf("got block %q, want %q", got, w)
		}
	}
}

// A told is an event as a client understands it.
type told struct {
	name string // of the event; empty for changes and snapshots
	id   uint64 // the last id seen
	data string
	json struct {
		Type              string
		WorkflowID, Key   string
		NewValue          json.RawMessage
		Version, Revision uint64
		Tx                *struct{ First, Last uint64 }
		OldValue          json.RawMessage
	}
}

// event returns the next event, past blocks that are none; false at the end.
func (r *reader) event() (told, bool) {
	r.tb.Helper()
	var e told
	for {
		block := r.block()
		if block == "" {
			return e, false
		}
		if e.parse(r.tb, block); e.data != "" {
			return e, true
		}
	}
}

func (e *told) parse(tb testing.TB, block string) {
	tb.Helper()
	for line := range strings.Lines(block) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch name {
		case "id":
			id, err := strconv.ParseUint(value, 10, 64)
			if err != nil {
				tb.Fatal(err)
			}
			e.id = id
		case "event":
			e.name = value
		case "data":
			e.data = value
		}
	}
	if e.data == "" {
		return
	}
	if err := json.Unmarshal([]byte(e.data), &e.json); err != nil {
		tb.Fatalf("%q: %v", block, err)
	}
}

// set writes without HTTP.
func (x *api) set(workflow, key, value string) *fsmpb.Answer {
	x.tb.Helper()
	a, err := x.cluster.Propose(x.tb.Context(), setCommand(workflow, key, value))
	if err != nil {
		x.tb.Fatal(err)
	}
	return a
}

func setCommand(workflow string, keysAndValues ...string) *fsmpb.Command {
	c := &fsmpb.Command{Namespace: workflowNamespace(workflow)}
	for i := 0; i < len(keysAndValues); i += 2 {
		c.Ops = append(c.Ops, &fsmpb.Op{Kind: fsmpb.Op_SET, Key: keysAndValues[i], Value: []byte(keysAndValues[i+1])})
	}
	return c
}

// eventually fails the test if check does not come true.
func eventually(tb testing.TB, what string, check func() bool) {
	tb.Helper()
	for deadline := time.Now().Add(patience); !check(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			tb.Fatalf("%s: it did not come about", what)
		}
	}
}

func opened(revision uint64) string { return fmt.Sprintf("retry: 1000\nid: %d\n\n", revision) }
