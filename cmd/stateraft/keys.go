package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/stateraft/stateraft/client"
	"github.com/stateraft/stateraft/httpapi/auth"
)

func newKeysCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "Make, list and revoke API keys",
		Args:  noArguments,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newKeysCreateCommand(), newKeysListCommand(), newKeysRevokeCommand())
	return cmd
}

func newKeysCreateCommand() *cobra.Command {
	var r remote
	var key client.NewKey
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Make an API key and show it, once",
		Long: `Make an API key and show it, once: only a hash of it is stored. Whoever has it
may do what its scopes say, in its project and nowhere else:

  state:read   read, list and stream state
  state:write  write and delete it
  chat:write   call language models through the proxy
  admin        all of that, and keys and the cluster

Without a terminal the output is the key alone. --token must be a key with the
scope admin; only the root token makes keys of another project than its own.`,
		Example: `  stateraft keys create --name ci --scopes state:read,state:write
  stateraft keys create --name shop --project shop --scopes admin
  STATERAFT_TOKEN=$(stateraft keys create --scopes state:read --prefixes wf- --ttl 24h)`,
		Args: noArguments,
		RunE: r.run(func(ctx context.Context, s *session) error {
			if _, err := auth.ParseScopes(key.Scopes); err != nil {
				return usageErrorf("--scopes %w", err)
			}
			made, token, err := s.Keys.Create(ctx, key)
			if err != nil {
				return err
			}
			return showNewKey(s.out, made, token)
		}),
	}
	bindNewKey(cmd.Flags(), &key)
	r.bind(cmd)
	return cmd
}

func bindNewKey(fs *pflag.FlagSet, key *client.NewKey) {
	fs.SortFlags = false
	fs.StringVar(&key.Name, "name", "", "what people call it")
	fs.StringVar(&key.Project, "project", "", "whose state it is for (default: that of --token)")
	fs.Var(listValue(&key.Scopes, "scopes", notEmpty), "scopes", "what it may do, comma-separated; at least one")
	fs.Var(listValue(&key.Prefixes, "prefixes", notEmpty), "prefixes", "beginnings of the workflows and subjects that it is for, comma-separated (default: all)")
	fs.Var(durationValue(&key.TTL, 0, maxTTL), "ttl", "how long it lasts; 0 is for ever")
}

func newKeysListCommand() *cobra.Command {
	var r remote
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the API keys",
		Long: `List the API keys of the project, or with the root token of all projects, the
oldest first. What they are verified by is not told.`,
		Example: `  stateraft keys list
  stateraft keys list --output json | jq -r 'select(.expiresAt == null).id'`,
		Args: noArguments,
		RunE: r.run(func(ctx context.Context, s *session) error {
			keys, err := s.Keys.List(ctx)
			if err != nil {
				return err
			}
			return showKeys(s.out, keys)
		}),
	}
	r.bind(cmd)
	return cmd
}

func newKeysRevokeCommand() *cobra.Command {
	var r remote
	cmd := &cobra.Command{
		Use:   "revoke ID",
		Short: "End an API key for good",
		Long: `End an API key, by the id that "keys list" shows, for good: every node refuses
it from then on, and its streams end.`,
		Example: `  stateraft keys revoke 3kq7v2mxw5ya`,
		Args:    arguments("ID"),
		RunE: r.run(func(ctx context.Context, s *session) error {
			if err := s.Keys.Revoke(ctx, s.args[0]); err != nil {
				return err
			}
			return s.out.done(s.args[0] + " was revoked")
		}),
	}
	r.bind(cmd)
	return cmd
}

// keyJSON is a key as --output json tells it: as the wire contract does.
type keyJSON struct {
	ID        string   `json:"id"`
	Token     string   `json:"token,omitempty"`
	Name      string   `json:"name"`
	Project   string   `json:"project"`
	Scopes    []string `json:"scopes"`
	Prefixes  []string `json:"prefixes"`
	CreatedAt *string  `json:"createdAt"`
	ExpiresAt *string  `json:"expiresAt"`
}

func newKeyJSON(k client.Key) keyJSON {
	return keyJSON{
		ID: k.ID, Name: k.Name, Project: k.Project, Scopes: k.Scopes, Prefixes: k.Prefixes,
		CreatedAt: instantJSON(k.CreatedAt), ExpiresAt: instantJSON(k.ExpiresAt),
	}
}

// showNewKey shows a token; without a terminal that alone, for scripts.
func showNewKey(o *output, k client.Key, token string) error {
	switch o.shape() {
	case formJSON:
		document := newKeyJSON(k)
		document.Token = token
		return o.json(document)
	case formPlain:
		return o.line(token)
	}
	if err := o.table(keyTable([]client.Key{k})); err != nil {
		return err
	}
	return o.line("\n" + o.paint(bold, token) + "\n\nKeep it: it is not shown again.")
}

func showKeys(o *output, keys []client.Key) error {
	if o.form != formJSON {
		return o.table(keyTable(keys))
	}
	for _, k := range keys {
		if err := o.json(newKeyJSON(k)); err != nil {
			return err
		}
	}
	return nil
}

func keyTable(keys []client.Key) table {
	t := table{columns: []column{
		{title: "ID"}, {title: "PROJECT"}, {title: "NAME"}, {title: "SCOPES"}, {title: "PREFIXES"}, {title: "CREATED"}, {title: "EXPIRES"},
	}}
	for _, k := range keys {
		t.add(k.ID, k.Project, k.Name, strings.Join(k.Scopes, ","), strings.Join(k.Prefixes, ","),
			formatInstant(k.CreatedAt), formatInstant(k.ExpiresAt))
	}
	return t
}
