// Command torture starts a cluster of real processes, works on it, hurts it on
// a schedule that a seed determines, and checks that it kept its promises.
//
// Exit codes: 0 it did, 1 it did not, 2 there was no test: the command line, or
// the machine, does not allow it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/stateraft/stateraft/cmd/torture/internal/node"
)

const (
	exitOK        = 0
	exitViolation = 1
	exitNoTest    = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run does what the arguments say, in namespaces of its own where they can be
// had. The end of ctx ends the test early; what has been done is checked.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == "matrix" {
		return runMatrix(ctx, args[1:], stdout, stderr)
	}
	c, err := parse(args, stderr)
	if err == nil {
		return c.run(ctx, stdout, stderr)
	}
	return refused(err, stderr)
}

// usage says what a command does, and its flags.
func usage(fs *flag.FlagSet, text string) func() {
	return func() {
		fmt.Fprintf(fs.Output(), "%s\nFlags:\n", text)
		fs.PrintDefaults()
	}
}

// refused tells why there is no test.
func refused(err error, stderr io.Writer) int {
	if errors.Is(err, flag.ErrHelp) {
		return exitOK
	}
	fmt.Fprintln(stderr, "torture:", err)
	return exitNoTest
}

func (c *config) run(ctx context.Context, stdout, stderr io.Writer) int {
	isolated, why := node.Isolated(), error(nil)
	if !isolated && !c.loopback {
		why = node.CanIsolate()
	}
	var err error
	code := exitOK
	switch {
	case c.list:
		err = list(c, stdout, isolated || !c.loopback && why == nil)
	case !isolated && !c.loopback && why == nil:
		code, err = node.Isolate()
	default:
		if why != nil {
			fmt.Fprintf(stderr, "torture: on loopback, without network faults: %v\n", why)
		}
		code, err = test(ctx, c, isolated, stdout, stderr)
	}
	if err != nil {
		fmt.Fprintln(stderr, "torture:", err)
		if code != exitViolation {
			code = exitNoTest
		}
	}
	return code
}
