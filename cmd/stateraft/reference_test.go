package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/spf13/cobra"
)

var updateReference = flag.Bool("reference", false, "write docs/cli.md anew: make docs")

// Ensure docs/cli.md says what --help does.
func TestReference(t *testing.T) {
	const path = "../../docs/cli.md"
	want := reference(newRootCommand())
	if *updateReference {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what --help says: run make docs", path)
	}
}

// reference is the help of all commands, one after the other.
func reference(root *cobra.Command) []byte {
	var b bytes.Buffer
	b.WriteString("# Commands\n\nWhat `--help` says of each; `make docs` writes this page. [operations.md](operations.md) shows them at work.\n")
	var tell func(*cobra.Command)
	tell = func(cmd *cobra.Command) {
		if cmd.Hidden || cmd.Name() == "help" {
			return
		}
		var help bytes.Buffer
		cmd.SetOut(&help)
		if err := cmd.Help(); err != nil {
			panic(err) // it writes into memory
		}
		fmt.Fprintf(&b, "\n## %s\n\n```text\n%s```\n", cmd.CommandPath(), help.Bytes())
		for _, sub := range cmd.Commands() {
			tell(sub)
		}
	}
	root.InitDefaultHelpCmd()
	tell(root)
	return b.Bytes()
}
