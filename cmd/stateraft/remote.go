package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/stateraft/stateraft/client"
)

// remote is how a client command reaches its cluster, and the form in which it
// tells what it got.
type remote struct {
	endpoints []string
	token     string
	timeout   time.Duration
	form      string
}

// session is one run of a client command.
type session struct {
	*client.Client
	args []string
	in   io.Reader
	out  *output
}

// bind adds the flags that all client commands have to cmd.
func (r *remote) bind(cmd *cobra.Command) {
	r.timeout = 30 * time.Second
	fs := cmd.Flags()
	fs.Var(listValue(&r.endpoints, "urls", notEmpty), "endpoints", "nodes to ask, comma-separated (default "+client.DefaultEndpoint+")")
	fs.Var(textValue(&r.token, "key", notEmpty), "token", "API key")
	fs.Var(durationValue(&r.timeout, time.Millisecond, time.Hour), "timeout", "give up after this long")
	outputFlag(fs, &r.form)
	cmd.Long += "\n\nEach flag can also be given by an environment variable, STATERAFT_ENDPOINTS and so\non. Flags may stand before or after the arguments."
}

// run makes do the action of a command.
func (r *remote) run(do func(context.Context, *session) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c, err := r.open()
		if err != nil {
			return err
		}
		defer c.Close()
		s := &session{c, args, cmd.InOrStdin(), newOutput(cmd.OutOrStdout(), r.form)}
		return explain(do(cmd.Context(), s))
	}
}

func (r *remote) open() (*client.Client, error) {
	c, err := client.New(client.Config{
		Endpoints: r.endpoints,
		Token:     r.token,
		Timeout:   r.timeout,
		// Each endpoint is asked, and then a few times more: a person who waits
		// would rather know than see it retried for long.
		MaxAttempts:    max(len(r.endpoints), 1) + 3,
		AttemptTimeout: max(r.timeout/2, time.Second),
	})
	if err != nil {
		return nil, usageErrorf("--endpoints: %w", err)
	}
	return c, nil
}

// explain adds what the person at the keyboard can do about err.
func explain(err error) error {
	switch {
	case errors.Is(err, client.ErrInvalidKey), errors.Is(err, client.ErrInvalidTTL):
		return usageError{err}
	case errors.Is(err, client.ErrUnreachable) && !errors.Is(err, context.Canceled):
		return fmt.Errorf("%w: is a node running there? --endpoints names others", err)
	case errors.Is(err, client.ErrUnauthorized):
		return fmt.Errorf("%w; --token or STATERAFT_TOKEN gives it", err)
	}
	return err
}
