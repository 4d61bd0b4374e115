package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// usageError is a mistake in how a command was called; it exits with 2.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func usageErrorf(format string, args ...any) error {
	return usageError{fmt.Errorf(format, args...)}
}

// flagError words what pflag found wrong with a command line.
func flagError(cmd *cobra.Command, err error) error {
	if invalid := (*pflag.InvalidValueError)(nil); errors.As(err, &invalid) {
		return badValue("--"+invalid.GetFlag().Name, invalid.GetValue(), invalid)
	}
	return usageErrorf("%w; see %s --help", err, cmd.CommandPath())
}

// badValue says that a value does not obey the rule of the flag or member it
// was given to. An err of pflag's is unwrapped to the rule itself.
func badValue(where, text string, err error) error {
	if invalid := (*pflag.InvalidValueError)(nil); errors.As(err, &invalid) {
		err = invalid.Unwrap()
	}
	return usageErrorf("%s %q: %w", where, text, err)
}

// noArguments refuses positional arguments.
func noArguments(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return nil
	case cmd.HasSubCommands():
		return usageErrorf("unknown command %q; see %s --help", args[0], cmd.CommandPath())
	default:
		return usageErrorf("unexpected argument %q; see %s --help", args[0], cmd.CommandPath())
	}
}
