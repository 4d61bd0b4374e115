package main

import (
	"bufio"
	"encoding/json"
	"io"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stateraft/stateraft/client"
)

// startWatch starts the command and returns it with the lines that it prints.
func startWatch(t *testing.T, url string, args ...string) (*process, <-chan string) {
	t.Helper()
	r, w := io.Pipe()
	t.Cleanup(func() { r.Close() })
	p := startProcessWith(t, w, append([]string{"watch", "--endpoints", url}, args...)...)
	lines := make(chan string, 100)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(r); s.Scan(); {
			lines <- s.Text()
		}
	}()
	return p, lines
}

// expect waits for lines that match.
func expect(t *testing.T, lines <-chan string, want ...string) {
	t.Helper()
	for _, pattern := range want {
		select {
		case line := <-lines:
			if !regexp.MustCompile("^" + pattern + "$").MatchString(line) {
				t.Errorf("got %q, want %q", line, pattern)
			}
		case <-time.After(testTimeout):
			t.Fatalf("nothing came, want %q", pattern)
		}
	}
}

// Ensure watch shows changes at once, one a line, and that Ctrl-C is how it
// ends and no failure.
func TestWatch(t *testing.T) {
	t.Parallel()
	node := startNode(t, t.TempDir())
	state := (&processNode{process: node}).client(t).State
	set := func(key string, value any, opts ...client.WriteOption) {
		t.Helper()
		if _, err := state.Set(t.Context(), "wf", key, value, opts...); err != nil {
			t.Fatal(err)
		}
	}
	set("a/1", json.RawMessage(`{"n":1.10}`))

	all, allLines := startWatch(t, node.url, "wf", "--snapshot")
	key, keyLines := startWatch(t, node.url, "wf", "a/1", "--from", "0", "-o", "json")
	prefix, prefixLines := startWatch(t, node.url, "wf", "--prefix", "b/", "--snapshot")
	expect(t, allLines, `snapshot\ta/1\t1\t\t\{"n":1.10\}`, `synced\t\t\t1\t`)
	expect(t, keyLines, `{"type":"set","workflowId":"wf","key":"a/1","oldValue":null,"newValue":{"n":1.10},"version":1,"revision":1}`)
	expect(t, prefixLines, `synced\t\t\t1\t`)

	set("b/1", "<b>")
	if _, err := state.Delete(t.Context(), "wf", "a/1"); err != nil {
		t.Fatal(err)
	}
	set("b/1", nil, client.WithTTL(20*time.Millisecond))
	expect(t, allLines, `set\tb/1\t1\t2\t"<b>"`, `delete\ta/1\t2\t3\tnull`, `set\tb/1\t2\t4\tnull`, `expire\tb/1\t3\t5\tnull`)
	expect(t, keyLines, `{"type":"delete","workflowId":"wf","key":"a/1","oldValue":{"n":1.10},"newValue":null,"version":2,"revision":3}`)
	expect(t, prefixLines, `set\tb/1\t1\t2\t"<b>"`, `set\tb/1\t2\t4\tnull`, `expire\tb/1\t3\t5\tnull`)

	for _, p := range []*process{all, key, prefix} {
		if code, _ := p.stop(t, syscall.SIGINT); code != exitOK || p.log.String() != "" {
			t.Errorf("exit %d, stderr %q", code, p.log)
		}
	}
}

func TestEventLine(t *testing.T) {
	at := time.Date(2026, 11, 22, 9, 8, 7, 65e6, time.UTC)
	long := json.RawMessage(`"` + strings.Repeat("é", 200) + `"`)
	for _, tt := range []struct {
		name   string
		event  client.Event
		colour bool
		want   string
	}{
		{"set", client.Event{Type: "set", Key: "k", NewValue: json.RawMessage(`{"a":1}`), Version: 3}, false,
			`09:08:07.065  set       k  v3  {"a":1}`},
		{"set with colours", client.Event{Type: "set", Key: "k", NewValue: json.RawMessage("1"), Version: 3}, true,
			"\x1b[2m09:08:07.065\x1b[0m  \x1b[32mset\x1b[0m       \x1b[1mk\x1b[0m  \x1b[2mv3\x1b[0m  1"},
		{"cut to the width", client.Event{Type: "snapshot", Key: "k", NewValue: long, Version: 12}, false,
			`09:08:07.065  snapshot  k  v12  "` + strings.Repeat("é", 46) + "…"},
		{"a key that leaves no room", client.Event{Type: "delete", Key: strings.Repeat("k", 200), NewValue: long, Version: 1}, false,
			`09:08:07.065  delete    ` + strings.Repeat("k", 200) + `  v1  "éééééé…`},
		{"resync", client.Event{Type: "resync"}, false, "09:08:07.065  resync"},
		{"synced", client.Event{Type: "synced", Revision: 7}, false, "09:08:07.065  synced"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := &output{terminal: true, colour: tt.colour}
			if got := o.eventLine(tt.event, at); got != tt.want {
				t.Errorf("got\n%q\nwant\n%q", got, tt.want)
			}
		})
	}
}
