package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"gopkg.in/yaml.v3"
)

// complete sets the flags that the command line left out: from the
// environment, and what that leaves out from the file that the flag "config"
// names. known says which of the file's other members may stand there: one file
// is for all commands.
func complete(flags *pflag.FlagSet, getenv func(string) string, known func(flag string) bool) error {
	if err := setFromEnvironment(flags, getenv); err != nil {
		return err
	}
	path := flags.Lookup("config").Value.String()
	if path == "" {
		return nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return usageErrorf("--config: %w", err)
	}
	members, err := parseConfig(data)
	if err != nil {
		return usageErrorf("%s: %w", path, err)
	}
	return setFromFile(flags, path, members, known)
}

// hasFlag reports whether a command, or one below it, has a flag of that name.
func hasFlag(cmd *cobra.Command, name string) bool {
	return cmd.Flags().Lookup(name) != nil || slices.ContainsFunc(cmd.Commands(), func(sub *cobra.Command) bool { return hasFlag(sub, name) })
}

// setFromEnvironment looks up each flag's variable. An empty variable counts
// as none, and one that belongs to no flag is left alone: container platforms
// make variables of their own from a service's name. Of these a flag's can be
// STATERAFT_PORT alone, which holds a URL then.
func setFromEnvironment(flags *pflag.FlagSet, getenv func(string) string) error {
	var failed error
	flags.VisitAll(func(f *pflag.Flag) {
		name := environmentName(f.Name)
		text := getenv(name)
		platforms := f.Name == "port" && strings.HasPrefix(text, "tcp://")
		if failed != nil || f.Changed || f.Name == "help" || text == "" || platforms {
			return
		}
		if err := flags.Set(f.Name, text); err != nil {
			failed = badValue(name, text, err)
		}
	})
	return failed
}

func environmentName(flag string) string {
	return "STATERAFT_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// member is one setting of a config file.
type member struct {
	name, text string
	line       int
}

// parseConfig reads a YAML mapping from flag names to scalars or lists of
// scalars.
func parseConfig(data []byte) ([]member, error) {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var document yaml.Node
	if err := dec.Decode(&document); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, errors.New("must hold one document")
	}
	mapping := document.Content[0]
	if mapping.Kind != yaml.MappingNode {
		return nil, errors.New("must be a mapping from flag names to values")
	}
	return parseMembers(mapping.Content)
}

func parseMembers(nodes []*yaml.Node) ([]member, error) {
	var members []member
	seen := map[string]bool{}
	for i := 0; i < len(nodes); i += 2 {
		name, line := nodes[i].Value, nodes[i].Line
		if seen[name] {
			return nil, fmt.Errorf("line %d: member %q is given twice", line, name)
		}
		seen[name] = true
		text, err := memberText(nodes[i+1])
		if err != nil {
			return nil, fmt.Errorf("line %d: member %q: %w", line, name, err)
		}
		members = append(members, member{name, text, line})
	}
	return members, nil
}

// memberText returns a value as it would stand on the command line.
func memberText(n *yaml.Node) (string, error) {
	switch {
	case n.Kind == yaml.ScalarNode && n.Tag != "!!null":
		return n.Value, nil
	case n.Kind == yaml.SequenceNode:
		var items []string
		for _, item := range n.Content {
			if item.Kind != yaml.ScalarNode {
				return "", errors.New("the items of a list must be scalars")
			}
			items = append(items, item.Value)
		}
		return strings.Join(items, ","), nil
	default:
		return "", errors.New("must be a scalar or a list of scalars")
	}
}

func setFromFile(flags *pflag.FlagSet, path string, members []member, known func(flag string) bool) error {
	for _, m := range members {
		if m.name == "config" || m.name == "help" || !known(m.name) {
			return usageErrorf("%s: line %d: unknown member %q", path, m.line, m.name)
		}
		f := flags.Lookup(m.name)
		if f == nil || f.Changed {
			continue
		}
		if err := flags.Set(m.name, m.text); err != nil {
			return badValue(fmt.Sprintf("%s: line %d: %s", path, m.line, m.name), m.text, err)
		}
	}
	return nil
}
