package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/stateraft/stateraft/client"
)

// maxInputBytes bounds what is read from stdin; a node's own limit is lower.
const maxInputBytes = 64 << 20

// maxTTL is as good as for ever.
const maxTTL = 100 * 365 * 24 * time.Hour

// setConfig is everything that "stateraft set" can be told.
type setConfig struct {
	text      bool // the value is text and not JSON
	ttl       time.Duration
	ifVersion uint64
}

func newSetCommand() *cobra.Command {
	var r remote
	var c setConfig
	cmd := &cobra.Command{
		Use:   "set WORKFLOW KEY JSON",
		Short: "Set a key to a value",
		Long: `Set a key to a JSON value and print the key's new version. The value "-" is
read from stdin. With --string the value is text, and is stored as a JSON string.

Without --ttl the key has no end, also if it had one before. With --if-version
the key is set only if it is at that version, 0 being an absent key; else
nothing happens and the command fails. A value that begins with a dash follows
"--", as negative numbers do.`,
		Example: `  stateraft set wf-1 status '{"step":"researching"}' --ttl 1h
  stateraft set wf-1 note --string 'ask again tomorrow'
  stateraft set wf-1 plan - < plan.json
  stateraft set wf-1 counter 8 --if-version 7
  stateraft set wf-1 offset -- -5`,
		Args: arguments("WORKFLOW", "KEY", "JSON"),
	}
	cmd.RunE = r.run(func(ctx context.Context, s *session) error {
		value, err := c.value(s.args[2], s.in)
		if err != nil {
			return err
		}
		version, err := c.send(ctx, s, value, cmd.Flags().Changed("if-version"))
		if err != nil {
			return err
		}
		return showVersion(s, version)
	})
	cmd.SetFlagErrorFunc(dashHint)
	c.bind(cmd.Flags())
	r.bind(cmd)
	return cmd
}

func (c *setConfig) bind(fs *pflag.FlagSet) {
	fs.BoolVar(&c.text, "string", false, "the value is text; store it as a JSON string")
	fs.Var(durationValue(&c.ttl, 0, maxTTL), "ttl", "end the key after this long, such as 30s; 0 is never")
	ifVersionFlag(fs, &c.ifVersion)
}

func ifVersionFlag(fs *pflag.FlagSet, version *uint64) {
	fs.Var(countValue(version, 0, math.MaxInt64), "if-version", "only if the key is at this version; 0: only if it is absent")
}

// value returns the JSON to store.
func (c *setConfig) value(arg string, stdin io.Reader) (json.RawMessage, error) {
	raw := []byte(arg)
	if arg == "-" {
		var err error
		if raw, err = readInput(stdin); err != nil {
			return nil, err
		}
	}
	if c.text {
		return quote(raw)
	}
	var v json.RawMessage
	if err := json.Unmarshal(raw, &v); err != nil {
		return nil, usageErrorf("the value is not JSON: %w; --string stores it as text", err)
	}
	return v, nil
}

// quote makes a JSON string of text, with no more escapes than it needs.
func quote(text []byte) (json.RawMessage, error) {
	if !utf8.Valid(text) {
		return nil, usageErrorf("the value is not text: a JSON string must be valid UTF-8")
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(string(text))
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

func readInput(stdin io.Reader) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(stdin, maxInputBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read stdin: %w", err)
	}
	if len(raw) > maxInputBytes {
		return nil, fmt.Errorf("stdin holds more than %s", formatSize(maxInputBytes))
	}
	return raw, nil
}

// send sets the key. An idempotency key makes it safe to repeat, so that the
// outcome is known whenever any node can be reached.
func (c *setConfig) send(ctx context.Context, s *session, value json.RawMessage, versioned bool) (uint64, error) {
	opts := []client.WriteOption{client.WithTTL(c.ttl), client.WithIdempotencyKey(client.NewIdempotencyKey())}
	if versioned {
		return s.State.SetWithVersion(ctx, s.args[0], s.args[1], value, c.ifVersion, opts...)
	}
	return s.State.Set(ctx, s.args[0], s.args[1], value, opts...)
}

func showVersion(s *session, version uint64) error {
	n := strconv.FormatUint(version, 10)
	switch s.out.shape() {
	case formJSON:
		return s.out.json(map[string]uint64{"version": version})
	case formPlain:
		return s.out.line(n)
	default:
		return s.out.line(s.out.paint(green, s.args[1]) + " is at version " + n)
	}
}

// dashHint tells what to do about a value that was taken for flags.
func dashHint(cmd *cobra.Command, err error) error {
	if unknown := (*pflag.NotExistError)(nil); errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() != "" {
		return usageErrorf(`%w; a value that begins with a dash follows "--"`, err)
	}
	return flagError(cmd, err)
}
