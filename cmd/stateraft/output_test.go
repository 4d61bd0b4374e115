package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stateraft/stateraft/client"
)

func TestTable(t *testing.T) {
	tab := table{columns: []column{{title: "NAME"}, {title: "N", right: true}, {title: "NOTE"}}}
	tab.add("é", "7", "x")
	tab.rows = append(tab.rows, []cell{{"long name", green}, {"1234", ""}, {"", red}})
	tests := []struct {
		name string
		out  output
		want string
	}{
		{"elsewhere", output{form: formAuto}, "é\t7\tx\nlong name\t1234\t\n"},
		{"table asked for", output{form: formTable}, "" +
			"NAME          N  NOTE\n" +
			"é             7  x\n" +
			"long name  1234  \n"},
		// The escapes take no width.
		{"terminal with colours", output{form: formAuto, terminal: true, colour: true}, "" +
			"\x1b[1mNAME\x1b[0m          \x1b[1mN\x1b[0m  \x1b[1mNOTE\x1b[0m\n" +
			"é             7  x\n" +
			"\x1b[32mlong name\x1b[0m  1234  \n"},
		{"plain on a terminal", output{form: formPlain, terminal: true, colour: true}, "é\t7\tx\nlong name\t1234\t\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var b bytes.Buffer
			tt.out.w = &b
			if err := tt.out.table(tab); err != nil {
				t.Fatal(err)
			}
			if got := b.String(); got != tt.want {
				t.Errorf("got\n%q\nwant\n%q", got, tt.want)
			}
		})
	}
}

// Ensure a terminal gets values to read, and others the bytes as they are.
func TestShowEntry(t *testing.T) {
	e := client.Entry{Key: "k", Value: json.RawMessage(`{"a":1.10,"b":"<é>"}`), Version: 3}
	for _, tt := range []struct {
		name string
		out  output
		want string
	}{
		{"elsewhere", output{form: formAuto}, `{"a":1.10,"b":"<é>"}` + "\n"},
		{"terminal", output{form: formAuto, terminal: true}, "{\n  \"a\": 1.10,\n  \"b\": \"<é>\"\n}\n"},
		{"json", output{form: formJSON}, `{"key":"k","value":{"a":1.10,"b":"<é>"},"version":3,"expiresAt":null,"updatedAt":null}` + "\n"},
		{"plain", output{form: formPlain}, "k\t3\t\t\t{\"a\":1.10,\"b\":\"<é>\"}\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b bytes.Buffer
			tt.out.w = &b
			if err := showEntry(&tt.out, e); err != nil || b.String() != tt.want {
				t.Errorf("got %q, %v, want %q", b.String(), err, tt.want)
			}
		})
	}
}

// Ensure a list's rows stay lines on a terminal, and are whole elsewhere.
func TestShorten(t *testing.T) {
	long := json.RawMessage(`"` + strings.Repeat("é", 100) + `"`)
	if got := (&output{terminal: true}).shorten(long); len([]rune(got)) != 60 || !strings.HasSuffix(got, "é…") {
		t.Errorf("got %q", got)
	}
	if got := (&output{}).shorten(long); got != string(long) {
		t.Errorf("got %q", got)
	}
}

// Ensure colours point at what an operator should look at.
func TestShowStatus(t *testing.T) {
	status := client.ClusterStatus{ClusterID: "c", Term: 3, Nodes: []client.ClusterNode{
		{Name: "n1", Role: "voter", Leader: true, Healthy: true},
		{Name: "n2", Role: "learner", ClockOffsetMs: -700},
	}}
	var b bytes.Buffer
	if err := showStatus(&output{w: &b, form: formAuto, terminal: true, colour: true}, status); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"leader \x1b[31mnone\x1b[0m  term 3", "\x1b[32mleader\x1b[0m", "\x1b[33mlearner\x1b[0m",
		"\x1b[32mok\x1b[0m", "\x1b[31mfailing\x1b[0m", "\x1b[31m-700ms\x1b[0m",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in\n%q", want, b.String())
		}
	}
}
