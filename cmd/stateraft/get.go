package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/stateraft/stateraft/client"
)

func newGetCommand() *cobra.Command {
	var r remote
	var stale bool
	cmd := &cobra.Command{
		Use:   "get WORKFLOW KEY",
		Short: "Print the value of a key",
		Long: `Print the value of a key, as JSON: indented on a terminal, elsewhere in the
bytes in which it is stored. With --output json, table or plain, its version and
the instants of its last change and of its end come with it; without --output it
is the value alone.

A key that does not exist, was deleted or has expired is a failure, exit 1.`,
		Example: `  stateraft get wf-1 status
  stateraft get wf-1 status --output json | jq .version
  stateraft get wf-1 status --stale --endpoints http://10.0.0.2:7474`,
		Args: arguments("WORKFLOW", "KEY"),
		RunE: r.run(func(ctx context.Context, s *session) error {
			var opts []client.ReadOption
			if stale {
				opts = append(opts, client.Stale())
			}
			e, err := s.State.Get(ctx, s.args[0], s.args[1], opts...)
			if errors.Is(err, client.ErrNotFound) {
				return fmt.Errorf("workflow %q has no key %q", s.args[0], s.args[1])
			}
			if err != nil {
				return err
			}
			return showEntry(s.out, e)
		}),
	}
	staleFlag(cmd, &stale)
	r.bind(cmd)
	return cmd
}

func staleFlag(cmd *cobra.Command, stale *bool) {
	cmd.Flags().BoolVar(stale, "stale", false, "let the node answer from what it has, without asking the leader")
}

func showEntry(o *output, e client.Entry) error {
	switch o.form {
	case formJSON:
		return o.json(newEntryJSON(e))
	case formTable, formPlain:
		return o.table(entryTable([]client.Entry{e}, func(v json.RawMessage) string { return string(v) }))
	}
	if !o.terminal {
		return o.line(string(e.Value))
	}
	var b bytes.Buffer
	if err := json.Indent(&b, e.Value, "", "  "); err != nil {
		return fmt.Errorf("the node sent a value that is not JSON: %w", err)
	}
	return o.line(b.String())
}
