// Command stateraft runs nodes of a Stateraft cluster and talks to them.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit codes.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
)

func main() {
	os.Exit(run(untilSignal(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// untilSignal returns a context that the first SIGINT or SIGTERM ends. By then
// their default action is back: a second one ends the process at once.
func untilSignal() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		signal.Stop(signals)
		cancel()
	}()
	return ctx
}

// run executes one command line and returns the exit code. When ctx is done
// the command comes to an orderly end. What went wrong is one line on stderr.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRootCommand()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)

	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	fmt.Fprintf(stderr, "stateraft: %v\n", err)
	if usage := (usageError{}); errors.As(err, &usage) {
		return exitUsage
	}
	return exitFailure
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:               "stateraft",
		Short:             "A replicated state store for agent workflows",
		Args:              noArguments,
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: completeFlags,
		SilenceUsage:      true,
		SilenceErrors:     true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	root.SetFlagErrorFunc(flagError)
	root.PersistentFlags().Var(fileValue(new(string)), "config", "YAML file whose members are named as flags; it may be for several commands")
	addGroup(root, "nodes", "Nodes:", newServeCommand(), newDevCommand())
	addGroup(root, "client", "Client:", newGetCommand(), newSetCommand(), newDeleteCommand(), newListCommand(), newWatchCommand())
	addGroup(root, "operations", "Operations:", newClusterCommand(), newBackupCommand(), newRestoreCommand(), newInspectCommand(), newKeysCommand(), newBenchCommand(), newVersionCommand())
	return root
}

// completeFlags takes the flags of a command from where the command line leaves
// them to: but not for cobra's own commands, which must help where a file is broken.
func completeFlags(cmd *cobra.Command, _ []string) error {
	switch cmd.Name() {
	case "help", "completion", cobra.ShellCompRequestCmd, cobra.ShellCompNoDescRequestCmd:
		return nil
	}
	return complete(cmd.Flags(), os.Getenv, func(flag string) bool { return hasFlag(cmd.Root(), flag) })
}

// addGroup adds commands that the help shows together under title.
func addGroup(root *cobra.Command, id, title string, commands ...*cobra.Command) {
	root.AddGroup(&cobra.Group{ID: id, Title: title})
	for _, c := range commands {
		c.GroupID = id
		root.AddCommand(c)
	}
}
