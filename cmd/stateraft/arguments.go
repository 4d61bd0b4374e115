package main

import (
	"strings"

	"github.com/spf13/cobra"
)

// arguments wants exactly the positional arguments of these names.
func arguments(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return usageErrorf("missing argument %s; see %s --help", strings.Join(names[len(args):], " "), cmd.CommandPath())
		case len(args) > len(names):
			return usageErrorf("unexpected argument %q; see %s --help", args[len(names)], cmd.CommandPath())
		}
		return nil
	}
}
