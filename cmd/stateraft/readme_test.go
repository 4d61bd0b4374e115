package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Ensure the curls of the README's first minute answer as it says, in their
// order, each at the node that it names.
func TestReadme(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, minute, _ := strings.Cut(string(text), "## A first minute")
	minute, _, found := strings.Cut(minute, "From the shell")
	if !found {
		t.Fatal("the README has no first minute")
	}
	var script strings.Builder
	for line := range strings.Lines(minute) {
		if code, ok := strings.CutPrefix(line, "    "); ok {
			script.WriteString(code)
		}
	}
	c := startCluster(t)
	commands := strings.NewReplacer(
		"localhost:7474", c.nodes[0].url, "localhost:7475", c.nodes[1].url, "localhost:7476", c.nodes[2].url,
		"curl -N", "begin curl -sS -N", "curl", "curl -sS",
	).Replace(script.String())
	// begin ends a stream, which goes on by itself, once it has begun.
	const begin = `begin() { exec 3< <(exec timeout 30 "$@"); grep -m1 '^retry: ' <&3; kill $!; }
`
	out, err := exec.Command("bash", "-ec", begin+commands).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	rest := string(out)
	for _, want := range []string{
		`{"version":1}`, `{"value":{"step":"researching"},"version":1,`, `{"version":2}`, `{"results":[`, "retry: ",
	} {
		_, after, ok := strings.Cut(rest, want)
		if !ok {
			t.Fatalf("no %s in its place: %s", want, out)
		}
		rest = after
	}
}
