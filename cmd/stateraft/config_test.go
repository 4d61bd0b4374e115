package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

// loadConfig loads a configuration from all three sources; file "" is none.
func loadConfig(t *testing.T, args []string, env map[string]string, file string) (serveConfig, error) {
	t.Helper()
	var c serveConfig
	flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	flags.Var(fileValue(new(string)), "config", "")
	c.flags(flags)
	if file != "" {
		path := filepath.Join(t.TempDir(), "config.yaml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--config", path)
	}
	if err := flags.Parse(append([]string{"--node-id", "n1"}, args...)); err != nil {
		t.Fatal(err)
	}
	if err := complete(flags, func(name string) string { return env[name] }, func(flag string) bool { return hasFlag(newRootCommand(), flag) }); err != nil {
		return c, err
	}
	return c, c.load(flags)
}

func TestConfigDefaults(t *testing.T) {
	c, err := loadConfig(t, nil, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	if c.http.addr != "127.0.0.1:7474" || c.raft.addr != "127.0.0.1:7574" || c.gossip.addr != "127.0.0.1:7674" {
		t.Errorf("listeners: got %v, %v, %v", c.http, c.raft, c.gossip)
	}
	if c.dataDir != "./data" || c.role != roleVoter || c.bootstrapExpect != 1 || c.auth.insecure {
		t.Errorf("node: got %+v", c)
	}
	if c.maxValueBytes != 1<<20 || c.historyEvents != 100_000 || c.historyBytes != 64<<20 || c.floorRetention != 168*time.Hour {
		t.Errorf("limits: got %d, %d, %d, %s", c.maxValueBytes, c.historyEvents, c.historyBytes, c.floorRetention)
	}
	if c.llm != (upstreams{"https://api.openai.com/v1", "https://api.anthropic.com/v1", time.Minute, 32 << 10}) {
		t.Errorf("language models: got %+v", c.llm)
	}
	if c.logLevel != "info" || c.logFormat != "text" {
		t.Errorf("log: got %s, %s", c.logLevel, c.logFormat)
	}
}

func TestConfigPrecedence(t *testing.T) {
	const file = "history-events: 3\n"
	env := map[string]string{"STATERAFT_HISTORY_EVENTS": "2", "STATERAFT_PORT": "tcp://10.0.0.1:7474"}
	flag := []string{"--history-events", "1"}
	tests := []struct {
		name string
		args []string
		env  map[string]string
		file string
		want uint64
	}{
		{"default", nil, nil, "", 100_000},
		{"file over default", nil, nil, file, 3},
		{"environment over file", nil, env, file, 2},
		{"flag over environment and file", flag, env, file, 1},
		{"empty variable counts as none", nil, map[string]string{"STATERAFT_HISTORY_EVENTS": ""}, file, 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := loadConfig(t, tt.args, tt.env, tt.file)
			if err != nil || c.historyEvents != tt.want {
				t.Errorf("got %d, %v, want %d", c.historyEvents, err, tt.want)
			}
		})
	}
}

func TestConfigFileFromEnvironment(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte("log-level: debug"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := loadConfig(t, nil, map[string]string{"STATERAFT_CONFIG": path}, "")
	if err != nil || c.logLevel != "debug" {
		t.Errorf("got %q, %v, want debug", c.logLevel, err)
	}
}

func TestConfigFileForms(t *testing.T) {
	const file = `
http-addr: localhost:1000
join: [127.0.0.1:1, "[::1]:2"]
cors-origins: https://a.example,https://b.example
insecure: true
max-value-bytes: 2MiB
floor-retention: 90m
`
	c, err := loadConfig(t, nil, nil, file)
	if err != nil {
		t.Fatal(err)
	}
	if c.http.addr != "localhost:1000" || !c.auth.insecure || c.maxValueBytes != 2<<20 || c.floorRetention != 90*time.Minute {
		t.Errorf("got %+v", c)
	}
	if !slices.Equal(c.join, []string{"127.0.0.1:1", "[::1]:2"}) || !slices.Equal(c.corsOrigins, []string{"https://a.example", "https://b.example"}) {
		t.Errorf("lists: got %q, %q", c.join, c.corsOrigins)
	}
	if c.bootstrapExpect != 0 {
		t.Errorf("with join: bootstrap-expect is %d, want none", c.bootstrapExpect)
	}
}

func TestConfigFileRefused(t *testing.T) {
	tests := []struct{ name, file, want string }{
		{"unknown member", "\nnode-id: n1\nnode_id: n2\n", `line 3: unknown member "node_id"`},
		{"another file", "config: other.yaml", `unknown member "config"`},
		{"member twice", "role: voter\nrole: voter", `line 2: member "role" is given twice`},
		{"value out of range", "history-events: 0", `line 1: history-events "0": must be a number from 1 to 100000000`},
		{"no value", "role:", `member "role": must be a scalar or a list of scalars`},
		{"mapping", "role: {a: b}", `member "role": must be a scalar or a list of scalars`},
		{"list in a list", "join: [[a]]", "items of a list must be scalars"},
		{"no mapping", "- role", "must be a mapping"},
		{"two documents", "role: voter\n---\nrole: voter", "must hold one document"},
		{"no YAML", "role: [", "yaml: line 1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := loadConfig(t, nil, nil, tt.file)
			wantUsageError(t, err, tt.want)
		})
	}
}

func TestConfigRefused(t *testing.T) {
	tests := []struct{ args, want string }{
		{"--http-addr 10.0.0.1:7474", "give --auth, or --insecure if that is meant"},
		{"--http-addr :7474", "give --auth, or --insecure if that is meant"},
		{"--http-addr host:7474", "give --auth, or --insecure if that is meant"},
		{"--http-addr :7474 --auth", "--advertise-http must say which address others call"},
		{"--root-token-file f", "--root-token-file needs --auth"},
		{"--http-addr :7474 --insecure", "--advertise-http must say which address others call"},
		{"--raft-addr 0.0.0.0:1", "--advertise-raft must say which address others call"},
		{"--gossip-addr [::]:1", "--advertise-gossip must say which address others call"},
		{"--role replica", "--role replica needs --join"},
		{"--role replica --join h:1 --bootstrap-expect 1", "--role replica excludes --bootstrap-expect"},
		{"--bootstrap-expect 3", "--bootstrap-expect 3 needs --join"},
		{"--peer-tls-cert c --peer-tls-key k", "--peer-tls-cert, --peer-tls-key and --peer-tls-ca go together"},
		{"--tls-cert c", "--tls-cert and --tls-key go together"},
		{"--tls-ca c", "--tls-ca needs --tls-cert"},
		{"--llm-openai-url api.openai.com/v1", "--llm-openai-url must be a URL with http or https"},
		{"--llm-openai-url https://u:secret@h/v1", "--llm-openai-url must be a URL with http or https and a host, and without user"},
		{"--llm-anthropic-url https://h/v1?key=secret", "--llm-anthropic-url must be a URL"},
		{"--config nosuch", "--config: open nosuch"},
	}
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			_, err := loadConfig(t, strings.Fields(tt.args), nil, "")
			wantUsageError(t, err, tt.want)
		})
	}
}

func TestConfigAccepted(t *testing.T) {
	for _, args := range []string{
		"--http-addr [::1]:7474",
		"--http-addr localhost:7474",
		"--http-addr :7474 --insecure --advertise-http h:1",
		"--http-addr :7474 --auth --advertise-http h:1",
		"--auth --root-token-file f",
		"--raft-addr :1 --advertise-raft h:1 --gossip-addr :2 --advertise-gossip h:2",
		"--role replica --join h:1",
		"--bootstrap-expect 3 --join h:1 --join h:2",
		"--llm-openai-url http://127.0.0.1:8000 --llm-anthropic-url https://h/a/v1/ --llm-timeout 5m --inject-bytes 4KiB",
		"--tls-cert c --tls-key k --tls-ca a --peer-tls-cert c --peer-tls-key k --peer-tls-ca a",
	} {
		if _, err := loadConfig(t, strings.Fields(args), nil, ""); err != nil {
			t.Errorf("%s: got %v, want no error", args, err)
		}
	}
}

func wantUsageError(t *testing.T, err error, want string) {
	t.Helper()
	if usage := (usageError{}); !errors.As(err, &usage) || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want a usage error with %q", err, want)
	}
	if err != nil && strings.Contains(err.Error(), "\n") {
		t.Errorf("the error has more than one line: %q", err)
	}
}

func TestSizes(t *testing.T) {
	tests := []struct {
		text string
		want uint64
	}{
		{"1", 1}, {"512B", 512}, {"1KiB", 1 << 10}, {"3MiB", 3 << 20}, {"64GiB", 64 << 30},
	}
	for _, tt := range tests {
		if got, err := parseSize(tt.text); err != nil || got != tt.want {
			t.Errorf("parseSize(%q) = %d, %v, want %d", tt.text, got, err, tt.want)
		}
		if got, err := parseSize(formatSize(tt.want)); err != nil || got != tt.want {
			t.Errorf("parseSize(formatSize(%d)) = %d, %v", tt.want, got, err)
		}
	}
	for _, text := range []string{"", "B", "MiB", "1MB", "1 MiB", "-1", "1.5KiB", "18446744073709551615KiB", "1e3"} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("parseSize(%q) = %d, want an error", text, got)
		}
	}
}

func TestFormatDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		168 * time.Hour: "168h", time.Minute: "1m", 90 * time.Minute: "1h30m", time.Second: "1s", 61 * time.Second: "1m1s", 10 * time.Second: "10s",
	} {
		if got := formatDuration(d); got != want {
			t.Errorf("formatDuration(%s) = %q, want %q", d, got, want)
		}
	}
}

// Whatever a config file holds, it is refused with a reason of one line, or
// each of its members is heeded.
func FuzzParseConfig(f *testing.F) {
	f.Add([]byte("node-id: n1\njoin: [a:1, b:2]\n"))
	f.Add([]byte("a: &x [*x]"))
	f.Add([]byte("&a [*a]: b"))
	f.Add([]byte("history-events: 3\njoin: [a:1, b:2]\nrole: replica\n"))
	f.Add([]byte("role: voter\nrole: replica\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var c serveConfig
		flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
		c.flags(flags)
		members, err := parseConfig(data)
		if err == nil {
			err = setFromFile(flags, "file", members, func(flag string) bool { return flags.Lookup(flag) != nil })
		}
		if err != nil {
			if strings.TrimSpace(err.Error()) == "" || strings.Contains(err.Error(), "\n") {
				t.Errorf("refused with %q", err)
			}
			return
		}
		heeded := map[string]bool{}
		for _, m := range members {
			if heeded[m.name] || !flags.Lookup(m.name).Changed {
				t.Errorf("line %d: %s is given twice, or not heeded", m.line, m.name)
			}
			heeded[m.name] = true
		}
	})
}
