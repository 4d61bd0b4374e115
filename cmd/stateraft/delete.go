package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/stateraft/stateraft/client"
)

func newDeleteCommand() *cobra.Command {
	var r remote
	var ifVersion uint64
	cmd := &cobra.Command{
		Use:   "delete WORKFLOW KEY",
		Short: "Delete a key",
		Long: `Delete a key and print whether it was there: "deleted" or "absent". Neither is
a failure. With --if-version it is deleted only if it is at that version; else
nothing happens and the command fails.`,
		Example: `  stateraft delete wf-1 status
  stateraft delete wf-1 lease --if-version 3`,
		Args: arguments("WORKFLOW", "KEY"),
	}
	cmd.RunE = r.run(func(ctx context.Context, s *session) error {
		opts := []client.WriteOption{client.WithIdempotencyKey(client.NewIdempotencyKey())}
		if cmd.Flags().Changed("if-version") {
			opts = append(opts, client.IfVersion(ifVersion))
		}
		deleted, err := s.State.Delete(ctx, s.args[0], s.args[1], opts...)
		if err != nil {
			return err
		}
		return showDeleted(s.out, deleted)
	})
	ifVersionFlag(cmd.Flags(), &ifVersion)
	r.bind(cmd)
	return cmd
}

func showDeleted(o *output, deleted bool) error {
	switch {
	case o.form == formJSON:
		return o.json(map[string]bool{"deleted": deleted})
	case deleted:
		return o.line("deleted")
	default:
		return o.line(o.paint(dim, "absent"))
	}
}
