package main

import (
	"context"
	"encoding/json"
	"math"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/stateraft/stateraft/client"
)

// listConfig is everything that "stateraft list" can be told.
type listConfig struct {
	query client.Query // its Limit is a page's
	limit uint64       // of the whole list; 0: none
	stale bool
}

func newListCommand() *cobra.Command {
	var r remote
	var c listConfig
	cmd := &cobra.Command{
		Use:   "list WORKFLOW",
		Short: "List the keys of a workflow",
		Long: `List the keys of a workflow in the order of their bytes, one a line. With
--values each comes with its version, the instants of its last change and its
end, and its value. With --output json each line is one document: a string, or
an object with --values.

A long list is read in pages; keys that change meanwhile are shown as they were
or as they became.`,
		Example: `  stateraft list wf-1
  stateraft list wf-1 --prefix tool: --values
  stateraft list wf-1 --values --output json | jq -r .value
  stateraft list wf-1 --reverse --limit 10`,
		Args: arguments("WORKFLOW"),
		RunE: r.run(func(ctx context.Context, s *session) error { return c.list(ctx, s) }),
	}
	c.bind(cmd.Flags())
	staleFlag(cmd, &c.stale)
	r.bind(cmd)
	return cmd
}

func (c *listConfig) bind(fs *pflag.FlagSet) {
	fs.StringVar(&c.query.Prefix, "prefix", "", "only keys that begin so")
	fs.StringVar(&c.query.After, "after", "", "begin behind this key")
	fs.BoolVar(&c.query.Reverse, "reverse", false, "from the last key to the first")
	fs.BoolVar(&c.query.Values, "values", false, "show versions and values too")
	fs.Var(countValue(&c.limit, 0, math.MaxInt64), "limit", "most keys; 0 is all")
}

// list shows page by page, so that it holds no more than one.
func (c *listConfig) list(ctx context.Context, s *session) error {
	const pageKeys = 1000
	var opts []client.ReadOption
	if c.stale {
		opts = append(opts, client.Stale())
	}
	left := c.limit
	if left == 0 {
		left = math.MaxUint64
	}
	c.query.Limit = int(min(left, pageKeys))
	for page, err := range s.State.Pages(ctx, s.args[0], c.query, opts...) {
		if err != nil {
			return err
		}
		page.Keys = page.Keys[:min(uint64(len(page.Keys)), left)]
		page.Entries = page.Entries[:min(uint64(len(page.Entries)), left)]
		if err := c.showPage(s.out, page); err != nil {
			return err
		}
		if left -= uint64(len(page.Keys)); left == 0 {
			return nil
		}
	}
	return nil
}

func (c *listConfig) showPage(o *output, page client.Page) error {
	switch {
	case o.form == formJSON:
		return c.showJSON(o, page)
	case c.query.Values && len(page.Entries) > 0:
		return o.table(entryTable(page.Entries, o.shorten))
	}
	for _, key := range page.Keys {
		if err := o.line(key); err != nil {
			return err
		}
	}
	return nil
}

func (c *listConfig) showJSON(o *output, page client.Page) error {
	for i, key := range page.Keys {
		var document any = key
		if c.query.Values {
			document = newEntryJSON(page.Entries[i])
		}
		if err := o.json(document); err != nil {
			return err
		}
	}
	return nil
}

// shorten cuts a value so that a row stays a line on most terminals.
func (o *output) shorten(value json.RawMessage) string {
	if o.terminal {
		return cutTo(string(value), 60)
	}
	return string(value)
}
